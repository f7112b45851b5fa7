"""What is wrong with a data set, before it is trained on: each fault a sentence with the file and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arseg.errors import InputError
from arseg.labels import LabelSet

from .datasets import LabelledFrame, LabelledFrames, open_picture
from .folder import ORIENTATION, FolderFrames, OpenedFolder, Stranger
from .leaks import Look, leaks
from .opened import OpenData

RARE = 0.001
"""Share of the labelled pixels of `train` below which a class is said to be rare."""

FEW = 5
"""Pictures of `train` below which it is, too."""

TURNS = {
    2: "mirrors it",
    3: "turns it by 180 degrees",
    4: "turns it upside down, mirrored",
    5: "turns and mirrors it",
    6: "turns it by a quarter",
    7: "turns and mirrors it",
    8: "turns it by a quarter",
}
"""What a picture's EXIF orientation does to it when it is shown."""

_MANY = 40  # colours that no class has: more come from smoothing


@dataclass
class Findings:
    """What was found.

    Attributes:
        faults: by their kind; a data set without any is clean.
        remarks: worth knowing, and no fault.
        labels: the classes.
        pictures: how many each split has.
        pixels: int64 `[classes + 1]` of each split: pixels of each class, and of those without one.
        shown: int64 `[classes]` of each split: pictures that show each class.
        sizes: (height, width) of the images, and how many have it.
    """

    labels: LabelSet
    faults: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, kind: str, sentence: str) -> None:
        """Notes a fault."""
        self.faults.setdefault(kind, []).append(sentence)


@dataclass(frozen=True)
class Seen:
    """One labelled picture, as far as it could be read.

    Attributes:
        counts: pixels of each id of its label, int64 `[256]`; None where the label cannot be read.
        strangers: values or names that no class has, and how many pixels (of names: regions) have them.
        faults: (kind, sentence).
        look: what tells it from other pictures; None where the image cannot be read.
    """

    frame: LabelledFrame
    counts: np.ndarray | None
    strangers: dict[Stranger, int]
    faults: list[tuple[str, str]]
    look: Look | None
    size: tuple[int, int] | None


def check(
    data: OpenData, *, workers: int = 1, progress: Callable[[int, int], object] = lambda done, total: None
) -> Findings:
    """Reads every labelled picture of a data set once.

    Args:
        workers: threads that read.
        progress: called with the number of pictures that are read, and of all.
    """
    found = Findings(data.labels)
    splits = {split: data.frames(split) for split in data.splits}
    total, done = sum(map(len, splits.values())), 0
    seen: dict[str, list[Seen]] = {}
    with ThreadPoolExecutor(workers) as pool:
        for split, frames in splits.items():
            seen[split] = []
            for one in pool.map(lambda frame, frames=frames: _see(frames, frame), frames.frames):  # type: ignore[misc]
                seen[split].append(one)
                done += 1
                progress(done, total)
    for split, pictures in seen.items():
        _count(found, split, pictures)
    every = [one for pictures in seen.values() for one in pictures]
    for one in every:
        for kind, sentence in one.faults:
            found.add(kind, sentence)
    _strangers(found, every)
    if isinstance(data.source, OpenedFolder):
        _left_over(found, data.source)
    _classes(found)
    _sizes(found)
    looks = {split: [one.look for one in pictures if one.look is not None] for split, pictures in seen.items()}
    for kind, sentence in leaks(looks):
        if kind == "remark":
            found.remarks.append(sentence)
        else:
            found.add(kind, sentence)
    return found


def _see(frames: LabelledFrames, frame: LabelledFrame) -> Seen:
    faults: list[tuple[str, str]] = []
    image = label = None
    turn = 1
    strangers: dict[Stranger, int] = {}
    try:
        with open_picture(frame.image) as file:
            image, turn = np.asarray(file.convert("RGB")), file.getexif().get(ORIENTATION, 1)
    except InputError as error:
        faults.append(("unreadable files", f"{error}; replace it, or remove it with its label"))
    try:
        label = frames.label(frame)
        if isinstance(frames, FolderFrames):
            strangers.update(frames.strangers(frame))
            faults += [("regions without an area", sentence) for sentence in _without_area(frames, frame)]
    except (InputError, OSError) as error:
        faults.append(("unreadable files", f"{error}; replace it, or remove it with its image"))
    size = None if image is None else image.shape[:2]
    if image is not None and label is not None and label.shape != size:
        try:
            size = frames[frames.frames.index(frame)][0].shape[:2]  # where EXIF turns it
        except InputError as error:
            faults.append(("sizes that differ", f"{error}; export it at the size of the image, without smoothing"))
    elif label is not None and turn in TURNS and (turn < 5 or len({*label.shape}) == 1):  # its size does not tell
        faults.append(("turned images", _turned(frame, turn)))
    counts = None if label is None else np.bincount(label.ravel(), minlength=256)
    if counts is not None and not counts[: len(frames.classes)].any():
        faults.append(("labels without a class", f"{frame.label}: no pixel of {frame.name} has one; label it"))
    look = None if image is None else Look.of(frame.name, frame.image, image)
    return Seen(frame, counts, strangers, faults, look, size)  # type: ignore[arg-type]


