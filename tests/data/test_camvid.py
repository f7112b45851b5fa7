import numpy as np
import pytest
from PIL import Image

from arseg.data.camvid import CLASSES, PALETTE, CamVid


def write(root, name, value, annotated=True):
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", (6, 4), (value, 0, 0)).save(root / "train" / f"{name}.png")
    if annotated:
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(root / "trainannot" / f"{name}.png")


def test_pairs_in_order_of_names(tmp_path):
    write(tmp_path, "b", 5)
    write(tmp_path, "a", 200)
    data = CamVid(tmp_path, "train")
    image, label = data[0]
    assert len(data) == 2
    assert image.shape == (4, 6, 3) and image[0, 0, 0] == 200
    assert label.dtype == np.uint8 and (label == 11).all(), "ids past the classes are ignored"
    assert (data[1][1] == 5).all()


def test_faults_name_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train: no such folder; CamVid is expected in"):
        CamVid(tmp_path)
    write(tmp_path, "a", 1, annotated=False)
    with pytest.raises(FileNotFoundError, match=r"1 label maps are missing, the first is a\.png"):
        CamVid(tmp_path)


def test_a_colour_for_each_class():
    assert len(CLASSES) == 11 and PALETTE.shape == (12, 3)
    assert len({tuple(c) for c in PALETTE.tolist()}) == 12


def test_the_distribution_we_train_on(shared):
    data = CamVid(shared / "data" / "camvid480", "val")
    assert len(data) == 101
    image, label = data[50]
    assert image.shape == (360, 480, 3) and label.shape == (360, 480) and label.max() <= 11
