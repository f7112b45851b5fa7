"""tools/once.py: what passed on these files is not run again; what changed, or failed, is."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("once", ROOT / "tools" / "once.py")
assert spec is not None and spec.loader is not None
once = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = once  # its dataclasses look themselves up
spec.loader.exec_module(once)

MAKEFILE = "emulate: ## says so\n\t@echo ran >> ran.log\n\t@test ! -e broken\n\nother:\n\t@true\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository whose target "emulate" counts its runs, and fails where there is a file `broken`."""
    for folder in ("csrc", "tests/emulator", ".ci"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "csrc" / "kernel.cuh").write_text("one")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def runs(tree: Path) -> int:
    log = tree / "ran.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def runs_recorded(tree: Path) -> list[str]:
    path = tree / ".ci" / "passed.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def test_what_passed_is_not_run_again(tree, capfd):
    assert once.run(["emulate"], tree) == 0 and runs(tree) == 1
    assert once.run(["emulate"], tree, record=True) == 0 and runs(tree) == 2  # nothing had been recorded
    assert once.run(["emulate"], tree) == 0 and runs(tree) == 2
    assert "passed on these files before (" in capfd.readouterr().out
    assert once.run(["emulate"], tree, everything=True) == 0 and runs(tree) == 3


@pytest.mark.parametrize(
    "path, text",
    [
        ("csrc/kernel.cuh", "two"),
        ("tests/emulator/new.cu", "a new file"),
        ("Makefile", MAKEFILE.replace("echo ran", "echo again")),
        ("Makefile", f"FLAGS := -q\n{MAKEFILE}"),
    ],
)
def test_what_it_depends_on_runs_it(tree, path, text):
    once.run(["emulate"], tree, record=True)
    (tree / path).write_text(text)
    assert once.run(["emulate"], tree) == 0 and runs(tree) == 2


def test_another_file_or_target_does_not(tree):
    once.run(["emulate"], tree, record=True)
    (tree / "README.md").write_text("new")
    (tree / "Makefile").write_text(MAKEFILE.replace("@true", "@false"))
    once.run(["emulate"], tree)
    assert runs(tree) == 1


def test_another_machine_runs_it_and_both_are_kept(tree, monkeypatch):
    once.run(["emulate"], tree, record=True)
    monkeypatch.setattr(once, "machine_of", lambda tools: "another")
    assert once.run(["emulate"], tree, record=True) == 0 and runs(tree) == 2
    assert len(json.loads((tree / ".ci" / "passed.json").read_text())["emulate"]["on"]) == 2


def test_a_failure_is_told_and_not_recorded(tree, capfd):
    (tree / "broken").touch()
    assert once.run(["emulate"], tree, record=True) != 0
    assert "make emulate: failed" in capfd.readouterr().err and not runs_recorded(tree)
    assert once.run(["emulat"], tree) == 2


def test_what_fails_later_has_not_passed(tree):
    once.run(["emulate"], tree, record=True)
    assert runs_recorded(tree) == ["emulate"]
    (tree / "broken").touch()
    assert once.run(["emulate"], tree, everything=True, record=True) != 0
    assert runs_recorded(tree) == []


def test_variables_make_another_target_and_installing_does_not(tree):
    once.run(["emulate ARM=--install"], tree, record=True)
    assert once.run(["emulate"], tree) == 0 and runs(tree) == 1
    assert once.run(["emulate ARM=--torch"], tree) == 0 and runs(tree) == 2


def test_without_git_everything_runs(tree, capfd):
    once.run(["emulate"], tree, record=True)
    shutil.rmtree(tree / ".git")
    assert once.run(["emulate"], tree, record=True) == 0 and runs(tree) == 2
    assert "git does not list the files" in capfd.readouterr().err


def test_another_compiler_is_another_machine(monkeypatch):
    usual = once.machine_of(["g++"])
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    assert once.machine_of(["g++"]) != usual


def test_every_target_is_one_of_make_and_its_files_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target, inputs in once.TARGETS.items():
        assert f"\n{target}:" in makefile
        assert all((ROOT / path).exists() for path in inputs.paths), target


def test_what_the_tests_of_operators_read_is_listed():
    """Another module of the pipeline, or a helper of its tests, would change without them being run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^OPERATORS := (.+)", makefile, re.MULTILINE)
    listed = once.TARGETS["test-operators"].paths
    assert set(line.split()) <= set(listed)
    for name in line.split():
        for path in [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(from|import) arseg\b(?!_)", text, re.MULTILINE), path
            helpers = re.findall(r"helpers\.(\w+)|from helpers import (\w+)", text)
            assert {f"tests/helpers/{a or b}.py" for a, b in helpers} <= set(listed), path
