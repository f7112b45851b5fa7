"""CamVid's original layouts and Cityscapes, on miniatures."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dataset_trees import camvid_tree, cityscapes_tree, run_tree, save, street
from PIL import Image

from arseg.data.camvid import NUMBERING, PALETTE, camvid_frames, frame_number, ids_of_colours
from arseg.data.cityscapes import CLASSES, LABEL_IDS, cityscapes_frames, train_ids
from arseg.data.datasets import labelled_run
from arseg.errors import InputError


def test_colours_become_ids():
    """Every class has a colour; any other colour, however close, is ignored."""
    colours = np.concatenate([PALETTE, [[128, 0, 192], [128, 128, 129], [255, 255, 255]]]).astype(np.uint8)[None]
    assert ids_of_colours(colours)[0].tolist() == [*range(12), 255, 255, 255]
    assert ids_of_colours(colours, "ignore")[0].tolist() == [*range(11), 255, 255, 255, 255]
    with_alpha = np.dstack([colours, np.full((1, 15), 255, np.uint8)])
    np.testing.assert_array_equal(ids_of_colours(with_alpha), ids_of_colours(colours))


def test_ids_stay():
    ids = np.array([[0, 10, 11, 12, 200, 255]], np.uint8)
    assert ids_of_colours(ids)[0].tolist() == [0, 10, 11, 255, 255, 255]
    assert ids_of_colours(ids, "ignore")[0].tolist() == [0, 10, 255, 255, 255, 255]


def test_colours_as_a_slow_loop_would_map_them():
    rng = np.random.default_rng(0)
    picture = PALETTE[rng.integers(0, 12, (7, 9))]
    picture[rng.random((7, 9)) < 0.3] = rng.integers(0, 256, 3)
    table = {tuple(colour): index for index, colour in enumerate(PALETTE.tolist())}
    expected = [[table.get(tuple(pixel), 255) for pixel in row] for row in picture.tolist()]
    assert ids_of_colours(picture).tolist() == expected


@pytest.mark.slow
def test_camvid_with_its_videos(tmp_path):
    data = camvid_frames(camvid_tree(tmp_path), "train", sequences=tmp_path / "frames")
    assert len(data) == 2 and len(data.classes) == 12
    for frame in data.frames:
        known, counted = NUMBERING["0001TP"]
        assert frame_number(frame.frames[frame.index].stem) == frame_number(frame.name) - known + counted
        with Image.open(frame.image) as labelled, Image.open(frame.frames[frame.index]) as same:
            np.testing.assert_array_equal(labelled, same)
    image, label = data[1]
    assert image.shape == (72, 96, 3) and label.shape == (72, 96) and label.max() < 12
    np.testing.assert_array_equal(label, street(30)[27][1])


def test_camvid_as_distributed_at_first(tmp_path):
    image, label = street(1)[0]
    save(image, tmp_path / "701_StillsRaw_full" / "0001TP_006690.png")
    save(PALETTE[label], tmp_path / "LabeledApproved_full" / "0001TP_006690_L.png")
    with pytest.raises(FileNotFoundError, match=r"train\.txt: no such file; the original layout needs the names"):
        camvid_frames(tmp_path)
    (tmp_path / "train.txt").write_text("0001TP_006690.png\n\n")
    data = camvid_frames(tmp_path)
    np.testing.assert_array_equal(data[0][1], label)
    (tmp_path / "train.txt").write_text("0001TP_009999\n")
    with pytest.raises(FileNotFoundError, match=r"train\.txt: 0001TP_009999 is not in"):
        camvid_frames(tmp_path)


@pytest.mark.slow
def test_a_run_that_is_labelled_frame_by_frame(tmp_path):
    data = labelled_run(camvid_frames(run_tree(tmp_path, 5), "val", void="ignore"))
    assert [frame.index for frame in data.frames] == list(range(5))
    assert all(len(frame.frames) == 5 for frame in data.frames)


@pytest.mark.slow
def test_the_labelled_frame_of_a_snippet_is_the_twentieth(tmp_path):
    data = cityscapes_frames(cityscapes_tree(tmp_path))
    assert len(data) == 2 and len(data.classes) == 19 and len(set(CLASSES)) == 19
    for frame in data.frames:
        assert frame.index == 19 and len(frame.frames) == 30
        assert frame.frames[19].name == frame.image.name
    _, label = data[0]
    assert set(np.unique(label)) <= {*range(19), 255} and (label == CLASSES.index("road")).any()


@pytest.mark.slow
def test_a_cut_snippet_keeps_what_hangs_together(tmp_path):
    cityscapes_tree(tmp_path, snippets=1)
    sequence = tmp_path / "leftImg8bit_sequence" / "train" / "ulm"
    (sequence / "ulm_000000_000004_leftImg8bit.png").unlink()
    (frame,) = cityscapes_frames(tmp_path).frames
    assert frame.index == 14 and len(frame.frames) == 25
    (sequence / "ulm_000000_000019_leftImg8bit.png").unlink()
    assert cityscapes_frames(tmp_path).frames[0].frames == ()


def test_label_ids_become_train_ids():
    stored = np.arange(256, dtype=np.uint8)[None]
    ids = train_ids(stored)[0]
    assert [int(ids[i]) for i in LABEL_IDS] == list(range(19))
    assert (np.delete(ids, LABEL_IDS) == 255).all()
    with pytest.raises(InputError, match=r"expected labelIds, uint8 \[H, W\], got uint8 \[1, 2, 3\]"):
        train_ids(np.zeros((1, 2, 3), np.uint8))


@pytest.mark.slow
def test_faults_name_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train: no such folder; expected CamVid's images of this split"):
        camvid_frames(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train: no such folder; expected CITY/\*_gtFine_labelIds\.png"):
        cityscapes_frames(tmp_path)
    cityscapes_tree(tmp_path, snippets=1)
    for folder in ("leftImg8bit", "leftImg8bit_sequence"):
        (tmp_path / folder / "train" / "ulm" / "ulm_000000_000019_leftImg8bit.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"ulm_000000_000019_leftImg8bit\.png: no such image"):
        cityscapes_frames(tmp_path)
    camvid_tree(tmp_path / "camvid")
    label = next((tmp_path / "camvid" / "train_labels").iterdir())
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(label)
    data = camvid_frames(tmp_path / "camvid")
    with pytest.raises(InputError, match=r"_L\.png: expected the size of .*, 96x72, got 4x3"):
        [data[i] for i in range(2)]


def test_the_distribution_at_480(shared):
    data = camvid_frames(shared / "data" / "camvid480", "val")
    _, label = data[50]
    assert len(data) == 101 and label.shape == (360, 480) and (label == 11).any() and not (label == 255).any()
