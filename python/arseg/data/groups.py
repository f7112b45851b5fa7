"""Unlabelled video for training: groups of frames with their vectors, decoded once and kept on disk."""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arseg.errors import InputError
from arseg.files import StrPath, new_folder, save_json
from arseg.preprocess import input_size, resized
from arseg.video import VideoFrame, VideoReader
from arseg.video.motion import BlockField
from arseg.video.names import shown, video_file

from .augment import View, jitter, random_view
from .stills import save_arrays

BLOCK = 4
"""Video pixels per cell of the motion fields."""


@dataclass(frozen=True)
class StoredGroup:
    """A keyframe and the frames after it.

    Attributes:
        path: the .npz: `image0` …, uint8 `[h, w, 3]` at the processing height, `vectors1` …, int16 `[Hb, Wb, 2]`, and
            `valid1` …, bool `[Hb, Wb]`.
        first: index of the keyframe in its video.
        frames: number of frames, at least 2.
        coded: height and width that the vectors count in.
        stored: height and width of the images.
    """

    path: Path
    first: int
    frames: int
    coded: tuple[int, int]
    stored: tuple[int, int]

    def image(self, distance: int) -> np.ndarray:
        """uint8 `[h, w, 3]`"""
        with np.load(self.path) as arrays:
            return arrays[f"image{distance}"]

    def vectors(self, distance: int) -> np.ndarray:
        """int16 `[Hb, Wb, 2]`, quarter pixels of the coded frame, towards the keyframe; `distance` is at least 1."""
        with np.load(self.path) as arrays:
            return arrays[f"vectors{distance}"]

    def field(self, distance: int) -> BlockField:
        """The vectors, with where the codec had them: everywhere, as far as files of earlier versions know."""
        vectors, name = self.vectors(distance), f"valid{distance}"
        with np.load(self.path) as arrays:
            valid = arrays[name] if name in arrays else np.ones(vectors.shape[:2], bool)
        return BlockField(vectors, valid, BLOCK)


def store_groups(
    video: StrPath,
    folder: StrPath,
    *,
    gop: int = 12,
    height: int | None = None,
    budget: float = 2e9,
    transcode: bool = True,
    stream: int | None = None,
    report: Callable[[str], None] | None = None,
) -> list[StoredGroup]:
    """Decodes `video` into groups in a folder of its own under `folder`, or finds them there.

    Args:
        gop: longest group.
        height: of the images kept; None: as they are.
        stream: which of several video streams, as for `VideoReader`.
        report: called with a sentence where one of several was taken.
        budget: bytes to use; of a video that needs more, only every second group is kept, or third, ….

    Raises the errors of `arseg.video`, and `InputError` for a video without a group of two frames.
    """
    video, folder = video_file(video), Path(folder)
    if not video.is_file():
        VideoReader(video).close()  # says what is wrong
    place = folder / f"{video.stem}-{checksum(video):08x}-{gop}-{height or 'full'}-{budget:.0f}"
    if stream is not None:
        place = place.with_name(f"{place.name}-stream{stream}")
    index = place / "index.json"
    if not index.is_file():
        with VideoReader(video, block=BLOCK, gop=gop, transcode=transcode, stream=stream) as reader:
            if reader.choice and report is not None:
                report(reader.choice)
            folder.mkdir(parents=True, exist_ok=True)
            with new_folder(place) as part:
                sizes: Counter[tuple[int, ...]] = Counter()
                records = list(_stored(reader, part, height, budget, sizes))
                if not records:
                    raise InputError(f"{shown(video)}: {_why_none(sizes)}")
                save_json(part / "index.json", records)
    return [
        StoredGroup(place / r["path"], r["first"], r["frames"], tuple(r["coded"]), tuple(r["stored"]))
        for r in json.loads(index.read_text())
    ]


def _why_none(sizes: Counter[tuple[int, ...]]) -> str:
    """Why a video of so many frames of each size has no group of two."""
    if sizes.total() == 1:
        return "is a single frame, and motion takes two; give a longer video"
    if len(sizes) > 1:
        return "has no two frames in a row of one size, so that there is no motion to learn from; give another video"
    return (
        f"each of its {sizes.total()} frames is a keyframe (all-intra), so that it has no motion vectors to learn "
        "from; make a video that has them with `arseg encode` and give that"
    )


