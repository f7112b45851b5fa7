"""Polygons of COCO, VIA and LabelMe become the labels that the tools themselves would make of them."""

from __future__ import annotations

import base64
import csv
import io
import json

import numpy as np
import pytest
from foreign_folders import KINDS, differing, join
from helpers.dataset_trees import save
from helpers.folder_trees import CLASSES, folder_tree, three_classes, write_classes
from PIL import Image

from arseg.data.annotations import Region, coco_mask, drawn, read_annotations
from arseg.data.opened import open_data
from arseg.errors import InputError

SIZE = (20, 30)


def images_in(root, names=("a", "b"), size=SIZE):
    for name in names:
        save(np.zeros((*size, 3), np.uint8), root / "images" / f"{name}.png")


def write(path, record):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def first_label(root):
    return open_data(root).frames("train")[0][1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_labels(tmp_path, kind):
    """Whatever way the labels of a folder are stored, not a pixel differs; areas with holes and single pixels, too."""
    if kind == "coco":
        pytest.importorskip("pycocotools")
    stills = three_classes(5)
    noise = np.random.default_rng(0).integers(0, 4, stills[0][1].shape).astype(np.uint8)
    stills[0] = (stills[0][0], np.where(noise == 3, np.uint8(255), noise))
    data = open_data(folder_tree(tmp_path / "ids", stills))
    splits = {split: data.frames(split) for split in ("train", "val")}
    join(tmp_path / kind / "x", kind, splits)
    wrong, total = differing(tmp_path / kind / "x", splits)
    assert wrong == 0 and total == 5 * 48 * 64


def test_fewer_corners_lose_few_pixels(tmp_path):
    data = open_data(folder_tree(tmp_path / "ids", three_classes(4)))
    splits = {split: data.frames(split) for split in ("train", "val")}
    join(tmp_path / "x", "labelme", splits, tolerance=2)
    wrong, total = differing(tmp_path / "x", splits)
    assert wrong < 0.03 * total


COCO = {
    "images": [
        {"id": 5, "file_name": "a.png", "height": 20, "width": 30},
        {"id": 6, "file_name": "b.png", "height": 20, "width": 30},
    ],
    "categories": [{"id": 3, "name": "sky"}, {"id": 7, "name": "car"}],
}


def coco(*annotations):
    return COCO | {"annotations": [{"id": i, "image_id": 5, "iscrowd": 0, **a} for i, a in enumerate(annotations)]}


def test_run_lengths_of_coco(tmp_path):
    """Runs go down the columns; compressed ones are those of pycocotools. A crowd lies below everything."""
    tool = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    flat = mask.T.ravel().astype(int)
    runs = np.diff(np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1], [True]]))).tolist()
    counts = runs if not flat[0] else [0, *runs]
    packed = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    images_in(tmp_path)
    box = [[4, 4, 8, 4, 8, 8, 4, 8]]
    for stored in (counts, packed["counts"].decode()):
        record = coco(
            {"category_id": 7, "segmentation": box},
            {"category_id": 3, "segmentation": {"size": list(SIZE), "counts": stored}, "iscrowd": 1},
        )
        write(tmp_path / "annotations" / "instances.json", record)
        expected = np.where(mask, 0, 255)
        expected[4:8, 4:8] = 1
        np.testing.assert_array_equal(first_label(tmp_path), expected)


def test_polygons_of_coco_are_its_own_masks():
    """Any polygons, inside the image, on its border and beyond: as pycocotools draws them in the whole of it."""
    tool = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for case in range(200):
        low, high = ((2, 18), (0, 20), (-6, 34))[case % 3]
        corners = rng.uniform(low, high, (int(rng.integers(1, 3)), int(rng.integers(3, 7)) * 2))
        polygons = (corners.round() if case % 2 else corners).tolist()
        left, top, mask = coco_mask(polygons, SIZE)
        whole = np.zeros(SIZE, np.uint8)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        np.testing.assert_array_equal(whole, tool.decode(tool.merge(tool.frPyObjects(polygons, *SIZE))))


