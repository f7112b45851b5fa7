"""Training pairs for the fusion: a keyframe, a later frame with its label, and the vectors between them.

Every pair comes out of a real encoder: clips are compressed with H.264 and read back with their motion vectors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.labels import IGNORED
from arseg.preprocess import resized
from arseg.video import VideoReader, encode
from arseg.video.names import video_file

from .stills import Still, fingerprint, save_arrays
from .street import StreetScene

GOP = 12


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


def compress(frames: Sequence[Still], rng: np.random.Generator, keep: int) -> Clip:
    """Encodes one GOP of `(image, label)` at a random quality and reads `keep` of its later frames back."""
    distances = np.sort(rng.choice(np.arange(1, len(frames)), keep, replace=False))
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


def street_clip(index: int, rng: np.random.Generator, keep: int) -> Clip:
    """A GOP of a synthetic street, 480x360, at a random moment of the drive."""
    street = _street(5000 + index // CLIPS_A_STREET)
    return compress(list(street.frames(GOP, start=int(rng.integers(0, 600)))), rng, keep)


# Making a street takes seconds, its frames fractions of one: the clips of a street come one after the other.
CLIPS_A_STREET = 3
_street = lru_cache(maxsize=1)(StreetScene)


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
    path: str | Path, keep: int, *, size: tuple[int, int] = (360, 480), every: int = 2, seed: int = 0
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
    height, width = frames[0].shape[:2]
    scale = min(height / size[0], width / size[1])
    h, w = size[0] * scale, size[1] * scale
    left, top = rng.random() * (width - w), rng.random() * (height - h)
    box = (left, top, min(left + w, width), min(top + h, height))
    label = np.full(size, IGNORED, np.uint8)
    return [(resized(frame, size, Image.Resampling.BICUBIC, box), label) for frame in frames]


def cached_video_clips(folder: Path, videos: Sequence[str | Path], *, keep: int = 4, seed: int = 0) -> Iterator[Clip]:
    """The clips of each video, stored in `folder` when all of the video's are made."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in map(video_file, videos):
        done = folder / f"video-{video.stem}-{video.stat().st_size}-seed{seed}-keep{keep}"
        if not done.with_suffix(".count").exists():
            clips = list(video_clips(video, keep, seed=seed))
            for index, clip in enumerate(clips):
                save_arrays(done.with_name(f"{done.name}-{index:03d}.npz"), **vars(clip))
            done.with_suffix(".count").write_text(str(len(clips)))
        for index in range(int(done.with_suffix(".count").read_text())):
            yield _load(done.with_name(f"{done.name}-{index:03d}.npz"))


def _load(path: Path) -> Clip:
    with np.load(path) as stored:
        return Clip(**{key: stored[key] for key in stored.files})


def cached_clips(
    folder: Path, stills: Sequence[Still], streets: int, *, keep: int = 4, seed: int = 0
) -> Iterator[tuple[str, Clip]]:
    """One clip per still and `streets` synthetic ones, as `("still" | "street", clip)`.

    Each is stored in `folder` when it is made, so that preparing can be stopped and resumed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, count in (("still", len(stills)), ("street", streets)):
        for index in range(count):
            source = f"-{fingerprint(stills[index : index + 1]):08x}" if kind == "still" else ""
            path = folder / f"{kind}-{index:04d}{source}-seed{seed}-keep{keep}.npz"
            if not path.exists():
                rng = np.random.default_rng((seed, kind == "street", index))
                clip = still_clip(stills[index], rng, keep) if kind == "still" else street_clip(index, rng, keep)
                save_arrays(path, **vars(clip))
            yield kind, _load(path)
