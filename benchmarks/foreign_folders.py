"""CamVid as data sets of other people: pictures of ids or of colours, polygons of COCO, LabelMe and VIA; read back.

Prints for each kind how many pixels differ from what the CamVid reader gives. Without --tolerance the polygons follow
every pixel; with it they have the fewest corners that stay so near, as people draw them.

    python benchmarks/foreign_folders.py --camvid CAMVID -o FOLDER [--tolerance 1] [--first 4] [--kinds coco,labelme]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arseg.data.datasets import LabelledFrames
from arseg.data.opened import open_data
from arseg.labels import IGNORED

Point = tuple[int, int]

IGNORE = "ignored"
"""Name of the regions of ignored pixels: a region that lies in another has to cover it."""


@dataclass(frozen=True)
class Outline:
    """The outer edge of an area of one class.

    Attributes:
        label: the class.
        corners: corners of pixels along the edge, x and y, which fill the area as COCO counts it.
        pixels: centres of the pixels along it, which do so with their outline, as LabelMe draws it.
        area: in pixels, with what lies inside.
    """

    label: int
    corners: list[Point]
    pixels: list[Point]
    area: float


def outlines(label: np.ndarray) -> list[Outline]:
    """Of all areas of a label map, the largest first: drawn in this order they give it back."""
    found = [outline for value in np.unique(label).tolist() for outline in _of_mask(label == value, value)]
    return sorted(found, key=lambda outline: -outline.area)


def _of_mask(mask: np.ndarray, label: int) -> Iterator[Outline]:
    # Edges between pixels, each with the area on its right: at a corner where two areas touch the sharper right turn
    # keeps them apart.
    padded = np.pad(mask, 1)
    edges: dict[Point, list[tuple[Point, Point]]] = {}
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        other = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for y, x in np.argwhere(mask & ~other).tolist():
            edges.setdefault((x + start[0], y + start[1]), []).append(((x + end[0], y + end[1]), (x, y)))
    while edges:
        first = next(iter(edges))
        at, came = first, (0, 0)
        corners, pixels = [], []
        while True:
            choices = edges[at]
            choice = max(range(len(choices)), key=lambda i: _right_turn(came, at, choices[i][0]))
            to, pixel = choices.pop(choice)
            if not choices:
                del edges[at]
            came = (to[0] - at[0], to[1] - at[1])
            corners.append(at)
            if not pixels or pixels[-1] != pixel:
                pixels.append(pixel)
            at = to
            if at == first:
                break
        area = _area(corners)
        if area > 0:  # holes run the other way round
            yield Outline(label, corners, pixels, area)


def _right_turn(came: Point, at: Point, to: Point) -> int:
    """1 for a turn to the right, y pointing down."""
    return came[0] * (to[1] - at[1]) - came[1] * (to[0] - at[0])


def _area(points: Sequence[Point]) -> float:
    xs, ys = np.array(points, float).T
    return float((xs * np.roll(ys, -1) - np.roll(xs, -1) * ys).sum() / 2)


def simplified(points: Sequence[Point], tolerance: float) -> list[Point]:
    """The fewest of the points whose lines stay within `tolerance` of all (Douglas and Peucker); 0: only straight runs.

    Closed: the line from the last to the first belongs to it.
    """
    if len(points) < 4:
        return list(points)
    array = np.array(points, float)
    far = int(np.argmax(((array - array[0]) ** 2).sum(1)))
    kept = {0, far}
    stack = [(0, far), (far, len(array))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        start, end = array[first], array[last % len(array)]
        across = end - start
        length = math.hypot(*across)
        between = array[first + 1 : last] - start
        away = (
            np.abs(across[0] * between[:, 1] - across[1] * between[:, 0]) / length if length else np.hypot(*between.T)
        )
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            middle = first + 1 + worst
            kept.add(middle)
            stack += [(first, middle), (middle, last)]
    return [points[i] for i in sorted(kept)]


def write_ids(root: Path, data: LabelledFrames) -> None:
    """`images/`, `labels/` with ids, `classes.json`."""
    _write(root, data, lambda name, label: _save(label, root / "labels" / f"{name}.png"))
    _classes(root, list(data.classes))


def write_colours(root: Path, data: LabelledFrames) -> None:
    """Labels as RGB; ignored pixels in a colour that `classes.json` names."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(data.classes)] = data.palette[: len(data.classes)]
    _write(root, data, lambda name, label: _save(table[label], root / "labels" / f"{name}.png"))
    _classes(
        root,
        {"classes": list(data.classes), "colors": table[: len(data.classes)].tolist(), "ignore": [[255, 255, 255]]},
    )


