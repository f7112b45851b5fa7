"""A data set of one's own: labels of every kind, splits, and what is said of faults."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from helpers.dataset_trees import camvid_tree, cityscapes_tree, run_tree, save
from helpers.folder_trees import CLASSES, COLOURS, folder_tree, names_of, three_classes, write_classes
from PIL import Image

from arseg.data.classes import classes_of, read_classes
from arseg.data.opened import open_data
from arseg.data.splits import made_split, read_splits, video_and_number
from arseg.errors import InputError
from arseg.labels import CAMVID, CITYSCAPES, voc_palette


@pytest.fixture(scope="module")
def stills():
    return three_classes(10)


def labels_in(root, count=10):
    """All labels of a folder, in the order of the pictures' names."""
    data = open_data(root)
    found = {}
    for split in data.splits:
        frames = data.frames(split)
        found |= {frame.name: frames[index][1] for index, frame in enumerate(frames.frames)}
    assert len(found) == count
    return [found[name] for name in sorted(found)]


def check_labels(root, stills):
    for label, (_, expected) in zip(labels_in(root, len(stills)), stills, strict=True):
        np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize("colours", [False, True])
def test_ids_and_colours(tmp_path, stills, colours):
    data = open_data(folder_tree(tmp_path / "mine", stills, colours=colours))
    assert (data.name, data.layout, data.labels.classes) == ("mine", "folder", CLASSES)
    assert data.labels.palette[:3].tolist() == [list(colour) for colour in COLOURS]
    assert data.class_weights is None and data.splits == ("train", "val")
    assert len(data.frames("train")) == 8 and len(data.frames("val")) == 2
    check_labels(data.root, stills)
    image, label = data.stills("val")[0]
    np.testing.assert_array_equal(image, stills[8][0])
    np.testing.assert_array_equal(label, stills[8][1])
    assert [part.shape[:2] for part in data.stills("val", rows=24)[1]] == [(24, 32)] * 2
    with pytest.raises(FileNotFoundError, match=r"mine: has no test, only train and val; add test/ with images/"):
        data.frames("test")


@pytest.mark.parametrize("kind", ["P of ids", "P of colours", "16 bits", "grey in RGB", "with alpha", "1 bit"])
def test_modes_of_pictures(tmp_path, stills, kind):
    """A label picture means the same in each mode that programs save it in."""
    folder_tree(tmp_path, stills)
    for name, (_, label) in zip(names_of(10), stills, strict=True):
        path = tmp_path / "labels" / f"{name}.png"
        if kind.startswith("P"):
            # Colours: entries in another order, with those of the classes. Ids: a palette that means nothing.
            order = np.array([2, 0, 1]) if kind == "P of colours" else np.arange(3)
            table = np.zeros((256, 3), np.uint8)
            table[order] = COLOURS if kind == "P of colours" else voc_palette(3)
            stored = np.where(label < 3, order.astype(np.uint8)[np.minimum(label, 2)], np.uint8(255))
            picture = Image.frombytes("P", label.shape[::-1], stored.tobytes())
            picture.putpalette(table.ravel().tolist())
        elif kind == "16 bits":
            picture = Image.fromarray(np.where(label < 3, label, 1000).astype(np.uint16))
        elif kind == "grey in RGB":
            picture = Image.fromarray(np.repeat(label[..., None], 3, 2))
        elif kind == "with alpha":
            colours = np.array([*COLOURS, (0, 0, 0)], np.uint8)[np.minimum(label, 3)]
            picture = Image.fromarray(np.dstack([colours, np.full(label.shape, 7, np.uint8)]))
        else:
            picture = Image.fromarray(label == 1)
        picture.save(path)
    if kind == "1 bit":
        stills = [(image, (label == 1).astype(np.uint8)) for image, label in stills]
    check_labels(tmp_path, stills)


