"""`arseg data check`: what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_trees import save
from helpers.folder_trees import COLOURS, folder_tree, three_classes, write_classes
from PIL import Image

from arseg.data.opened import open_data
from arseg.inspect.training_sheet import labelled_view, training_views
from arseg.labels import LabelSet


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


def test_the_sheet_shows_what_training_sees(arseg, root):
    """Pairs of a view and its label, which are those of the recipe; and a legend."""
    code, out, _ = arseg("data", "check", "mine", "-o", "sheet.png")
    assert code == 0 and out.splitlines()[-1] == "sheet.png"
    sheet = np.asarray(Image.open("sheet.png"))
    images, ids = training_views(open_data("mine"))
    assert images.shape[0] == ids.shape[0] == 12 and set(np.unique(ids)) == {0, 1, 2, 255}
    assert sheet.shape[1] == 3 * (2 * 320 + 6) + 6
    first = sheet[24 : 24 + round(320 * images.shape[1] / images.shape[2]), 6:326]
    assert abs(first.astype(int).mean() - images[0].mean()) < 3
    legend = {tuple(colour) for colour in sheet[-30:].reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in COLOURS} <= legend


def test_a_label_over_its_image():
    image, label = np.full((8, 8, 3), 100, np.uint8), np.zeros((8, 8), np.uint8)
    label[:, 4:] = 255
    view = labelled_view(image, label, LabelSet.of(1, palette=[(200, 0, 0)]))
    assert view[0, 0].tolist() == [155, 45, 45]
    assert {tuple(pixel) for pixel in view[:, 4:].reshape(-1, 3).tolist()} == {(100, 100, 100), (255, 255, 255)}


def test_a_data_set_that_cannot_be_opened(arseg, root):
    write_classes(root, ["a", "a"])
    code, out, _ = arseg("data", "check", "mine")
    assert code == 1 and out.splitlines()[-1] == "1 fault"
    assert "classes.json: classes: 2 have the name a; give each its own" in out
    code, _, err = arseg("data", "check", "nowhere")
    assert code == 2 and err.startswith("arseg: --data: nowhere: no such folder")


def test_a_sheet_that_cannot_be_drawn_is_no_other_fault(arseg, root):
    (root / "images" / "000.png").write_bytes(b"none")
    code, out, err = arseg("data", "check", "mine", "-o", "sheet.png")
    assert (code, err) == (1, "") and out.splitlines()[-2] == "1 fault"
    assert out.splitlines()[-1].startswith("sheet.png: not drawn: ") and not Path("sheet.png").exists()