def write_coco(root: Path, data: LabelledFrames, tolerance: float = 0) -> None:
    """`annotations.json` with polygons; ids of categories begin with 1, as usual."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def add(name: str, label: np.ndarray) -> None:
        images.append(
            {"id": len(images) + 1, "file_name": f"{name}.png", "height": label.shape[0], "width": label.shape[1]}
        )
        for outline in outlines(label):
            points = simplified(outline.corners, tolerance)
            if len(points) < 3:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": min(outline.label, len(data.classes)) + 1,
                    "segmentation": [[value for point in points for value in point]],
                    "iscrowd": 0,
                    "area": outline.area,
                }
            )

    _write(root, data, add)
    categories = [{"id": index + 1, "name": name} for index, name in enumerate([*data.classes, IGNORE])]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(record))
    _classes(root, {"classes": [*data.classes, IGNORE], "ignore": [IGNORE]})


def write_labelme(root: Path, data: LabelledFrames, tolerance: float = 0) -> None:
    """A JSON for each image in `labels/`."""

    def add(name: str, label: np.ndarray) -> None:
        shapes = [
            {"label": _name(data, outline), "points": points, "shape_type": "polygon", "group_id": None, "flags": {}}
            for outline in outlines(label)
            for points in [_drawable(outline, tolerance)]
        ]
        record = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"../images/{name}.png",
            "imageData": None,
            "imageHeight": label.shape[0],
            "imageWidth": label.shape[1],
        }
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{name}.json").write_text(json.dumps(record))

    _write(root, data, add)
    _classes(root, {"classes": [*data.classes, IGNORE], "ignore": [IGNORE]})


def write_via(root: Path, data: LabelledFrames, tolerance: float = 0) -> None:
    """`labels/via.json`, as VIA 2 exports annotations; the attribute is called "what"."""
    record: dict[str, Any] = {}

    def add(name: str, label: np.ndarray) -> None:
        path = root / "images" / f"{name}.png"
        regions = [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [x for x, _ in points],
                    "all_points_y": [y for _, y in points],
                },
                "region_attributes": {"what": _name(data, outline)},
            }
            for outline in outlines(label)
            for points in [_drawable(outline, tolerance)]
        ]
        size = path.stat().st_size
        entry = {"filename": path.name, "size": size, "regions": regions, "file_attributes": {}}
        record[f"{path.name}{size}"] = entry

    _write(root, data, add)
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / "via.json").write_text(json.dumps(record))
    _classes(root, {"classes": [*data.classes, IGNORE], "ignore": [IGNORE]})


KINDS: dict[str, Callable[..., None]] = {
    "ids": write_ids,
    "colours": write_colours,
    "coco": write_coco,
    "labelme": write_labelme,
    "via": write_via,
}


def _drawable(outline: Outline, tolerance: float) -> list[Point]:
    """At least the three points that a polygon needs, of which some are the same where the area is a line or a dot."""
    points = simplified(outline.pixels, tolerance)
    return points + points[-1:] * (3 - len(points))


def _name(data: LabelledFrames, outline: Outline) -> str:
    return data.classes[outline.label] if outline.label < len(data.classes) else IGNORE


def _write(root: Path, data: LabelledFrames, label: Callable[[str, np.ndarray], None]) -> None:
    for index, frame in enumerate(data.frames):
        image, ids = data[index]
        _save(image, root / "images" / f"{frame.name}.png")
        label(frame.name, np.where(ids < len(data.classes), ids, np.uint8(IGNORED)))


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _classes(root: Path, record: object) -> None:
    (root / "classes.json").write_text(json.dumps(record))


def join(root: Path, kind: str, splits: dict[str, LabelledFrames], **options: float) -> None:
    """`train` in `images/` and `labels/`, the other splits in folders of their names."""
    for split, data in splits.items():
        KINDS[kind](root if split == "train" else root / split, data, **options)
    for split in splits.keys() - {"train"}:
        (root / split / "classes.json").unlink()


def differing(root: Path, splits: dict[str, LabelledFrames]) -> tuple[int, int]:
    """How many pixels of the folder's labels differ from those of `splits`, and of how many; images must be equal."""
    data, wrong, total = open_data(root), 0, 0
    for split, expected in splits.items():
        frames = data.frames(split)
        assert [frame.name for frame in frames.frames] == [frame.name for frame in expected.frames]
        for index in range(len(frames)):
            (image, label), (same, ids) = frames[index], expected[index]
            assert (image == same).all()
            wrong += int((label != ids).sum())
            total += ids.size
    return wrong, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=0, help="pixels, of polygons")
    parser.add_argument("--first", type=int, help="only so many frames of each split")
    parser.add_argument("--kinds", default=",".join(KINDS))
    arguments = parser.parse_args()
    camvid = open_data(f"camvid:{arguments.camvid}")
    splits = {split: camvid.frames(split) for split in ("train", "val")}
    for frames in splits.values():
        frames.frames = frames.frames[: arguments.first]
    for kind in arguments.kinds.split(","):
        polygons = kind not in ("ids", "colours")
        join(arguments.output / kind, kind, splits, **({"tolerance": arguments.tolerance} if polygons else {}))
        wrong, total = differing(arguments.output / kind, splits)
        print(f"{kind:8} {wrong} of {total} pixels differ ({100 * wrong / total:.4f} %)", flush=True)


if __name__ == "__main__":
    main()