CLASS_FILES = {
    "names": ("classes.json", '["sky", "road", "car"]'),
    "objects": (
        "classes.json",
        json.dumps([{"name": n, "color": list(c)} for n, c in zip(CLASSES, COLOURS, strict=True)]),
    ),
    "names by id": ("classes.json", '{"0": "sky", "1": "road", "2": "car"}'),
    "ids by name": ("classes.json", '{"car": 2, "sky": 0, "road": 1}'),
    "colours by name": ("classes.json", '{"sky": "#4682b4", "road": [128, 64, 128], "car": [0, 0, 142]}'),
    "lines": ("classes.txt", "# mine\nsky\n\nroad\ncar\n"),
    "lines with colours": ("classes.txt", "sky 70 130 180\nroad,128,64,128\ncar #00008e\n"),
    "lines with colours first": ("classes.txt", "70 130 180\tsky\n128 64 128 road\n0 0 142\tcar\n"),
    "lines of CVAT": (
        "classes.txt",
        "# label:color_rgb:parts:actions\nsky:70,130,180::\nroad:128,64,128::\ncar:0,0,142::\n",
    ),
    "yaml": ("classes.yaml", "classes:\n- sky\n- road\n- car\n"),
    "yaml of others": ("classes.yml", "path: ../x\nnc: 3\nnames:\n  0: sky\n  1: road\n  2: car\n"),
}


@pytest.mark.parametrize("case", CLASS_FILES)
def test_files_of_classes(tmp_path, case):
    name, text = CLASS_FILES[case]
    if "yaml" in case:
        pytest.importorskip("yaml")
    (tmp_path / name).write_text(text)
    found = read_classes(tmp_path / name)
    assert found.labels.classes == CLASSES and found.ids == (0, 1, 2)
    assert found.has_colours == ("colour" in case or case in ("objects", "lines of CVAT"))
    expected = COLOURS if found.has_colours else voc_palette(3)
    assert found.labels.palette[:3].tolist() == [list(colour) for colour in expected]


def test_ids_of_ones_own_weights_and_what_is_ignored(tmp_path):
    write_classes(
        tmp_path,
        {
            "name": "Mine",
            "classes": [
                {"name": "sky", "id": 7, "weight": 1},
                {"name": "ego vehicle", "id": 1, "weight": 1},
                {"name": "road", "id": 300, "weight": 0.5},
            ],
            "ignore": ["ego vehicle", 4],
            "mean": [0.4, 0.4, 0.4],
        },
    )
    found = read_classes(tmp_path / "classes.json")
    assert found.labels.classes == ("sky", "road") and found.ids == (7, 300) and found.weights == (1, 0.5)
    assert found.ignored_ids == {1, 4, 255} and found.labels.mean == (0.4, 0.4, 0.4) and found.labels.name == "Mine"
    stored = np.array([[7, 1, 300, 4, 9, 255]] * 2, np.uint16)
    for name in "ab":
        save(np.zeros((2, 6, 3), np.uint8), tmp_path / "images" / f"{name}.png")
        save(stored, tmp_path / "labels" / f"{name}.png")
    data = open_data(tmp_path)
    assert data.frames("train")[0][1].tolist() == [[0, 255, 1, 255, 255, 255]] * 2
    assert data.class_weights == (1, 0.5)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"clases": ["a"]}, "no key is named .clases.; did you mean .classes."),
        ({"classes": ["a"], "colour": []}, r"no key is named 'colour'; did you mean 'colours'\?"),
        (["a", "a"], "2 have the name a; give each its own"),
        ({"classes": ["a", "b"], "colors": [[0, 0, 0]]}, "colors: expected 2, one for each class, got 1"),
        ({"classes": ["a"], "colors": [[0, 0, 256]]}, r"expected \[r, g, b\] from 0 to 255"),
        ({"classes": ["a"], "weights": [-1]}, "weights: expected positive numbers"),
        ({"classes": ["a"], "ignore": ["b"]}, "ignore: no class is named 'b'; the names are a"),
        ({"classes": ["a"], "background": "b"}, "background: expected one of the classes, a, got 'b'"),
        ({"a": 255}, "a has the id 255, which means ignored"),
        ([{"name": "a", "colr": 1}], "no key of an entry is named 'colr'; color is one"),
        ([], "expected 1 to 255, got 0"),
    ],
)
def test_faults_in_files_of_classes(tmp_path, record, said):
    write_classes(tmp_path, record)
    with pytest.raises(InputError, match=f"classes.json: .*{said}"):
        read_classes(tmp_path / "classes.json")


def test_a_split_of_folders(tmp_path, stills):
    folder_tree(tmp_path, stills[:6])
    folder_tree(tmp_path / "val", stills[6:8], ["x", "y"])
    folder_tree(tmp_path / "test", stills[8:], ["z", "zz"])
    data = open_data(tmp_path)
    assert data.split_by == "by folders: train, val, test"
    assert [[frame.name for frame in data.frames(split).frames] for split in data.splits] == [
        names_of(6),
        ["x", "y"],
        ["z", "zz"],
    ]
    (tmp_path / "split.txt").write_text("000\n")
    with pytest.raises(InputError, match=r"split\.txt: there is a folder of val, too; keep one of them"):
        open_data(tmp_path)


