"""Polygons as annotation tools export them: COCO's instances, VIA 2 (JSON or CSV) and LabelMe (a JSON for each image).

All become regions in the order of the file; a later one lies over those before it, but crowds of COCO below all.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from arseg.errors import InputError
from arseg.extras import needs
from arseg.labels import IGNORED

Size = tuple[int, int]
"""(height, width)"""

KINDS = ("polygon", "rectangle", "ellipse", "mask", "coco")


@dataclass(frozen=True)
class Region:
    """An area of an image.

    Attributes:
        name: of its class.
        kind: one of `KINDS`; any other has no area, such as a line or a point.
        also: other names that the annotator gave it, for a class that has none of the first.
        values: polygon: `[(x, y), …]`; rectangle: `[(left, top), (right, bottom)]`; ellipse: `(x, y, rx, ry, radians)`;
            mask: `(left, top, bool [h, w])`; coco: a `segmentation` of polygons or runs.
    """

    name: str
    kind: str
    values: Any
    also: tuple[str, ...] = ()

    @property
    def has_area(self) -> bool:
        """Whether it covers pixels, as a line or a point does not."""
        return self.kind in KINDS

    def id(self, ids: Mapping[str, int]) -> int | None:
        """That of the first of its names that `ids` has, as it is or in small letters; None where it has none."""
        names = [key for name in (self.name, *self.also) for key in (name, name.casefold())]
        return next((ids[name] for name in names if name in ids), None)


@dataclass(frozen=True)
class Drawing:
    """What was drawn on one image.

    Attributes:
        file: where it is stored.
        size: of the image, as the file says; None where it does not.
        regions: from the lowest to the highest.
    """

    file: Path
    size: Size | None
    regions: tuple[Region, ...]


def drawn(drawing: Drawing, size: Size, ids: Mapping[str, int], background: int) -> np.ndarray:
    """uint8 `[H, W]`: the regions as ids of their names; 255 where `ids` has no such name.

    Polygons, rectangles and ellipses of LabelMe and VIA hold the pixels on their outline, as LabelMe draws them;
    COCO's are its own masks.
    """
    canvas = Image.new("L", (size[1], size[0]), background)
    for region in drawing.regions:
        if region.has_area:
            id = region.id(ids)
            _draw(canvas, region, IGNORED if id is None else id)
    return np.asarray(canvas)


def _draw(canvas: Image.Image, region: Region, fill: int) -> None:
    pen, values = ImageDraw.Draw(canvas), region.values
    if region.kind == "polygon":
        pen.polygon(values, fill=fill, outline=fill)
    elif region.kind == "rectangle":
        (x0, y0), (x1, y1) = values
        pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=fill, outline=fill)
    elif region.kind == "ellipse":
        pen.polygon(_ellipse(*values), fill=fill, outline=fill)
    elif region.kind == "mask":
        left, top, mask = values
        canvas.paste(fill, (left, top), Image.fromarray(mask))
    else:
        left, top, mask = coco_mask(values, (canvas.height, canvas.width))
        canvas.paste(fill, (left, top), Image.fromarray(mask.astype(np.bool_)))


def _ellipse(x: float, y: float, rx: float, ry: float, angle: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * math.pi, max(16, round(2 * max(rx, ry))), endpoint=False)
    across, down = rx * np.cos(turns), ry * np.sin(turns)
    xs = x + across * math.cos(angle) - down * math.sin(angle)
    ys = y + across * math.sin(angle) + down * math.cos(angle)
    return [(round(float(a)), round(float(b))) for a, b in zip(xs, ys, strict=True)]


def coco_mask(segmentation: Any, size: Size) -> tuple[int, int, np.ndarray]:
    """A COCO segmentation: polygons, whose union it is, or run lengths, compressed or not.

    Returns left, top and uint8 `[h, w]` of a part of the image, outside of which there is nothing of it.
    """
    with needs("data", "annotations of COCO"):
        from pycocotools import mask as coco
    if not isinstance(segmentation, list):
        packed = isinstance(segmentation["counts"], (str, bytes))
        runs = segmentation if packed else coco.frPyObjects(segmentation, *segmentation["size"])
        return 0, 0, coco.decode(runs)
    left, top, right, bottom = _around(segmentation, size)
    parts = [(np.reshape(part, (-1, 2)) - (left, top)).ravel().tolist() for part in segmentation]
    return left, top, coco.decode(coco.merge(coco.frPyObjects(parts, bottom - top, right - left)))


def _around(polygons: Sequence[Sequence[float]], size: Size) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a window of the image that polygons lie in; all of it where they leave it.

    Whole pixels away from its corner a polygon has the same mask.
    """
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygons])
    (left, top), (right, bottom) = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    if min(left, top) < 0 or right > size[1] or bottom > size[0]:
        return 0, 0, size[1], size[0]
    return max(0, left - 1), max(0, top - 1), min(size[1], right + 1), min(size[0], bottom + 1)


def read_annotations(path: Path) -> dict[str, Drawing]:
    """The drawings of a file by the names of their images, which may have folders before them.

    Raises `InputError` that names the file where it is none of COCO's instances, VIA 2's, LabelMe's.
    """
    try:
        text = path.read_text("utf-8-sig")
        found = _read(path, list(csv.DictReader(io.StringIO(text))) if path.suffix == ".csv" else json.loads(text))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as annotations ({error!r}); export it again") from error
    if found is None:
        raise InputError(f"{path}: expected annotations of COCO (instances), VIA 2 or LabelMe; it is none of them")
    return found


