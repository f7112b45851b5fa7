"""What is wrong with a data set is told, each fault with its file; a clean one has none."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers.dataset_trees import save
from helpers.folder_trees import CLASSES, folder_tree, three_classes, write_classes
from PIL import Image

from arseg.data.check import check
from arseg.data.datasets import DataSet
from arseg.data.leaks import ALIKE, Look, differences, leaks
from arseg.data.opened import open_data

NAMES = [f"{video}_{place:03d}" for video in ("a", "b", "c", "d", "e") for place in range(4)]


@pytest.fixture
def root(tmp_path):
    """A clean data set of five videos, one of which is `val`."""
    stills = three_classes(20, seed=3)
    rng = np.random.default_rng(0)
    for place, (image, _) in enumerate(stills):
        stain = rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1)  # pictures that do not look alike
        stills[place] = ((image // 4 + stain * 3 // 4).astype(np.uint8), stills[place][1])
    return folder_tree(tmp_path / "mine", stills, NAMES)


def faults_of(root, **options):
    found = check(open_data(root), **options)
    return {kind: " ".join(sentences) for kind, sentences in found.faults.items()}


def only(root, kind, *said):
    """One kind of fault, whose sentences have these parts."""
    faults = faults_of(root)
    assert set(faults) == {kind}
    for part in said:
        assert re.search(part, faults[kind]), (part, faults[kind])


def label(root, name):
    return root / "labels" / f"{name}.png"


def test_a_clean_one(root):
    steps = []
    found = check(open_data(root), workers=2, progress=lambda done, total: steps.append((done, total)))
    assert found.faults == {} and found.remarks == []
    assert found.pictures == {"train": 16, "val": 4} and steps[-1] == (20, 20)
    labels = [still[1] for still in three_classes(20, seed=3)]
    val = [place for place, name in enumerate(NAMES) if name[0] == open_data(root).frames("val").frames[0].name[0]]
    for split, places in (("val", val), ("train", sorted({*range(20)} - {*val}))):
        own = np.stack([labels[place] for place in places])
        assert found.pixels[split].tolist() == [(own == c).sum() for c in (0, 1, 2, 255)]
        assert found.shown[split].tolist() == [len(places)] * 3
    assert found.sizes == {(48, 64): 20}


def test_ids_out_of_range(root):
    stored = np.asarray(Image.open(label(root, "a_000"))).copy()
    stored[40:42, :5] = 9
    save(stored, label(root, "a_000"))
    stored[:, :] = 0
    stored[0, 0] = 9
    save(stored, label(root, "b_001"))
    only(
        root, "ids out of range", r"a_000\.png and 1 more: 11 pixels have the id 9, which no class has; give it to one"
    )
    record = json.loads((root / "classes.json").read_text())
    write_classes(root, record | {"ignore": [9]})
    assert faults_of(root) == {}


def test_colours_that_no_class_has(root):
    colours = np.full((48, 64, 3), (128, 64, 128), np.uint8)
    colours[:2, :3] = (1, 2, 3)
    save(colours, label(root, "a_000"))
    only(root, "colours that no class has", r"a_000\.png: 6 pixels have the colour \[1, 2, 3\], which no class has")
    smooth = Image.fromarray(np.asarray(Image.open(label(root, "a_000")))).resize((640, 480)).resize((64, 48))
    noisy = np.clip(np.asarray(smooth).astype(int) + np.random.default_rng(0).integers(-9, 9, (48, 64, 3)), 0, 255)
    noisy[:24] = (128, 64, 128)
    save(noisy.astype(np.uint8), label(root, "a_000"))
    only(root, "colours that no class has", r"\d+ colours are no class's, as smoothing or JPEG makes them; export the")


def test_names_that_no_class_has(root):
    label(root, "a_000").unlink()
    shapes = [
        {"label": "sky", "shape_type": "rectangle", "points": [[0, 0], [60, 40]]},
        {"label": "lorry", "shape_type": "rectangle", "points": [[0, 0], [6, 4]]},
    ]
    drawing = {"shapes": shapes, "imagePath": "a_000.png", "imageHeight": 48, "imageWidth": 64}
    (root / "labels" / "a_000.json").write_text(json.dumps(drawing))
    only(root, "names that no class has", r"a_000\.json: 1 region has the name 'lorry', which no class has")
    shapes[1] = {"label": "car", "shape_type": "linestrip", "points": [[0, 0], [6, 4], [9, 9]]}
    (root / "labels" / "a_000.json").write_text(json.dumps(drawing))
    only(root, "regions without an area", r"a_000\.json: 1 region is of the kind 'linestrip', and counts for nothing")


def test_sizes_that_differ(root):
    save(np.zeros((24, 32), np.uint8), label(root, "a_000"))
    only(root, "sizes that differ", r"a_000\.png: expected the size of a_000\.png, 64x48, got 32x24; export it at the")


@pytest.mark.parametrize(
    ("turn", "size", "said"),
    [
        (2, (48, 64), "mirrors it"),
        (3, (48, 64), "turns it by 180 degrees"),
        (4, (48, 64), "turns it upside down, mirrored"),
        (6, (48, 48), "turns it by a quarter"),
        (6, (48, 64), None),  # the label has the size of what is stored
        (6, (64, 48), None),  # or of what is shown: read as such
        (1, (48, 64), None),
    ],
)
def test_images_whose_exif_may_turn_them_away_from_their_label(root, turn, size, said):
    path = root / "images" / "b_001.png"
    exif = Image.Exif()
    exif[0x0112] = turn
    with Image.open(path) as file:
        file.crop((0, 0, 64 if size != (48, 48) else 48, 48)).save(path, exif=exif)
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 2 :] = 1
    save(mask, label(root, "b_001"))
    if said is None:
        assert faults_of(root) == {}
    else:
        only(root, "turned images", rf"b_001\.png: its EXIF {said} when it is shown, .* if its label .*exif_transpose")


def test_labels_without_images_and_images_without_labels(root):
    (root / "images" / "a_000.png").unlink()
    label(root, "a_001").unlink()
    Image.new("L", (64, 48)).save(root / "labels" / "a_001.jpg")
    found = check(open_data(root))
    assert list(found.faults) == ["labels without images", "unreadable files"]
    (sentence,) = found.faults["labels without images"]
    assert re.search(r"a_000\.png: there is no image; add it to images/, or remove the label", sentence)
    (sentence,) = found.faults["unreadable files"]
    assert "a_001.jpg: a JPEG has not the values that were saved; export labels as PNG" in sentence
    assert re.search(r"images: 1 picture has no label and is not used, a_001", found.remarks[0])


def test_annotations_without_images(root):
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": 0, "y": 0, "width": 60, "height": 40},
            "region_attributes": {"k": "car"},
        }
    ]
    entries = {f"{name}1": {"filename": name, "size": 1, "regions": regions} for name in ("a_000.png", "zzz.png")}
    (root / "labels" / "via.json").write_text(json.dumps(entries))
    only(root, "labels without images", r"via\.json: there is no image for zzz\.png; add it")


def test_files_that_cannot_be_read(root):
    for path in (root / "images" / "a_000.png", label(root, "b_000")):
        path.write_bytes(path.read_bytes()[:60])
    faults = faults_of(root)
    assert set(faults) == {"unreadable files"}
    assert re.search(
        r"images/a_000\.png: cannot be read as a picture .*; replace it, or remove it with its label",
        faults["unreadable files"],
    )
    assert re.search(
        r"labels/b_000\.png: cannot be read .*; replace it, or remove it with its image", faults["unreadable files"]
    )


def test_empty_and_rare_classes(root):
    write_classes(root, [*CLASSES, "boat", "bird", "moon"])
    val = open_data(root).frames("val").frames[0]
    for path, place, value in ((label(root, "a_000"), 0, 4), (val.label, 1, 5)):
        stored = np.asarray(Image.open(path)).copy()
        stored[0, place] = value
        save(stored, path)
    found = check(open_data(root))
    assert [list(found.faults), len(found.faults["empty classes"])] == [["empty classes"], 2]
    boat, moon = found.faults["empty classes"]
    assert boat == "boat: no pixel of train has this class; label some, or remove the class"
    assert moon == "moon: no pixel of train has this class, only of val; label some, or remove the class"
    assert found.remarks[0].startswith("bird: is rare, 0.002")
    assert found.remarks[1] == "bird: no pixel of val has this class, so that it has no score there"


def test_labels_without_a_class(root):
    save(np.full((48, 64), 255, np.uint8), label(root, "c_000"))
    only(root, "labels without a class", r"c_000\.png: no pixel of c_000 has one; label it")


def test_leaks_between_splits(root):
    """A copy, one that was compressed or shrunk, and the next frame of a video; in one split a copy is a remark."""
    image = np.asarray(Image.open(root / "images" / "a_000.png"))
    (root / "split.txt").write_text("\n".join(f"b_{place:03d}" for place in range(4)))
    assert faults_of(root) == {}
    save(image, root / "images" / "b_000.png")
    small = Image.fromarray(image).resize((48, 36)).resize((64, 48))
    small.save(root / "images" / "b_001.png")
    save(image, root / "images" / "a_001.png")
    moved = np.roll(image, 1, 1)
    save(moved, root / "images" / "c_001.png")
    save(np.roll(image, 2, 1), root / "images" / "c_002.png")
    (root / "split.txt").write_text((root / "split.txt").read_text() + "\nc_002 val\n")
    found = check(open_data(root))
    assert list(found.faults) == ["leaks between splits"]
    said = found.faults["leaks between splits"]
    assert any(re.search(r"b_000\.png: is in train, too, as a_00[01]\.png; remove one of them", line) for line in said)
    assert any(
        re.search(r"b_001\.png: looks the same as a_00[01]\.png of train; put both into one split", line)
        for line in said
    )
    assert any(re.search(r"c_002\.png: (is the frame beside|looks the same as)", line) for line in said)
    assert "train: 1 pictures are copies of others in it" in found.remarks


def look(name, image):
    from pathlib import Path

    return Look.of(name, Path(f"{name}.png"), image)


def test_neighbours_in_a_video_are_told_by_number_and_look():
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (12, 16, 3)).repeat(30, 0).repeat(30, 1).astype(np.uint8)
    frames = [look(f"drive_{10 * k:04d}", np.roll(scene, 3 * k, 1)) for k in range(4)]
    (apart,) = differences(frames[:1], frames[1:2])[0]
    assert apart > ALIKE
    (found,) = leaks({"train": frames[:2], "val": frames[2:]})
    assert found == (
        "leaks between splits",
        "drive_0020.png: is the frame beside drive_0010.png of train; put whole videos into one split",
    )
    other = [look(f"tour_{10 * k:04d}", np.roll(scene, 3 * k, 1)) for k in range(2, 4)]
    assert list(leaks({"train": frames[:2], "val": other})) == []


def test_the_distribution_at_480_is_clean(shared):
    data = open_data(shared / "data" / "camvid480")
    looks = {
        split: [look(frame.name, np.asarray(Image.open(frame.image))) for frame in data.frames(split).frames[place]]
        for split, place in (("train", slice(250, 300)), ("val", slice(0, 5)))
    }
    assert list(leaks(looks)) == []
    assert len(list(leaks({"train": looks["val"][::2], "val": looks["val"][1::2]}))) == 2


def test_without_train_there_is_one_fault(root):
    data = open_data(root)
    val_alone = replace(data, source=ValAlone(data))
    found = check(val_alone)
    assert list(found.faults) == ["splits"] and "there is no train, only val" in found.faults["splits"][0]


class ValAlone(DataSet):
    """The data's val, and nothing else."""

    def __init__(self, data):
        self.data, self.labels = data, data.labels

    def frames(self, root, split="train", **_):
        if split != "val":
            raise FileNotFoundError(f"{root}: has no {split}")
        return self.data.frames("val")
