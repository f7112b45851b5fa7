"""Training pairs for the fusion: a keyframe, a later frame with its label, and the vectors between them.

Every pair comes out of a real encoder: clips are compressed with H.264 and read back with their motion vectors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from arseg.files import replacing
from arseg.labels import IGNORED
from arseg.preprocess import resized
from arseg.video import VideoReader, encode
from arseg.video.names import video_file

from .cache import Kept
from .layers import moving_frames
from .stills import ROWS, Still, fingerprint, save_arrays
from .street import StreetScene

GOP = 12

COLUMNS = 480
"""Width of clips of `ROWS` rows, where nothing else is asked for."""

KEEP = 4
"""Frames of a clip."""


@dataclass(frozen=True)
class Clip:
    """One GOP: its decoded keyframe and some later frames.

    Attributes:
        key: uint8 `[H, W, 3]`, the decoded keyframe.
        images: uint8 `[K, H, W, 3]`, decoded frames at `distances`.
        labels: uint8 `[K, H, W]`; all `IGNORED` in clips of unlabelled video.
        vectors: int16 `[K, Hb, Wb, 2]`, quarter-pel, frame -> keyframe, at blocks of 4 pixels.
        distances: int64 `[K]`, frames since the keyframe, 1..11.
    """

    key: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray


def compress(frames: Sequence[Still], rng: np.random.Generator, keep: int, first: int = 1) -> Clip:
    """Encodes one GOP of `(image, label)` at a random quality and reads `keep` of its frames from `first` on back."""
    distances = np.sort(rng.choice(np.arange(first, len(frames)), keep, replace=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        encode((image for image, _ in frames), path, rate=15, gop=len(frames), crf=float(rng.uniform(18, 28)))
        with VideoReader(path, gop=len(frames)) as reader:
            decoded = list(reader)
    later = [decoded[d] for d in distances]
    return Clip(
        decoded[0].image,
        np.stack([frame.image for frame in later]),
        np.stack([frames[d][1] for d in distances]),
        np.stack([frame.motion.vectors for frame in later if frame.motion is not None]),
        distances,
    )


def street_clip(index: int, rng: np.random.Generator, keep: int, size: tuple[int, int] = (ROWS, COLUMNS)) -> Clip:
    """A GOP of a synthetic street of `size` (height, width), at a random moment of the drive."""
    street = _street(5000 + index // CLIPS_A_STREET, *size)
    return compress(list(street.frames(GOP, start=int(rng.integers(0, 600)))), rng, keep)


# Making a street takes seconds, its frames fractions of one: the clips of a street come one after the other.
CLIPS_A_STREET = 3


@lru_cache(maxsize=1)
def _street(seed: int, height: int, width: int) -> StreetScene:
    return StreetScene(seed, height=height, width=width)


Motion = Literal["window", "layers"]
"""Of clips made from stills, see `still_clip` and `arseg.data.layers`."""


def moving_clip(still: Still, others: Sequence[Still], rng: np.random.Generator, keep: int) -> Clip:
    """A GOP made from a still, with parallax, and with things of one to three of the others that move."""
    donors = [others[int(index)] for index in rng.integers(0, len(others), int(rng.integers(1, 4)))]
    return compress(moving_frames(still, donors, GOP, rng), rng, keep)


def run_clip(images: Sequence[np.ndarray], label: np.ndarray, rng: np.random.Generator) -> Clip:
    """A GOP of the frames before a labelled one and of itself, the last; at least 2 images of the label's size."""
    none = np.full_like(label, IGNORED)
    frames = [*((image, none) for image in images[:-1]), (images[-1], label)]
    return compress(frames, rng, 1, first=len(frames) - 1)


def still_clip(still: Still, rng: np.random.Generator, keep: int) -> Clip:
    """A GOP made from a labelled still: a window that drifts and closes in, as a forward drive would see it.

    It has no parallax and nothing in it moves by itself; what it adds is real texture under real labels.
    """
    image, label = still
    height, width = label.shape
    # Window at the keyframe (wide) and at the last frame (narrower), as centre x, centre y, share of the frame.
    first = rng.uniform(0.85, 1.0)
    last = first * rng.uniform(0.75, 1.0)
    if rng.random() < 0.2:
        first, last = last, first
    drift = rng.uniform(-0.35, 0.35, 2)
    frames = []
    for t in np.linspace(0, 1, GOP):
        share = first + (last - first) * t
        centre = 0.5 + (1 - share) * drift * (2 * t - 1)
        w, h = share * width, share * height
        left, top = centre[0] * width - w / 2, centre[1] * height - h / 2
        box = (max(left, 0), max(top, 0), min(left + w, width), min(top + h, height))
        frames.append(
            (
                resized(image, (height, width), Image.Resampling.BICUBIC, box),
                resized(label, (height, width), Image.Resampling.NEAREST, box),
            )
        )
    return compress(frames, rng, keep)


