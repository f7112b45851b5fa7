"""`arseg data check`: what it prints, and its exit codes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dataset_trees import save
from helpers.folder_trees import folder_tree, three_classes, write_classes


@pytest.fixture
def root(tmp_path):
    stills = three_classes(10)
    rng = np.random.default_rng(0)
    noisy = [(rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8), ids) for _, ids in stills]
    return folder_tree(tmp_path / "mine", noisy)


def test_a_clean_data_set(arseg, root):
    code, out, _ = arseg("data", "check", "mine")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(
        "mine: layout folder; 8 train, 2 val; split by blocks of neighbours in the order of names"
    )
    assert lines[-1] == "no faults"
    (sky,) = [line.split("│") for line in lines if "sky" in line]
    labels = np.stack([ids for _, ids in three_classes(10)][:8])
    assert sky[2].strip() == f"{100 * (labels == 0).sum() / (labels < 255).sum():.2f}" and sky[3].strip() == "8"


def test_faults_end_it_with_1(arseg, root):
    for place in range(7):
        save(np.full((48, 64), 77, np.uint8), root / "labels" / f"{place:03d}.png")
    code, out, _ = arseg("data", "check", "mine")
    assert code == 1
    lines = out.splitlines()
    assert lines[-1] == "8 faults" and "labels without a class:" in lines and "  and 2 more (--all)" in lines
    assert sum("has one; label it" in line for line in lines) == 5
    assert any("000.png and 6 more: 21504 pixels have the id 77" in line for line in lines)
    _, out, _ = arseg("data", "check", "mine", "--all")
    assert out.count("has one; label it") == 7


def test_a_data_set_that_cannot_be_opened(arseg, root):
    write_classes(root, ["a", "a"])
    code, out, _ = arseg("data", "check", "mine")
    assert code == 1 and out.splitlines()[-1] == "1 fault"
    assert "classes.json: classes: 2 have the name a; give each its own" in out
    code, _, err = arseg("data", "check", "nowhere")
    assert code == 2 and err.startswith("arseg: --data: nowhere: no such folder")
