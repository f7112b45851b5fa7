import numpy as np
import pytest
from helpers.dataset_trees import save, street
from PIL import Image

from arseg.data.camvid import PALETTE, CamVid
from arseg.data.stills import ROWS, camvid_stills
from arseg.errors import InputError
from arseg.labels import CAMVID


def write(root, name, value, annotated=True):
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", (6, 4), (value, 0, 0)).save(root / "train" / f"{name}.png")
    if annotated:
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(root / "trainannot" / f"{name}.png")


def test_pairs_in_order_of_names(tmp_path):
    write(tmp_path, "b", 5)
    write(tmp_path, "a", 200)
    data = CamVid().stills(tmp_path, "train")
    image, label = data[0]
    assert len(data) == 2
    assert image.shape == (4, 6, 3) and image[0, 0, 0] == 200
    assert label.dtype == np.uint8 and (label == 11).all(), "ids past the classes are ignored"
    assert (data[1][1] == 5).all()


def layout(root, kind, image, label):
    """One frame of `train` in one of CamVid's layouts."""
    name = "0001TP_006690"
    if kind == "701_StillsRaw_full":
        save(image, root / kind / f"{name}.png")
        save(PALETTE[label], root / "LabeledApproved_full" / f"{name}_L.png")
        (root / "train.txt").write_text(f"{name}.png\n")
        return
    save(image, root / "train" / f"{name}.png")
    if kind == "trainannot":
        save(label, root / kind / f"{name}.png")
    else:
        save(PALETTE[label], root / kind / f"{name}_L.png")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trainannot", "train_labels", "train_labels_with_ignored", "701_StillsRaw_full"])
def test_every_layout_gives_the_same(tmp_path, kind):
    image, label = street(1)[0]
    label = label.copy()
    label[:5, :7] = 11
    layout(tmp_path, kind, image, label)
    data = CamVid().stills(tmp_path, "train")
    np.testing.assert_array_equal(data[0][0], image)
    np.testing.assert_array_equal(data[0][1], label)


@pytest.mark.slow
@pytest.mark.parametrize("colours", [PALETTE, CAMVID.palette])
def test_colours_of_either_distribution(tmp_path, colours):
    image, label = street(1)[0]
    assert (label == CAMVID.classes.index("pavement")).any(), "whose colour differs"
    save(image, tmp_path / "train" / "a.png")
    save(colours[label], tmp_path / "train_labels" / "a_L.png")
    np.testing.assert_array_equal(CamVid().stills(tmp_path)[0][1], label)


def test_palette_pictures_mean_their_colours(tmp_path):
    image, label = street(1)[0]
    save(image, tmp_path / "train" / "a.png")
    order = np.random.default_rng(0).permutation(12).astype(np.uint8)
    (tmp_path / "trainannot").mkdir()
    for table, stored in ((PALETTE[np.argsort(order)], order[label]), (PALETTE, label), (PALETTE[:, ::-1] // 3, label)):
        picture = Image.frombytes("P", label.shape[::-1], stored.tobytes())
        picture.putpalette(table.ravel().tolist())
        picture.save(tmp_path / "trainannot" / "a.png")
        np.testing.assert_array_equal(CamVid().stills(tmp_path)[0][1], label)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "sentence"), [("RGB", "got grey values that look like ids"), ("1", "got a picture of one bit")]
)
def test_pictures_that_are_no_labels_are_refused(tmp_path, mode, sentence):
    image, label = street(1)[0]
    save(image, tmp_path / "train" / "a.png")
    (tmp_path / "trainannot").mkdir()
    Image.fromarray(label).convert(mode).save(tmp_path / "trainannot" / "a.png")
    with pytest.raises(InputError, match=sentence):
        CamVid().stills(tmp_path)[0]


def test_what_lies_beside_is_passed_over(tmp_path):
    image, label = street(1)[0]
    layout(tmp_path, "trainannot", image, label)
    (tmp_path / "train_labels").mkdir()
    np.testing.assert_array_equal(CamVid().stills(tmp_path)[0][1], label)
    layout(tmp_path / "first", "701_StillsRaw_full", image, label)
    (tmp_path / "first" / "train.txt").write_bytes(b"\xef\xbb\xbf0001TP_006690\r\n")
    np.testing.assert_array_equal(CamVid().stills(tmp_path / "first")[0][1], label)


@pytest.mark.slow
def test_stills_for_training_are_no_higher_than_the_recipes_expect(tmp_path):
    image, label = street(1, size=(720, 960))[0]
    layout(tmp_path, "train_labels", image, label)
    np.testing.assert_array_equal(camvid_stills(tmp_path)[0][0], image, "the paper's recipes are for these")
    small_image, small_label = camvid_stills(tmp_path, rows=ROWS)[0]
    assert small_image.shape == (360, 480, 3) and small_label.shape == (360, 480)
    # Two by two pixels are one; its class is one of theirs, its colour their mean, smoothed a little.
    squares = label.reshape(360, 2, 480, 2)
    assert (squares == small_label[:, None, :, None]).any((1, 3)).all()
    means = image.astype(float).reshape(360, 2, 480, 2, 3).mean((1, 3))
    assert np.abs(means - small_image).mean() < 4


def test_faults_name_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train: no such folder; expected CamVid's images of this split"):
        CamVid().stills(tmp_path)
    write(tmp_path, "a", 1, annotated=False)
    with pytest.raises(FileNotFoundError, match=r"1 label pictures are missing, the first is a\.png"):
        CamVid().stills(tmp_path)


def test_a_broken_label_is_a_sentence(tmp_path):
    write(tmp_path, "a", 1)
    (tmp_path / "trainannot" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a picture"):
        CamVid().stills(tmp_path)[0]


def test_a_colour_for_each_class():
    assert len(CAMVID.classes) == 11 and CAMVID.palette.shape == (12, 3)
    assert len({tuple(c) for c in CAMVID.palette.tolist()}) == 12


def test_the_distribution_we_train_on(shared):
    data = CamVid().stills(shared / "data" / "camvid480", "val")
    assert len(data) == 101
    image, label = data[50]
    assert image.shape == (360, 480, 3) and label.shape == (360, 480) and label.max() <= 11