def video_clips(
    path: str | Path, keep: int, *, size: tuple[int, int] = (ROWS, COLUMNS), every: int = 2, seed: int = 0
) -> Iterator[Clip]:
    """GOPs of an unlabelled video, every `every`-th frame of it, cut to `size` at a random place and encoded anew.

    So keyframes are keyframes of the encoder, at its frame rate, as in the other clips.
    """
    with VideoReader(path, transcode=True) as reader:
        frames: list[np.ndarray] = []
        for index, frame in enumerate(f for f in reader if f.index % every == 0):
            frames.append(frame.image)
            if len(frames) == GOP:
                rng = np.random.default_rng((seed, index))
                yield compress(_windows(frames, size, rng), rng, keep)
                frames = []


def _windows(frames: Sequence[np.ndarray], size: tuple[int, int], rng: np.random.Generator) -> list[Still]:
    """The same window of each frame, as high as the frame or as wide, whichever is less."""
    box = _box(frames[0].shape, size, rng)
    label = np.full(size, IGNORED, np.uint8)
    return [(resized(frame, size, Image.Resampling.BICUBIC, box), label) for frame in frames]


def fitted(still: Still, size: tuple[int, int], rng: np.random.Generator) -> Still:
    """A still at `size` (height, width): a window of that shape, as large as it fits in, at a random place."""
    image, label = still
    if label.shape == tuple(size):
        return still
    box = _box(label.shape, size, rng)
    return (
        resized(image, size, Image.Resampling.BICUBIC, box),
        resized(label, size, Image.Resampling.NEAREST, box),
    )


def _box(frame: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a window of the shape of `size`, as high as the frame or as wide."""
    height, width = frame[:2]
    scale = min(height / size[0], width / size[1])
    h, w = size[0] * scale, size[1] * scale
    left, top = rng.random() * (width - w), rng.random() * (height - h)
    return (left, top, min(left + w, width), min(top + h, height))


def cached_video_clips(
    folder: Path,
    videos: Sequence[str | Path],
    *,
    keep: int = KEEP,
    seed: int = 0,
    size: tuple[int, int] = (ROWS, COLUMNS),
) -> Sequence[Clip]:
    """The clips of each video, stored in `folder` when all of the video's are made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for video in map(video_file, videos):
        done = folder / f"video-{video.stem}-{video.stat().st_size}{_shape(size)}-seed{seed}-keep{keep}"
        written = done.with_name(f"{done.name}.count")  # a dot may be in the name itself
        if not written.exists():
            count = 0
            for count, clip in enumerate(video_clips(video, keep, size=size, seed=seed), 1):
                save_arrays(done.with_name(f"{done.name}-{count - 1:03d}.npz"), **vars(clip))
            with replacing(written) as part:
                part.write_text(str(count))
        count = int(written.read_text())
        paths += [done.with_name(f"{done.name}-{index:03d}.npz") for index in range(count)]
    return stored_clips(paths)


def stored_clips(paths: Sequence[Path]) -> Sequence[Clip]:
    """Clips in .npz files, read when they are asked for and kept in memory up to a bound (see `Kept`)."""
    return Kept(len(paths), lambda index: _load(paths[index]), clip_bytes)


def clip_bytes(clip: Clip) -> int:
    """In memory."""
    return sum(array.nbytes for array in vars(clip).values())


def _load(path: Path) -> Clip:
    with np.load(path) as stored:
        return Clip(**{key: stored[key] for key in stored.files})


def _shape(size: tuple[int, int]) -> str:
    """Part of the name of a file of clips that are not of the usual size."""
    return "" if tuple(size) == (ROWS, COLUMNS) else f"-{size[1]}x{size[0]}"


def cached_clips(
    folder: Path, stills: Sequence[Still], streets: int, *, keep: int = KEEP, seed: int = 0
) -> Iterator[tuple[str, Clip]]:
    """The clips of `clip_files`, as `("still" | "street", clip)`."""
    for kind, path in clip_files(folder, stills, streets, keep=keep, seed=seed):
        yield kind, _load(path)


def clip_files(
    folder: Path,
    stills: Sequence[Still],
    streets: int,
    *,
    keep: int = KEEP,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    motion: Motion = "window",
    chosen: Sequence[int] | None = None,
) -> Iterator[tuple[str, Path]]:
    """One clip per still and `streets` synthetic ones, as `("still" | "street", file)`; see `stored_clips`.

    Each is stored in `folder` when it is made, so that preparing can be stopped and resumed.

    Args:
        keep: frames of a clip.
        size: height and width of all clips; None: each still's own, and 480x360 for streets.
        motion: of the clips of stills.
        chosen: indices of the stills that have clips; None: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moves = "" if motion == "window" else f"-{motion}"
    for index in range(len(stills)) if chosen is None else chosen:
        still = stills[index]
        shape = "" if size is None or still[1].shape == tuple(size) else _shape(size)
        path = folder / f"still-{index:04d}-{fingerprint([still]):08x}{shape}{moves}-seed{seed}-keep{keep}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, False, index))
            still = still if size is None else fitted(still, size, rng)
            clip = still_clip(still, rng, keep) if motion == "window" else moving_clip(still, stills, rng, keep)
            save_arrays(path, **vars(clip))
        yield "still", path
    shape = "" if size is None else _shape(size)
    for index in range(streets):
        path = folder / f"street-{index:04d}{shape}-seed{seed}-keep{keep}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, True, index))
            save_arrays(path, **vars(street_clip(index, rng, keep, size or (ROWS, COLUMNS))))
        yield "street", path