def test_a_split_within_images(tmp_path, stills):
    folder_tree(tmp_path, stills[:4], ["train/a/0", "train/a/1", "val/b/0", "val/b/1"])
    data = open_data(tmp_path)
    assert [frame.name for frame in data.frames("val").frames] == ["b-0", "b-1"]


def test_a_listed_split(tmp_path, stills):
    folder_tree(tmp_path, stills[:5], ["a/0", "a/1", "b/0", "b/1", "c/5"])
    (tmp_path / "split.txt").write_text("# mine\nb val\nimages/c/5.png, test\n")
    data = open_data(tmp_path)
    assert data.split_by == "by split.txt"
    assert [len(data.frames(split)) for split in ("train", "val", "test")] == [2, 2, 1]
    (tmp_path / "split.txt").write_text("a\n7\n")
    with pytest.raises(InputError, match=r"split\.txt: line 2: '7' is no picture and no folder in images/"):
        open_data(tmp_path)


def test_whole_videos_are_held_out():
    """By folder, or by what stands before the number; no video is in both."""
    by_folder = [f"drive{video}/{place:04d}" for video in range(6) for place in range(20)]
    by_name = [f"drive{video}_{place:04d}" for video in range(6) for place in range(20)]
    for names, what in ((by_folder, "folder"), (by_name, "video")):
        split, how = made_split(names)
        videos = {s: {name[:6] for name in names if split[name] == s} for s in ("train", "val")}
        assert not videos["train"] & videos["val"] and len(videos["val"]) == 1
        assert how.startswith(f"by {what}: drive") and "1 of" not in how[:3]
        assert made_split(names)[0] == split


def test_loose_pictures_are_split_in_blocks():
    """Few have a neighbour in the other split, where drawing at random would give nearly all one."""
    names = [f"IMG_{place:04d}" for place in range(100)]
    split, how = made_split(names)
    val = [place for place, name in enumerate(names) if split[name] == "val"]
    borders = sum((split[a] == "val") != (split[b] == "val") for a, b in pairwise(names))
    assert len(val) == 20 and borders == 3
    assert how.startswith("by blocks of neighbours in the order of names: 20 of 100")
    assert set(made_split(["a", "b"])[0].values()) == {"train", "val"}
    with pytest.raises(InputError, match="expected at least 2 labelled pictures"):
        made_split(["a"])


def test_names_without_a_video():
    assert video_and_number("0001TP_006690") == ("0001TP", 6690)
    assert video_and_number("seq-1 frame12") == ("seq-1", 12)
    assert video_and_number("sunset") == ("sunset", None)
    random = [f"{np.random.default_rng(place).bytes(6).hex()}" for place in range(40)]
    assert made_split(sorted(random))[1].startswith("by blocks")


def test_listed_names_are_pictures(tmp_path):
    path = tmp_path / "split.txt"
    path.write_text("")
    with pytest.raises(InputError, match="is empty; expected a name a line"):
        read_splits(path, ["a"])


def test_labels_may_have_longer_names(tmp_path, stills):
    folder_tree(tmp_path, stills[:2], ["a", "a_1"])
    (tmp_path / "labels" / "a.png").rename(tmp_path / "labels" / "a_mask.png")
    (tmp_path / "labels" / "a_1.png").rename(tmp_path / "labels" / "a_1_mask.png")
    check_labels(tmp_path, stills[:2])


def test_pictures_that_a_camera_turned(tmp_path, stills):
    """EXIF says how to turn the stored picture; the label is of the turned one, as most tools show it."""
    folder_tree(tmp_path, stills[:2])
    for orientation, undo in (
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (5, Image.Transpose.TRANSPOSE),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stills[0][0]).transpose(undo).save(tmp_path / "images" / "000.png", exif=exif)
        image, label = open_data(tmp_path).frames("train")[0]
        np.testing.assert_array_equal(image, stills[0][0])
        np.testing.assert_array_equal(label, stills[0][1])
    Image.fromarray(stills[0][0]).crop((0, 0, 10, 10)).save(tmp_path / "images" / "000.png")
    with pytest.raises(InputError, match=r"000\.png: expected the size of 000\.png, 10x10, got 64x48"):
        open_data(tmp_path).frames("train")[0]