def _turned(frame: LabelledFrame, turn: int) -> str:
    return (
        f"{frame.image}: its EXIF {TURNS[turn]} when it is shown, and training takes it as it is stored; if its label "
        "is of what is shown, save it upright (Pillow's ImageOps.exif_transpose), else remove the orientation"
    )


def _without_area(frames: FolderFrames, frame: LabelledFrame) -> Iterator[str]:
    kinds = Counter(region.kind for region in frames.regions(frame) if not region.has_area)
    for kind, count in kinds.items():
        one = count == 1
        what = (
            f"{'is' if one else 'are'} of the kind {kind!r}"
            if kind != "no area"
            else f"{'has' if one else 'have'} no area"
        )
        counts, them = ("counts", "it") if one else ("count", "them")
        yield (
            f"{frame.label}: {count} region{'' if one else 's'} {what}, and {counts} for nothing in {frame.name}; "
            f"draw polygons, or remove {them}"
        )


def _count(found: Findings, split: str, pictures: Sequence[Seen]) -> None:
    classes = len(found.labels.classes)
    found.pictures[split] = len(pictures)
    counts = np.array([one.counts for one in pictures if one.counts is not None], np.int64).reshape(-1, 256)
    own = counts[:, :classes]
    found.pixels[split] = np.append(own.sum(0), counts.sum() - own.sum())
    found.shown[split] = (own > 0).sum(0)
    found.sizes.update(one.size for one in pictures if one.size is not None)


def _strangers(found: Findings, pictures: Sequence[Seen]) -> None:
    """Values that no class has, over all files: which, how often, and where the first is."""
    counts: Counter[Stranger] = Counter()
    where: dict[Stranger, list[Path]] = {}
    for one in pictures:
        for value, count in one.strangers.items():
            counts[value] += count
            where.setdefault(value, []).append(one.frame.label)
    colours = [value for value in counts if isinstance(value, tuple)]
    if len(colours) > _MANY:
        labels = len({path for value in colours for path in where[value]})
        found.add(
            "colours that no class has",
            f"{where[colours[0]][0]} and {labels - 1} more: {len(colours)} colours are no class's, as smoothing or "
            "JPEG makes them; export the labels as PNG, without smoothing",
        )
    for value, count in counts.most_common():
        if isinstance(value, tuple):
            kind, what, many = "colours that no class has", f"the colour {list(value)}", f"{count} pixels"
        elif isinstance(value, str):
            kind, what, many = "names that no class has", f"the name {value!r}", f"{count} regions"
        else:
            kind, what, many = "ids out of range", f"the id {value}", f"{count} pixels"
        if kind == "colours that no class has" and len(colours) > _MANY:
            continue
        if count == 1:
            many = many.removesuffix("s")
        has = "has" if count == 1 else "have"
        first, *more = dict.fromkeys(where[value])
        files = f"{first}{f' and {len(more)} more' if more else ''}"
        found.add(kind, f"{files}: {many} {has} {what}, which no class has; give it to one, or write it into ignore")


def _left_over(found: Findings, source: OpenedFolder) -> None:
    for path, name in source.without_images():
        of = "" if name is None else f" for {name}"
        found.add("labels without images", f"{path}: there is no image{of}; add it to images/, or remove the label")
    for path in source.lossy_labels():
        found.add("unreadable files", f"{path}: a JPEG has not the values that were saved; export labels as PNG")
    for folder, names in source.without_labels().items():
        many, first = ("pictures have", f"used, the first is {names[0]}")
        if len(names) == 1:
            many, first = "picture has", f"used, {names[0]}"
        are = "is" if len(names) == 1 else "are"
        found.remarks.append(f"{folder}: {len(names)} {many} no label and {are} not {first}")


def _classes(found: Findings) -> None:
    """Classes that training cannot learn, or nobody can score."""
    if "train" not in found.pixels:
        found.add(
            "splits", f"there is no train, only {' and '.join(found.pixels)}; training needs labelled pictures in it"
        )
        return
    pixels, shown = found.pixels["train"], found.shown["train"]
    labelled = max(1, int(pixels[:-1].sum()))
    for index, name in enumerate(found.labels.classes):
        if pixels[index] == 0:
            elsewhere = [split for split in found.pixels if found.pixels[split][index]]
            more = f", only of {elsewhere[0]}" if elsewhere else ""
            found.add(
                "empty classes",
                f"{name}: no pixel of train has this class{more}; label some, or remove the class",
            )
            continue
        share = pixels[index] / labelled
        if share < RARE or shown[index] < min(FEW, found.pictures["train"]):
            pixels_of_it = f"{100 * share:.2g} % of the pixels of train, " if share < RARE else ""
            found.remarks.append(
                f"{name}: is rare, {pixels_of_it}in {shown[index]} of its {found.pictures['train']} pictures; label "
                "more of it, or give it a weight"
            )
        if "val" in found.pixels and found.pixels["val"][index] == 0:
            found.remarks.append(f"{name}: no pixel of val has this class, so that it has no score there")


def _sizes(found: Findings) -> None:
    if len(found.sizes) > 1:
        (height, width), count = found.sizes.most_common(1)[0]
        low, high = min(found.sizes), max(found.sizes)
        found.remarks.append(
            f"images have {len(found.sizes)} sizes, from {low[1]}x{low[0]} to {high[1]}x{high[0]}; {count} of "
            f"{sum(found.sizes.values())} are {width}x{height}"
        )
