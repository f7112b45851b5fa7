"""CamVid on disk, in each of its layouts, at 960x720 or 480x360; with 12 classes: the 11 usual ones and Void.

Source: Brostow et al., "Semantic Object Classes in Video", 2009. Which colours are classes, and how labelled frames
are numbered in the videos, is as in the published preparation of Hu et al., CVPR 2023.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID_VOID, IGNORED

from .datasets import DataSet, LabelledFrame, LabelledFrames, Void, picture_files
from .extract import extract, video_files
from .splits import video_and_number

CLASSES = CAMVID_VOID.classes
VOID = 11

PALETTE = CAMVID_VOID.palette.copy()
PALETTE[CLASSES.index("pavement")] = (0, 0, 192)
"""uint8 [12, 3]: the colours of the original label pictures (pavement has another in the 480x360 distribution)."""

NUMBERING = {"0001TP": (6690, 31), "0006R0": (930, 932), "0016E5": (390, 392), "Seq05VD": (30, 32)}
"""Of each sequence: a labelled frame's number in its name, and its number among the video's frames counted from 1."""

_LABEL_FOLDERS = ("{split}_labels_with_ignored", "{split}_labels", "{split}annot")


def ids_of_colours(label: np.ndarray, void: Void = "count") -> np.ndarray:
    """A label picture as stored -> ids 0..11 and 255.

    uint8 `[H, W, 3]` (or 4 channels) are colours: those of no class become 255. uint8 `[H, W]` are ids already, and
    become 255 from 12 on. With `void="ignore"` class 11 becomes 255, too.
    """
    if label.ndim == 3 and label.shape[2] >= 3:
        key = np.array([1 << 16, 1 << 8, 1], np.int64)
        packed = label[..., :3].astype(np.int64) @ key
        known = np.concatenate([PALETTE, CAMVID_VOID.palette]).astype(np.int64) @ key  # pavement has two colours
        order = np.argsort(known, kind="stable")
        place = np.minimum(np.searchsorted(known[order], packed), len(known) - 1)
        ids = np.where(known[order][place] == packed, order[place] % len(PALETTE), IGNORED).astype(np.uint8)
        grey = (label[..., :3] == label[..., :1]).all()
        if grey and label[..., 0].max() < 64 and label[..., 0].any():
            raise InputError(
                "expected colours of classes, got grey values that look like ids; save the ids with one channel"
            )
    elif label.dtype == np.bool_:
        raise InputError("expected ids of classes or colours, got a picture of one bit")
    elif label.ndim == 2:
        ids = np.where(label < len(CLASSES), label, IGNORED).astype(np.uint8)
    else:
        raise InputError(f"expected colours [H, W, 3] or ids [H, W], got {list(label.shape)}")
    return np.where(ids == VOID, np.uint8(IGNORED), ids) if void == "ignore" else ids


def camvid_frames(
    root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
) -> LabelledFrames:
    """A split of CamVid.

    Args:
        root: a folder in one of three layouts: `SPLIT/` with labels in `SPLIT_labels_with_ignored/`, `SPLIT_labels/` or
            `SPLITannot/` (as the 480x360 distribution); or the original one, `701_StillsRaw_full/` and
            `LabeledApproved_full/`, with the names of the split's frames in `SPLIT.txt`.
        split: "train", "val", "test".
        sequences: folder with a folder of consecutive frames for each sequence: `0001TP/0001TP_000001.png` ….
        void: what becomes of class 11.

    Raises `FileNotFoundError` that names the folder or frame that is missing, and what was expected.
    """
    root = Path(root)
    pairs = _original(root, split) if (root / "701_StillsRaw_full").is_dir() else _by_split(root, split)
    missing = [label for _, label in pairs if not label.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0].parent}: {len(missing)} label pictures are missing, the first is {missing[0].name}"
        )
    videos = None if sequences is None else _sequences(Path(sequences))
    frames = [_labelled(image, label, videos) for image, label in pairs]
    return LabelledFrames("camvid", CLASSES, PALETTE, frames, lambda label: ids_of_colours(label, void))


def _by_split(root: Path, split: str) -> list[tuple[Path, Path]]:
    images = picture_files(
        root / split,
        f"CamVid's images of this split, with labels in {split}annot/ or {split}_labels/ beside it, or the original "
        "701_StillsRaw_full/ and LabeledApproved_full/ in its place",
    )
    names = [name.format(split=split) for name in _LABEL_FOLDERS]
    there = [folder for folder in (root / name for name in names) if folder.is_dir()]
    if not there:
        raise FileNotFoundError(f"{root}: no folder of labels for {split}; expected one of {', '.join(names)}")
    folder = next((folder for folder in there if any(folder.iterdir())), there[0])
    return [(image, _label_file(folder, image.stem)) for image in images]


def _original(root: Path, split: str) -> list[tuple[Path, Path]]:
    listing = root / f"{split}.txt"
    if not listing.is_file():
        raise FileNotFoundError(
            f"{listing}: no such file; the original layout needs the names of the split's frames in it, one a line"
        )
    names = [Path(line.strip()).stem for line in listing.read_text("utf-8-sig").splitlines() if line.strip()]
    images, labels = root / "701_StillsRaw_full", root / "LabeledApproved_full"
    found = {path.stem: path for path in picture_files(images, "CamVid's stills")}
    absent = [name for name in names if name not in found]
    if absent or not names:
        raise FileNotFoundError(f"{listing}: {absent[0] if absent else 'a frame'} is not in {images}")
    return [(found[name], _label_file(labels, name)) for name in sorted(names)]


def _label_file(folder: Path, name: str) -> Path:
    marked = folder / f"{name}_L.png"
    return marked if marked.is_file() else folder / f"{name}.png"


def _sequences(folder: Path) -> Mapping[str, Sequence[Path]]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a folder of frames for each sequence")
    names = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    found = {entry.name: picture_files(entry, "the frames of a sequence") for entry in names}
    if not found:
        raise FileNotFoundError(
            f"{folder}: no folders in it; expected one of frames for each sequence, such as 0001TP/"
        )
    return found


def frame_number(name: str) -> int:
    """The number at the end of a frame's name: 6690 of `0001TP_006690`, 930 of `0006R0_f00930`."""
    match = re.search(r"(\d+)$", name)
    if match is None:
        raise InputError(f"{name}: expected a name that ends in the frame's number")
    return int(match.group(1))