def test_faults_of_folders(tmp_path, stills):
    with pytest.raises(
        FileNotFoundError, match=r"has the layout of no data set; expected images/ and labels/ .*it is empty"
    ):
        open_data(tmp_path)
    root = folder_tree(tmp_path / "mine", stills[:2])
    (root / "classes.txt").write_text("a")
    with pytest.raises(InputError, match=r"has classes\.json and classes\.txt; keep one"):
        open_data(root)
    (root / "classes.txt").unlink()
    write_classes(root, ["a"])
    save(np.full((4, 4, 3), (1, 2, 3), np.uint8), root / "labels" / "000.png")
    with pytest.raises(InputError, match=r"000\.png: is in colours, but the classes have none"):
        open_data(root).frames("train")[0]
    save(np.zeros((4, 4, 3), np.uint8), root / "images" / "000.jpg")
    with pytest.raises(InputError, match=r"000\.png: 000\.jpg has the same name; rename one"):
        open_data(root)
    (root / "images" / "000.jpg").unlink()
    (root / "labels" / "001.png").unlink()
    with pytest.raises(InputError, match="expected at least 2 pictures with labels"):
        open_data(root)


def test_frames_around_labelled_ones(tmp_path, stills):
    """In folders of their videos, by their numbers; what is not known has none."""
    names = ["a/0004", "a/0008", "b/0003", "c/0001"]
    root = folder_tree(tmp_path / "mine", stills[:4], names)
    (root / "split.txt").write_text("c")
    for video, numbers in (("a", range(2, 12, 2)), ("b", [1, 2, 3, 5])):
        for number in numbers:
            save(stills[0][0], root / "sequences" / video / f"{video}_{number:04d}.png")
    found = [
        (frame.name, [p.stem for p in frame.frames], frame.index) for frame in open_data(root).frames("train").frames
    ]
    drive = [f"a_{number:04d}" for number in range(2, 12, 2)]
    assert found == [("a-0004", drive, 1), ("a-0008", drive, 3), ("b-0003", ["b_0001", "b_0002", "b_0003"], 2)]
    assert open_data(root).frames("val").frames[0].frames == ()
    (root / "sequences").rename(tmp_path / "elsewhere")
    data = open_data(root)
    assert data.frames("train").frames[0].frames == ()
    assert len(data.source.frames(root, "train", sequences=tmp_path / "elsewhere").frames[0].frames) == 5
    with pytest.raises(FileNotFoundError, match="none: expected a folder of frames for each video in it"):
        data.source.frames(root, "train", sequences=tmp_path / "none")


@pytest.mark.slow
def test_layouts_are_found_out(tmp_path):
    data = open_data(run_tree(camvid_tree(tmp_path / "c", snippets=1), 5))
    assert (data.name, data.layout, data.labels) == ("CamVid", "camvid", CAMVID)
    assert data.splits == ("train", "val") and data.consecutive() and not data.consecutive("train")
    assert set(np.unique(data.frames("val")[0][1])) <= {*range(11), 255}
    data = open_data(cityscapes_tree(tmp_path / "s", snippets=1))
    assert (data.layout, data.labels) == ("cityscapes", CITYSCAPES) and not data.consecutive("train")


def test_sources(tmp_path, stills):
    root = folder_tree(tmp_path / "mine", stills[:4])
    assert open_data(f"folder:{root}").root == open_data(str(root)).root == root
    with pytest.raises(FileNotFoundError, match=rf"--data: foldr:{root}: no such folder; .* did you mean folder:"):
        open_data(f"foldr:{root}")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; expected that of camvid"):
        open_data("camvid:nowhere")
    with pytest.raises(FileNotFoundError, match=r"--data: nowhere: no such folder; expected a folder, LAYOUT:FOLDER"):
        open_data("nowhere")


def test_the_fingerprint_tells_data_apart(tmp_path, stills):
    root = folder_tree(tmp_path / "mine", stills[:5])
    first = open_data(root).fingerprint()
    assert open_data(root).fingerprint() == first and len(first) == 16
    (root / "split.txt").write_text("000")
    other = open_data(root).fingerprint()
    write_classes(root, ["a", "b", "c"])
    assert len({first, other, open_data(root).fingerprint()}) == 3