def checksum(video: Path) -> int:
    """Of a file's size and its first mebibyte."""
    with open(video, "rb") as file:
        return zlib.crc32(file.read(1 << 20), video.stat().st_size & 0xFFFFFFFF)


def _stored(
    reader: VideoReader, folder: Path, height: int | None, budget: float, sizes: Counter[tuple[int, ...]]
) -> Iterator[dict[str, object]]:
    """Stores the groups; one record of each. `sizes`: counts the frames that were read."""
    size = input_size((reader.height, reader.width), height)
    bytes_a_frame = size[0] * size[1] * 3 + reader.height * reader.width // (BLOCK * BLOCK) * 4
    every = max(1, math.ceil((reader.frame_count or 0) * bytes_a_frame / budget))
    used = 0.0
    for number, frames in enumerate(_groups(reader)):
        sizes.update(frame.image.shape[:2] for frame in frames)
        if number % every or len(frames) < 2:
            continue
        used += len(frames) * bytes_a_frame
        if used > budget and number:
            return  # the container did not say how long the video is
        coded = (frames[0].image.shape[0], frames[0].image.shape[1])
        stored = input_size(coded, height)
        arrays = {f"image{d}": resized(frame.image, stored) for d, frame in enumerate(frames)}
        arrays |= {f"vectors{d}": f.motion.vectors for d, f in enumerate(frames) if f.motion is not None}
        arrays |= {f"valid{d}": f.motion.valid for d, f in enumerate(frames) if f.motion is not None}
        path = folder / f"{frames[0].index:06d}.npz"
        save_arrays(path, **arrays)
        group = StoredGroup(Path(path.name), frames[0].index, len(frames), coded, stored)
        yield {**asdict(group), "path": path.name}


def _groups(reader: VideoReader) -> Iterator[list[VideoFrame]]:
    frames: list[VideoFrame] = []
    for frame in reader:
        if frame.keyframe and frames:
            yield frames
            frames = []
        frames.append(frame)
    if frames:
        yield frames


def held_out(groups: Sequence[StoredGroup], share: float) -> tuple[list[StoredGroup], list[StoredGroup]]:
    """The groups of one video -> those to train on, and its last part: at least one group of each."""
    count = min(len(groups) - 1, max(1, round(share * len(groups)))) if share > 0 else 0
    return list(groups[: len(groups) - count]), list(groups[len(groups) - count :])


def sample_groups(
    groups: Sequence[StoredGroup],
    rng: np.random.Generator,
    *,
    batch: int,
    crop: tuple[int, int],
    scales: tuple[float, float],
    colour: float = 0.3,
) -> dict[str, Tensor | tuple[int, int]]:
    """Random views of keyframes and later frames, every distance alike.

    `key` and `image` are float `[N, 3, *crop]` in 0..255, not normalised; `distance` int64 `[N]` lies between them;
    `motion` int16 `[N, Hb, Wb, 2]` is in the pixels of the window of the coded frame, whose size is `frame_size`.
    """
    first = groups[int(rng.integers(len(groups)))]
    alike = [group for group in groups if (group.coded, group.stored) == (first.coded, first.stored)]
    ratio = first.stored[0] / first.coded[0]
    shape = random_view(rng, first.coded, crop, (scales[0] * ratio, scales[1] * ratio))
    keys, images, motion, distances = [], [], [], []
    for pick in rng.integers(0, len(alike), batch):
        group = alike[pick]
        distance = int(rng.integers(1, group.frames))
        view = shape.moved(rng, group.coded)
        keys.append(_cut(group.image(0), view, crop, group))
        images.append(_cut(group.image(distance), view, crop, group))
        motion.append(view.field(group.vectors(distance), BLOCK))
        distances.append(distance)
    both = [torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) for x in (keys, images)]
    key, image = jitter(both, rng, colour)
    size = (shape.height, shape.width)
    return {
        "key": key,
        "image": image,
        "motion": torch.from_numpy(np.stack(motion)),
        "distance": torch.tensor(distances),
        "frame_size": size,
    }


def _cut(image: np.ndarray, view: View, crop: tuple[int, int], group: StoredGroup) -> np.ndarray:
    """The view, which counts in pixels of the coded frame, out of an image at another size."""
    y, x = (stored / coded for stored, coded in zip(group.stored, group.coded, strict=True))
    box = (view.left * x, view.top * y, (view.left + view.width) * x, (view.top + view.height) * y)
    part = resized(image, crop, box=box)
    return part[:, ::-1] if view.flip else part