def annotated_categories(path: Path) -> list[str]:
    """Names of the classes that a file has, in the order of their ids (COCO), or else sorted."""
    record = json.loads(path.read_text("utf-8-sig")) if path.suffix == ".json" else None
    if isinstance(record, dict) and isinstance(record.get("categories"), list):
        return [str(entry["name"]) for entry in sorted(record["categories"], key=lambda entry: entry["id"])]
    return sorted({region.name for drawing in read_annotations(path).values() for region in drawing.regions} - {""})


def _read(path: Path, record: Any) -> dict[str, Drawing] | None:
    if isinstance(record, list):
        return (
            _via_rows(path, record)
            if path.suffix == ".csv" and record and "region_shape_attributes" in record[0]
            else None
        )
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("images"), list) and isinstance(record.get("annotations"), list):
        return _coco(path, record)
    if isinstance(record.get("shapes"), list):
        size = (record.get("imageHeight"), record.get("imageWidth"))
        known = None if None in size else (int(size[0]), int(size[1]))  # type: ignore[arg-type]
        name = str(record.get("imagePath") or path.name).replace("\\", "/")
        return {name: Drawing(path, known, tuple(map(_labelme_shape, record["shapes"])))}
    entries = record.get("_via_img_metadata", record)
    if entries and all(isinstance(entry, dict) and "regions" in entry for entry in entries.values()):
        return {
            str(entry["filename"]): Drawing(path, None, tuple(_via_regions(entry["regions"])))
            for entry in entries.values()
        }
    return {} if "_via_img_metadata" in record else None


def _coco(path: Path, record: Mapping[str, Any]) -> dict[str, Drawing] | None:
    names = {entry["id"]: str(entry["name"]) for entry in record.get("categories", ())}
    by_image: dict[Any, list[tuple[bool, Region]]] = {}
    for entry in record["annotations"]:
        if entry.get("segmentation"):
            values = entry["segmentation"]
            if isinstance(values, list):  # four numbers would be taken for a box
                values = [part for part in values if len(part) >= 6]
            region = Region(names.get(entry["category_id"], ""), "coco" if values else "no area", values)
            by_image.setdefault(entry["image_id"], []).append((not entry.get("iscrowd"), region))
    if record["annotations"] and not by_image:
        return None
    return {
        str(entry["file_name"]).replace("\\", "/"): Drawing(
            path,
            (int(entry["height"]), int(entry["width"])) if "height" in entry else None,
            tuple(region for _, region in sorted(by_image.get(entry["id"], ()), key=lambda pair: pair[0])),
        )
        for entry in record["images"]
    }


def _labelme_shape(shape: Mapping[str, Any]) -> Region:
    name, kind = str(shape["label"]), shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "mask":
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as file:
            return Region(name, kind, (int(points[0][0]), int(points[0][1]), np.asarray(file) > 0))
    if kind == "circle":
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        return Region(name, "ellipse", (x, y, radius, radius, 0.0))
    return Region(name, _with_area(kind, points), points)


def _with_area(kind: str, points: Sequence[Any]) -> str:
    """The kind, or "no area" where there are too few points for it."""
    return kind if len(points) >= {"polygon": 3, "rectangle": 2}.get(kind, 0) else "no area"


def _via_regions(regions: Any) -> Iterator[Region]:
    for entry in regions.values() if isinstance(regions, dict) else regions:  # a dict in VIA 1
        yield _via_region(entry["shape_attributes"], entry["region_attributes"])


def _via_region(shape: Mapping[str, Any], attributes: Mapping[str, Any]) -> Region:
    # Annotators name the attributes themselves; a checkbox's value is a table of what is ticked.
    given = [next((key for key, on in v.items() if on), "") if isinstance(v, dict) else v for v in attributes.values()]
    name, *also = [str(value).strip() for value in given if isinstance(value, (str, int)) and str(value).strip()] or [
        ""
    ]
    kind, values = shape.get("name") or "no area", None  # type: tuple[str, Any]
    if kind == "polygon":
        values = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
        kind = _with_area(kind, values)
    elif kind == "rect":
        left, top = shape["x"], shape["y"]
        kind, values = "rectangle", [(left, top), (left + shape["width"] - 1, top + shape["height"] - 1)]
    elif kind in ("circle", "ellipse"):
        radii = (shape["r"], shape["r"]) if kind == "circle" else (shape["rx"], shape["ry"])
        kind, values = "ellipse", (shape["cx"], shape["cy"], *radii, float(shape.get("theta", 0)))
    return Region(name, kind, values, tuple(also))


def _via_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, Drawing]:
    found: dict[str, Drawing] = {}
    for row in rows:
        shape = json.loads(row["region_shape_attributes"] or "{}")
        regions = (_via_region(shape, json.loads(row["region_attributes"] or "{}")),) if shape else ()
        before = found.get(row["filename"], Drawing(path, None, ()))
        found[row["filename"]] = replace(before, regions=before.regions + regions)
    return found