def test_stills_are_kept(tmp_path, stills):
    kept = open_data(folder_tree(tmp_path, stills)).stills("train")
    read, again = kept[3], kept[3]
    assert len(kept) == 8 and all(np.array_equal(one, other) for one, other in zip(read, again, strict=True))
    assert np.shares_memory(again[0], kept[3][0])
    assert [still[1].tolist() for still in kept[6:]] == [stills[6][1].tolist(), stills[7][1].tolist()]


OWN = """
from pathlib import Path
import numpy as np
from arseg.data.datasets import DataSet, LabelledFrame, LabelledFrames, picture_files
from arseg.labels import LabelSet


class Fields(DataSet):
    labels = LabelSet.of(2, name="fields", classes=("crop", "weed"))
    class_weights = (1, 3)

    def frames(self, root, split="train", **_):
        images = picture_files(Path(root) / f"{split}-pictures", "the pictures of this split")
        frames = [LabelledFrame(p.stem, p, Path(root) / "ids" / p.name) for p in images]
        return LabelledFrames("fields", self.labels.classes, self.labels.palette[:2], frames, lambda ids: ids // 100)


instance = Fields()
number = 3


class Unfinished(DataSet):
    labels = Fields.labels


class Nameless(Fields):
    labels = None
"""


def test_a_class_of_ones_own(tmp_path):
    """Without a line in a file of ours: the class or an instance, in the folder of its file, its `root`, or another."""
    (tmp_path / "fields.py").write_text(OWN)
    for split in ("train", "val"):
        save(np.zeros((2, 3, 3), np.uint8), tmp_path / "there" / f"{split}-pictures" / f"{split}.png")
        save(np.full((2, 3), 100, np.uint8), tmp_path / "there" / "ids" / f"{split}.png")
    data = open_data(f"{tmp_path}/fields.py:Fields:{tmp_path}/there")
    assert (data.name, data.layout, data.class_weights) == ("fields", "fields", (1, 3))
    assert data.stills("val")[0][1].tolist() == [[1, 1, 1]] * 2 and len(data.fingerprint()) == 16
    assert open_data(f"{tmp_path}/fields.py:instance").root == tmp_path
    (tmp_path / "fields.py").write_text(f"{OWN}\nFields.root = {str(tmp_path / 'there')!r}\n")
    assert len(open_data(f"{tmp_path}/fields.py:Fields").frames("train")) == 1
    for name, said in {
        "number": "expected number to be a DataSet, class or instance, got a int",
        "Nothing": "expected Nothing to be a DataSet, class or instance, got nothing of that name",
        "Unfinished": "Unfinished in .* has no frames; see arseg.data.datasets.DataSet",
        "Nameless": r"Nameless in .* has no labels; give it a LabelSet, such as LabelSet\.of",
    }.items():
        with pytest.raises(InputError, match=said):
            open_data(f"{tmp_path}/fields.py:{name}")
    with pytest.raises(FileNotFoundError, match=r"none\.py: no such file; expected a folder"):
        open_data(f"{tmp_path}/none.py:Fields")


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"0": {"color": [1, 2, 3]}}, "classes: expected a name for each"),
        ({"clases": ["a", "b"]}, "no key is named 'clases'; did you mean 'classes'?"),
    ],
)
def test_slips_in_classes_are_one_sentence(record, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        classes_of(record)


def test_what_labels_mean_tells_data_apart(tmp_path, stills):
    root = folder_tree(tmp_path / "mine", stills)
    found = {open_data(root).fingerprint()}
    for change in (
        {},
        {"classes": [{"name": name, "id": 2 - place} for place, name in enumerate(CLASSES)]},
        {"weights": [1, 2, 50]},
        {"ignore": [2]},
        {"background": "road"},
    ):
        write_classes(root, {"classes": list(CLASSES), **change})
        found.add(open_data(root).fingerprint())
        assert open_data(root).fingerprint() in found
    assert len(found) == 6


def test_frames_have_names_of_their_own(tmp_path, stills):
    root = folder_tree(tmp_path / "mine", stills[:4], ["a/b-0", "a-b/0", "c/0", "d"])
    data = open_data(root)
    names = {frame.image: frame.name for split in data.splits for frame in data.frames(split).frames}
    assert len(set(names.values())) == 4 and {"c-0", "d"} < set(names.values())
