"""Man pages are made of the commands, whole, and groff has nothing to say against them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import typer

from arseg.cli import app as cli
from arseg.cli.manual import leaves, man_pages


@pytest.fixture(scope="module")
def root():
    return typer.main.get_command(cli.app)


def test_every_command_has_a_page_with_all_its_options(root):
    pages = man_pages(root)
    commands = list(leaves(root))
    assert len(commands) == len(pages) - 1 >= 17
    for words, command, _ in commands:
        text = pages[f"arseg-{'-'.join(words)}.1"].replace("\\-", "-")
        for parameter in command.params:
            assert (
                parameter.hidden
                or all(name in text for name in (*parameter.opts, *parameter.secondary_opts))
                or (parameter.param_type_name == "argument")
            )
        assert f"arseg {' '.join(words)}" in pages["arseg.1"].replace("\\-", "-")


def test_the_pages_are_written(tmp_path, capsys):
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["arseg", "manual", "-o", str(tmp_path / "man1")])
        cli.main()
    assert {path.name for path in (tmp_path / "man1").iterdir()} >= {"arseg.1", "arseg-segment.1", "arseg-train-ar.1"}
    assert "pages" in capsys.readouterr().out


def test_no_text_is_taken_for_a_request(root):
    known = {"TH", "SH", "TP", "PP", "B", "BR", "EX", "EE"}
    for text in man_pages(root).values():
        assert {found[1] for found in re.finditer(r"^[.'](\w*)", text, re.MULTILINE)} <= known


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff to read the pages")
def test_groff_reads_the_pages_without_a_warning(root):
    for text in man_pages(root).values():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8"], input=text, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        assert "OPTIONS" in re.sub(".\x08", "", done.stdout)