def test_coco_without_a_file_of_classes(tmp_path):
    """Categories are the classes, in the order of their ids; files beside it that are something else are left alone."""
    pytest.importorskip("pycocotools")
    images_in(tmp_path)
    triangle = {"category_id": 7, "segmentation": [[0, 0, 10, 0, 0, 10], [20, 10, 24, 10, 24, 14, 20, 14]]}
    dot = {"category_id": 3, "segmentation": [[1, 1, 2, 2]]}
    write(tmp_path / "instances.json", coco(triangle, dot))
    write(tmp_path / "settings.json", {"tool": "x"})
    data = open_data(tmp_path)
    assert data.labels.classes == ("sky", "car")
    label = data.frames("train")[0][1]
    assert (label[10:14, 20:24] == 1).all() and 45 <= (label[:10, :10] == 1).sum() <= 55 and not (label == 0).any()
    assert (data.frames("val")[0][1] == 255).all(), "nothing is drawn on it"


def test_background_is_ignored_or_a_class(tmp_path):
    images_in(tmp_path)
    for name in "ab":
        write(tmp_path / "labels" / f"{name}.json", labelme(("car", "rectangle", [[2, 3], [5, 6]])))
    write_classes(tmp_path, ["car"])
    expected = np.full(SIZE, 255)
    expected[3:7, 2:6] = 0
    np.testing.assert_array_equal(first_label(tmp_path), expected)
    write_classes(tmp_path, ["_background_", "car"])
    np.testing.assert_array_equal(first_label(tmp_path), np.where(expected == 0, 1, 0))
    write_classes(tmp_path, {"classes": ["car", "rest"], "background": "rest"})
    np.testing.assert_array_equal(first_label(tmp_path), np.where(expected == 0, 0, 1))


