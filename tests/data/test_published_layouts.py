"""ADE20K, Pascal VOC, BDD100K and Mapillary Vistas, on miniatures in their layouts with their ids and names."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.dataset_trees import save
from helpers.folder_trees import write_classes
from PIL import Image

from arseg.data.ade20k import CLASSES, PALETTE
from arseg.data.mapillary import Mapillary
from arseg.data.opened import open_data
from arseg.data.registry import DATA_SETS
from arseg.errors import InputError
from arseg.labels import CITYSCAPES, voc_palette

IMAGE = np.full((4, 6, 3), 99, np.uint8)


def pair(image, label, stored):
    save(IMAGE, image)
    save(np.broadcast_to(np.array(stored, np.uint8), (4, len(stored))), label)


def label_of(data, split="val"):
    return data.frames(split)[0][1][0].tolist()


def test_ade20k(tmp_path):
    for split in ("training", "validation"):
        name = f"ADE_{split[:5]}_00000001"
        pair(
            tmp_path / "images" / split / f"{name}.jpg",
            tmp_path / "annotations" / split / f"{name}.png",
            [0, 1, 2, 21, 150, 151],
        )
    data = open_data(tmp_path)
    assert (data.layout, data.name, len(data.labels.classes)) == ("ade20k", "ADE20K", 150)
    assert label_of(data) == [255, 0, 1, 20, 149, 255]
    assert [data.labels.classes[i] for i in (0, 1, 20, 149)] == ["wall", "building", "car", "flag"]
    assert len(set(CLASSES)) == 150 and PALETTE[20].tolist() == [0, 102, 200]
    write_classes(tmp_path, ["x"])
    with pytest.raises(InputError, match="expected at least 2 pictures with labels"):
        open_data(tmp_path)  # whoever writes classes.json has a data set of one's own


@pytest.mark.parametrize("root", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc(tmp_path, root):
    """From each of the folders that people point to; the label pictures have a palette, and a border of 255."""
    year = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000033", "2008_000001"):
        save(IMAGE, year / "JPEGImages" / f"{name}.jpg")
        (year / "SegmentationClass").mkdir(exist_ok=True)
        picture = Image.frombytes("P", (6, 4), bytes([0, 1, 15, 20, 255, 0] * 4))
        picture.putpalette([value for colour in voc_palette(256) for value in colour])
        picture.save(year / "SegmentationClass" / f"{name}.png")
    sets = year / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_000032\n")
    (sets / "val.txt").write_text("2008_000001\n2007_000033\n")
    data = open_data(tmp_path / root)
    assert data.layout == "voc" and data.splits == ("train", "val")
    assert [frame.name for frame in data.frames("val").frames] == ["2007_000033", "2008_000001"]
    assert label_of(data) == [0, 1, 15, 20, 255, 0]
    assert [data.labels.classes[i] for i in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]
    with pytest.raises(FileNotFoundError, match=r"test\.txt: no such file; expected the names of the pictures of test"):
        data.frames("test")
    (sets / "val.txt").write_text("2010_000001\n")
    with pytest.raises(FileNotFoundError, match=r"val\.txt: 2010_000001 is not in .*JPEGImages"):
        data.frames("val")


def test_bdd100k(tmp_path):
    for split in ("train", "val"):
        image, mask = (tmp_path / "images" / "10k" / split, tmp_path / "labels" / "sem_seg" / "masks" / split)
        pair(image / "0004a4c0-d4dff0ad.jpg", mask / "0004a4c0-d4dff0ad.png", [0, 10, 18, 19, 255, 13])
    data = open_data(tmp_path)
    assert (data.layout, data.labels.classes) == ("bdd100k", CITYSCAPES.classes)
    assert label_of(data) == [0, 10, 18, 255, 255, 13]
    (tmp_path / "labels" / "sem_seg" / "masks" / "val" / "0004a4c0-d4dff0ad.png").unlink()
    with pytest.raises(FileNotFoundError, match="val: 1 of 1 labels are missing, the first is 0004a4c0-d4dff0ad"):
        data.frames("val")


LABELS = [
    {"name": "animal--bird", "readable": "Bird", "evaluate": True, "instances": True, "color": [165, 42, 42]},
    {
        "name": "void--ego-vehicle",
        "readable": "Ego Vehicle",
        "evaluate": False,
        "instances": False,
        "color": [120, 10, 10],
    },
    {
        "name": "construction--flat--road",
        "readable": "Road",
        "evaluate": True,
        "instances": False,
        "color": [128, 64, 128],
    },
]


@pytest.mark.parametrize("version", ["v1.2", "v2.0", "both"])
def test_mapillary(tmp_path, version):
    """1.2 alone has its labels beside the images; 2.0 has folders for both. What is not evaluated is ignored."""
    folders = {"v1.2": ("labels", "config.json"), "v2.0": ("v2.0/labels", "config_v2.0.json")}
    for folder, config in [folders[version]] if version in folders else folders.values():
        for split in ("training", "validation"):
            pair(tmp_path / split / "images" / "a1B.jpg", tmp_path / split / folder / "a1B.png", [0, 1, 2, 3, 255, 2])
        labels = LABELS if config != "config.json" or version != "both" else LABELS[:1]
        (tmp_path / config).write_text(json.dumps({"version": "1", "labels": labels}))
    data = open_data(tmp_path)
    assert (data.layout, data.labels.classes) == ("mapillary", ("Bird", "Road"))
    assert data.labels.palette[:2].tolist() == [[165, 42, 42], [128, 64, 128]]
    assert label_of(data) == [0, 255, 1, 255, 255, 1]
    if version == "both":
        assert Mapillary(("v1.2",)).opened(tmp_path).labels.classes == ("Bird",)
    (tmp_path / folders["v2.0" if version != "v1.2" else "v1.2"][1]).write_text("{}")
    with pytest.raises(InputError, match=r"json: expected labels with name, color and evaluate"):
        open_data(tmp_path)


def test_the_table_of_data_sets():
    assert set(DATA_SETS) >= {"camvid", "cityscapes", "ade20k", "voc", "bdd100k", "mapillary", "folder"}
    with pytest.raises(FileNotFoundError, match="expected config_v2"):
        open_data("mapillary:.")
