"""`arseg fit` on the command line: what it begins, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.folder_trees import folder_tree, names_of, three_classes

from arseg.fit.example import STARTER


def fault(result) -> str:
    code, out, err = result
    lines = err.strip().splitlines()
    assert (code, out, len(lines)) == (2, "", 1), err
    return lines[0]


def test_it_begins_a_config(arseg):
    assert arseg("fit", "--init", "mine.toml") == (0, "mine.toml\n", "")
    assert Path("mine.toml").read_text() == STARTER == arseg("fit", "--init")[1]
    assert fault(arseg("fit", "--init", "mine.toml")) == "arseg: mine.toml: exists already; give another name"


def test_what_is_wrong_is_one_line_and_code_2(arseg, monkeypatch):
    Path("mine.toml").write_text("[hr]\nstpes = 3\n")
    assert fault(arseg("fit", "mine.toml")) == "arseg: mine.toml: unknown key 'hr.stpes'; did you mean hr.steps?"
    assert "expected labelled stills (source), videos, or both" in fault(arseg("fit"))
    assert "preset: expected one of default, quick" in fault(arseg("fit", "--preset", "fast"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "fit: runs as one process" in fault(arseg("fit"))
    assert list(Path().iterdir()) == [Path("mine.toml")]


@pytest.mark.slow  # trains
def test_one_command_from_labels_to_a_report(arseg):
    pytest.importorskip("timm")
    folder_tree(Path("labels"), three_classes(6, (48, 64)), [*names_of(3, "a_"), *names_of(3, "b_")])
    Path("mine.toml").write_text(
        "[data]\nsource = 'labels'\n[model]\nline = 'timm:mobilenetv3_small_050?pretrained=false&channels=8'\n"
        "[hr]\nsteps = 1\nbatch = 2\ncrop = [48, 64]\nqualities = []\n[eval]\nstills = 1\nworst = 1\ngop = 3\n"
    )
    settings = ["ar.low_steps=0", "ar.steps=1", "ar.batch=2", "ar.crop=[48, 64]", "ar.window=3"]
    given = [word for setting in settings for word in ("--set", setting)]
    code, out, err = arseg("fit", "mine.toml", "-o", "run", *given)
    assert code == 0, err
    assert out.splitlines()[1:] == ["run/weights.safetensors", "run/report.md"]
    assert out.startswith("mIoU, mean of distances: HR ") and "AR: " not in out
    assert err.startswith("plan of run:\n  data: labels (folder), 5 frames to train on; by blocks of neighbours")
    code, out, err = arseg("info", "run/weights.safetensors")
    assert code == 0 and "arseg fit mine.toml" in out and "labels" in out, err