def labelme(*shapes, size=SIZE):
    return {
        "version": "5.5.0",
        "shapes": [
            {"label": n, "shape_type": kind, "points": points, **(more[0] if more else {})}
            for n, kind, points, *more in shapes
        ],
        "imagePath": "a.png",
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def test_shapes_of_labelme(tmp_path):
    """Beside the images, too; later shapes lie on earlier ones, and what has no area is left out."""
    images_in(tmp_path)
    mask = np.array([[True, False, True], [False, True, False]])
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    record = labelme(
        ("road", "polygon", [[0, 0], [29, 0], [29, 19], [0, 19]]),
        ("Car", "circle", [[10, 10], [13, 10]]),
        ("sky", "mask", [[20, 5], [22, 6]], {"mask": base64.b64encode(file.getvalue()).decode()}),
        ("car", "point", [[1, 1]]),
        ("tree", "rectangle", [[0, 0], [1, 1]]),
    )
    for name in "ab":
        write(tmp_path / "images" / f"{name}.json", record)
    write_classes(tmp_path)
    label = first_label(tmp_path)
    assert (label[:2, :2] == 255).all(), "a class that is not known"
    np.testing.assert_array_equal(label[5:7, 20:23] == 0, mask)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    away = np.hypot(y - 10, x - 10)
    assert (label[away < 2.4] == 2).all() and not (label[away > 3.5] == 2).any()
    assert (label[19, 29], label[0, 29]) == (1, 1)


VIA_REGIONS = [
    ({"name": "rect", "x": 2, "y": 3, "width": 4, "height": 5}, {"id": "7", "what": "road"}),
    ({"name": "polygon", "all_points_x": [10, 15, 15, 10], "all_points_y": [10, 10, 12, 12]}, {"what": {"car": True}}),
    ({"name": "ellipse", "cx": 22, "cy": 10, "rx": 5, "ry": 2, "theta": np.pi / 2}, {"what": "sky"}),
    ({"name": "point", "cx": 1, "cy": 1}, {"what": "sky"}),
]


@pytest.mark.parametrize("kind", ["annotations", "project", "csv", "version 1"])
def test_forms_of_via(tmp_path, kind):
    images_in(tmp_path)
    regions = [{"shape_attributes": shape, "region_attributes": given} for shape, given in VIA_REGIONS]
    entries = {f"{name}.png9": {"filename": f"{name}.png", "size": 9, "regions": regions} for name in "ab"}
    if kind == "csv":
        path = tmp_path / "labels" / "via.csv"
        path.parent.mkdir()
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            columns = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
            rows.writerow([*columns, "region_shape_attributes", "region_attributes"])
            for name in "ab":
                for place, (shape, given) in enumerate(VIA_REGIONS):
                    rows.writerow([f"{name}.png", 9, "{}", 4, place, json.dumps(shape), json.dumps(given)])
    else:
        if kind == "version 1":
            entries = {key: entry | {"regions": dict(enumerate(regions))} for key, entry in entries.items()}
        record = {"_via_settings": {}, "_via_img_metadata": entries} if kind == "project" else entries
        write(tmp_path / "labels" / "via.json", record)
    write_classes(tmp_path)
    label = first_label(tmp_path)
    expected = np.full(SIZE, 255)
    expected[3:8, 2:6] = 1
    expected[10:13, 10:16] = 2
    np.testing.assert_array_equal(np.where(label == 0, 255, label), expected)
    tall = np.argwhere(label == 0)
    assert np.ptp(tall[:, 0]) == 10 and np.ptp(tall[:, 1]) == 4, "an ellipse that is turned"


def test_pictures_are_found_by_the_end_of_their_name(tmp_path):
    pytest.importorskip("pycocotools")
    images_in(tmp_path, ("drive/a", "drive/b"))
    record = coco({"category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]})
    record["images"] = [entry | {"file_name": f"C:\\x\\{entry['file_name']}"} for entry in COCO["images"]]
    write(tmp_path / "labels" / "export.json", record)
    assert (first_label(tmp_path)[:4, :4] == 1).all()


def test_pictures_of_labels_count_before_annotations(tmp_path):
    stills = three_classes(2)
    folder_tree(tmp_path, stills)
    write(tmp_path / "labels" / "000.json", labelme(("car", "rectangle", [[0, 0], [60, 40]]), size=(48, 64)))
    np.testing.assert_array_equal(first_label(tmp_path), stills[0][1])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"shapes": [{"points": []}]},
            r"a\.json: cannot be read as annotations \(KeyError\('label'\)\); export it again",
        ),
        ({"x": 1}, r"a\.json: expected annotations of COCO \(instances\), VIA 2 or LabelMe; it is none of them"),
        ([1], r"a\.json: expected annotations"),
        (
            labelme(("car", "rectangle", [[0, 0], [60, 40]]), size=(48, 64)),
            r"a\.json: expected the size of a\.png, 30x20, got 64x48",
        ),
        (labelme(("car", "rectangle", [[0, 0], [1, 2], [3, 4]])), r"a\.json: a region of a\.png cannot be drawn"),
    ],
)
def test_faults_of_annotations(tmp_path, record, said):
    images_in(tmp_path)
    for name in "ab":
        write(tmp_path / "labels" / f"{name}.json", record)
    write_classes(tmp_path)
    with pytest.raises(InputError, match=said):
        first_label(tmp_path)


def test_a_file_that_is_no_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"a\.json: cannot be read as annotations"):
        read_annotations(path)


def test_the_other_names_of_a_region_count():
    region = Region("7", "polygon", [(0, 0), (1, 0), (1, 1)], ("car",))
    assert region.id({"car": 4}) == 4 and region.id({"bus": 1}) is None


def test_names_differ_in_case(tmp_path):
    images_in(tmp_path)
    for name in "ab":
        write(tmp_path / "labels" / f"{name}.json", labelme(("CAR", "rectangle", [[0, 0], [1, 1]])))
    write_classes(tmp_path, list(CLASSES))
    assert first_label(tmp_path)[0, 0] == 2
    assert drawn(next(iter(read_annotations(tmp_path / "labels" / "a.json").values())), SIZE, {}, 0)[0, 0] == 255
