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

from arseg.video import VideoReader, encode

from .stills import Still, fingerprint, save_arrays
from .street import StreetScene

GOP = 12


@dataclass(frozen=True)
class Clip:
    """One GOP: its decoded keyframe and some later frames.

    Attributes:
        key: uint8 `[H, W, 3]`, the decoded keyframe.
        images: uint8 `[K, H, W, 3]`, decoded frames at `distances`.
        labels: uint8 `[K, H, W]`.
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
                np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box)),
                np.asarray(Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST, box=box)),
            )
        )
    return compress(frames, rng, keep)


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
            with np.load(path) as stored:
                yield kind, Clip(**{key: stored[key] for key in stored.files})
