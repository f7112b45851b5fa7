"""What `--data SOURCE` names: a data set in a folder, with its classes, its splits and how they were told apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from arseg.errors import InputError
from arseg.labels import VOID, LabelSet
from arseg.registry import module_of_file

from .cache import Kept
from .classes import find_classes
from .datasets import DataSet, LabelledFrames
from .registry import DATA_SETS
from .splits import SPLITS
from .stills import Still, shrunk

EXPECTED = "expected a folder, LAYOUT:FOLDER such as camvid:FOLDER, or module.py:Name of a DataSet"


@dataclass(frozen=True)
class OpenData:
    """A data set in its place.

    Attributes:
        name: of the data set.
        root: its folder.
        layout: the entry of `DATA_SETS` that reads it; of a user's own, the name of its class.
        labels: the classes that count (CamVid's without Void), and the statistics that images are normalised with.
        class_weights: of the loss, as the data's author gave them; None: training computes them.
        split_by: how train and val were told apart, in a sentence.
        source: what reads it.
    """

    name: str
    root: Path
    layout: str
    labels: LabelSet
    class_weights: tuple[float, ...] | None
    split_by: str
    source: DataSet = field(repr=False, compare=False)

    def frames(self, split: str) -> LabelledFrames:
        """The labelled frames of "train", "val" or "test", read when they are indexed; 255 is ignored.

        Raises `FileNotFoundError` that names what is missing.
        """
        if self.source.labels.void is not None:
            return self.source.frames(self.root, split, void="ignore")
        return self.source.frames(self.root, split)

    def stills(self, split: str, rows: int | None = None) -> Sequence[Still]:
        """`(image, label)`, uint8 `[H, W, 3]` RGB and uint8 `[H, W]`; read on first use, then kept up to a bound.

        Args:
            rows: frames that are higher are shrunk to so many; None: all stay as they are.
        """
        frames = self.frames(split)
        return Kept(
            len(frames), lambda index: shrunk(*frames[index], rows), lambda still: sum(part.nbytes for part in still)
        )

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of "train", "val", "test" that are there."""
        return tuple(split for split, _ in self._all_frames())

    def consecutive(self, split: str = "val") -> bool:
        """Whether the data set knows that a split is a video labelled frame by frame."""
        return self.source.is_consecutive(self.root, split)

    def fingerprint(self) -> str:
        """16 hex digits of names, sizes, classes, what labels mean, splits: by which states are told apart."""
        digest = hashlib.sha256(repr((self.labels.classes, self.labels.mean, self.labels.std)).encode())
        digest.update(self.source.meaning_of_labels().encode())
        for split, frames in self._all_frames():
            for frame in frames.frames:
                sizes = [path.stat().st_size for path in (frame.image, frame.label)]
                digest.update(repr((split, frame.name, sizes)).encode())
        return digest.hexdigest()[:16]

    def _all_frames(self) -> Iterator[tuple[str, LabelledFrames]]:
        for split in SPLITS:
            try:
                frames = self.frames(split)
            except FileNotFoundError:
                continue
            yield split, frames


def open_data(source: str | Path) -> OpenData:
    """A data set by its folder, whose layout is found out; or `LAYOUT:FOLDER`, which names it.

    Args:
        source: `FOLDER`; `LAYOUT:FOLDER` with an entry of `arseg.data.registry.DATA_SETS`; or `module.py:Name`, a
            `DataSet` of one's own (the class or an instance), whose `root` is the folder, or `module.py:Name:FOLDER`.

    Raises `InputError` or `FileNotFoundError` that names the source, what was expected and what came.
    """
    text = str(source)
    if Path(source).is_dir():
        return _open(*_found_in(Path(source)))
    own = re.fullmatch(r"(?P<file>.+\.py):(?P<name>\w+)(?::(?P<root>.+))?", text)
    if own is not None:
        data, root = _of_code(Path(own["file"]), own["name"], own["root"])
        return _open(type(data).__name__.lower(), data, root)
    layout, colon, folder = text.partition(":")
    if colon and layout in DATA_SETS:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; expected that of {layout}")
        return _open(layout, DATA_SETS[layout], Path(folder))
    near = get_close_matches(layout, DATA_SETS, 1) if colon else []
    hint = f"; did you mean {near[0]}:{folder}?" if near else ""
    raise FileNotFoundError(f"--data: {text}: no such folder; {EXPECTED}{hint}")


def _open(layout: str, data: DataSet, root: Path) -> OpenData:
    data = data.opened(root)
    labels = data.labels
    if labels.void is not None:
        kept = [index for index in range(len(labels.classes)) if index != labels.void]
        names = tuple(name for name in labels.classes if name != VOID)
        labels = replace(labels, classes=names, palette=labels.palette[[*kept, labels.void]])
    weights = data.class_weights
    if weights is not None and len(weights) != len(labels.classes):
        raise InputError(f"class_weights: expected {len(labels.classes)}, one for each class, got {len(weights)}")
    return OpenData(labels.name or root.resolve().name, root, layout, labels, weights, data.split_by, data)


def _found_in(root: Path) -> tuple[str, DataSet, Path]:
    found = [name for name in DATA_SETS if name != "folder" and DATA_SETS[name].is_in(root)]
    if DATA_SETS["folder"].is_in(root) and (not found or find_classes(root) is not None):
        found = ["folder"]  # whoever writes classes.json means it
    if not found:
        others = ", ".join(name for name in DATA_SETS if name != "folder")
        there = ", ".join(sorted(entry.name for entry in root.iterdir())[:6])
        raise FileNotFoundError(
            f"{root}: has the layout of no data set; expected images/ and labels/ with classes.json, or that of "
            f"{others}; {f'it has {there}' if there else 'it is empty'}"
        )
    if len(found) > 1:
        raise InputError(f"{root}: could be {' or '.join(found)}; say which, as in {found[0]}:{root}")
    return found[0], DATA_SETS[found[0]], root


def _of_code(path: Path, name: str, folder: str | None) -> tuple[DataSet, Path]:
    """A user's data set, and its folder: what the source names, else its `root`, else that of the file."""
    found = getattr(_module(path), name, None)
    if isinstance(found, type) and issubclass(found, DataSet):
        missing = getattr(found, "__abstractmethods__", ())
        if missing:
            raise InputError(f"--data: {name} in {path} has no {min(missing)}; see arseg.data.datasets.DataSet")
        found = found()
    if not isinstance(found, DataSet):
        what = "nothing of that name" if found is None else f"a {type(found).__name__}"
        raise InputError(f"--data: {path}: expected {name} to be a DataSet, class or instance, got {what}")
    if not isinstance(getattr(found, "labels", None), LabelSet):
        raise InputError(
            f"--data: {name} in {path} has no labels; give it a LabelSet, such as LabelSet.of(2, classes=…)"
        )
    root = Path(folder if folder is not None else getattr(found, "root", path.resolve().parent))
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected that of {name} in {path}")
    return found, root


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"--data: {path}: no such file; {EXPECTED}")
    return module_of_file(path, "_arseg_data")