def _labelled(image: Path, label: Path, videos: Mapping[str, Sequence[Path]] | None) -> LabelledFrame:
    name = image.stem
    sequence = name.rsplit("_", 1)[0]
    if videos is None or sequence not in videos:
        return LabelledFrame(name, image, label)
    known, counted = NUMBERING.get(sequence, (0, 0))
    wanted = frame_number(name) - known + counted
    frames = {frame_number(path.stem): path for path in videos[sequence]}
    if wanted not in frames:
        return LabelledFrame(name, image, label)
    # Where some frames are missing, what hangs together around the labelled one is kept.
    first = last = wanted
    while first - 1 in frames:
        first -= 1
    while last + 1 in frames:
        last += 1
    return LabelledFrame(name, image, label, tuple(frames[n] for n in range(first, last + 1)), wanted - first)


def extracted(
    root: Path,
    split: str,
    sequences: Path,
    folder: Path,
    gop: int,
    *,
    stream: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Path:
    """The folder with the frames of the sequences; of videos, those around labelled frames are cut out into `folder`.

    Raises `FileNotFoundError` where `sequences` holds neither folders nor videos.
    """
    if sequences.is_dir() and any(entry.is_dir() for entry in sequences.iterdir()):
        return sequences
    wanted: dict[str, set[int]] = {}
    for frame in camvid_frames(root, split).frames:
        sequence = frame.name.rsplit("_", 1)[0]
        known, counted = NUMBERING.get(sequence, (0, 0))
        place = frame_number(frame.name) - known + counted
        wanted.setdefault(sequence, set()).update(range(max(1, place - gop + 1), place + gop))
    cut = folder.with_name(f"{folder.name}-frames")
    found = {video.stem: video for video in video_files(sequences)}
    for name in wanted.keys() & found.keys():
        if not extract(found[name], cut / name, wanted[name], stream=stream, report=report):
            (cut / name).rmdir()
            raise InputError(
                f"{found[name]}: ends before frame {min(wanted[name])}, the first that is near a labelled one of "
                f"{split}; is it the whole video {name}?"
            )
    if not wanted.keys() & found.keys():
        raise FileNotFoundError(
            f"{sequences}: expected folders of frames or videos named as the sequences, {', '.join(sorted(wanted))}"
        )
    return cut


class CamVid(DataSet):
    """CamVid; `stills` are those of its 11 classes, with every other pixel 11, which is ignored then."""

    labels = CAMVID_VOID

    def is_in(self, root: Path) -> bool:
        if (root / "701_StillsRaw_full").is_dir():
            return True
        return any(
            (root / split).is_dir() and (root / name.format(split=split)).is_dir()
            for split in ("train", "val", "test")
            for name in _LABEL_FOLDERS
        )

    def is_consecutive(self, root: StrPath, split: str = "val") -> bool:
        """Of the usual splits `val` is: 101 frames of 0016E5, every second one of the video."""
        places = [video_and_number(frame.name) for frame in self.frames(root, split).frames]
        steps = {(later or 0) - (earlier or 0) for (_, earlier), (_, later) in pairwise(places)}
        return len({video for video, _ in places}) == 1 and steps in ({1}, {2})

    def frames(
        self, root: StrPath, split: str = "train", *, sequences: StrPath | None = None, void: Void = "count"
    ) -> LabelledFrames:
        return camvid_frames(root, split, sequences=sequences, void=void)

    def frames_in_videos(
        self,
        root: StrPath,
        split: str,
        sequences: StrPath | None,
        *,
        folder: Path,
        gop: int,
        stream: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> LabelledFrames:
        if sequences is None:
            raise InputError("--sequences: CamVid's videos are needed, as files or as folders of frames")
        cut = extracted(Path(root), split, Path(sequences), folder, gop, stream=stream, report=report)
        return camvid_frames(root, split, sequences=cut)

    def stills(self, root: StrPath, split: str = "train") -> list[tuple[np.ndarray, np.ndarray]]:
        return [(image, np.minimum(label, np.uint8(VOID))) for image, label in super().stills(root, split)]
