"""Mutants of small valid streams, read to their end: no crash, no hang, nothing but frames and errors of ours.

    PYTHONPATH=tests python -m video.fuzz --mutants 5000 [--seed 0] [--only NUMBER] [--keep FOLDER]

Each mutant is made from (seed, number) alone. `make fuzz` runs this with the compiled module under sanitizers.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers.annex_b import IDR, annex_b, is_picture, kind, split
from helpers.video_clips import busy_scene, write_av

from arseg import _motion
from arseg.video import VideoError, VideoReader

# Seconds that one mutant may take, both ways of reading together; far more than any takes, for slow machines.
LIMIT = 60.0
# Longest group asked for, so that frames are promoted, too.
GOP = 7

Mutation = Callable[[np.random.Generator, bytes], bytes]


@dataclass(frozen=True)
class Seed:
    """A valid stream.

    Attributes:
        name: of its file; the ending names the container.
        data: its bytes.
        raw: H.264 with start codes, which may be mutated by NAL unit.
    """

    name: str
    data: bytes
    raw: bool


def make_seeds(folder: Path) -> list[Seed]:
    """Small streams of every kind that is read as it is."""
    clip = busy_scene(12, (48, 64))
    base = "scenecut=0:keyint=8"
    x264 = {
        "refs1.264": (f"{base}:ref=1:weightp=0", 0, "yuv420p"),
        "refs3.264": (f"{base}:ref=3:weightp=2", 0, "yuv420p"),
        "b.264": (f"{base}:b-adapt=0:b-pyramid=0", 2, "yuv420p"),
        "pyramid.264": (f"{base}:b-adapt=0:b-pyramid=2:ref=4", 3, "yuv420p"),
        "open.264": (f"{base}:b-adapt=0:b-pyramid=2:open-gop=1", 3, "yuv420p"),
        "refresh.264": (f"{base}:intra-refresh=1:ref=1", 0, "yuv420p"),
        "slices.264": (f"{base}:slices=3:ref=2:cabac=0", 0, "yuv420p"),
        "deep.264": (f"{base}:ref=2", 1, "yuv420p10le"),
        "444.264": (f"{base}:ref=1", 0, "yuv444p"),
        "refs1.mp4": (f"{base}:ref=1:weightp=0", 0, "yuv420p"),
        "pyramid.mp4": (f"{base}:b-adapt=0:b-pyramid=2:ref=4", 3, "yuv420p"),
        "b.ts": (f"{base}:b-adapt=0", 2, "yuv420p"),
        "refs3.mkv": (f"{base}:ref=3", 0, "yuv420p"),
    }
    others = {
        "p.mp4": ("mpeg4", 0),
        "b.avi": ("mpeg4", 2),
        "p.ts": ("mpeg2video", 0),
        "b.mpg": ("mpeg2video", 2),
        "p.mkv": ("mpeg1video", 0),
        "p.flv": ("flv1", 0),
    }
    seeds = []
    for name, (params, b_frames, pixels) in x264.items():
        options = {"x264-params": params, "preset": "fast", "crf": "30"}
        path = write_av(folder / f"h264-{name}", clip, options=options, b_frames=b_frames, pixels=pixels)
        seeds.append(Seed(path.name, path.read_bytes(), path.suffix == ".264"))
    crop = bytearray(annex_b(folder / "h264-refs1.mp4"))
    seeds.append(Seed("h264-annexb.264", bytes(crop), True))
    for name, (codec, b_frames) in others.items():
        path = write_av(folder / f"{codec}-{name}", clip, codec=codec, gop=6, b_frames=b_frames)
        seeds.append(Seed(path.name, path.read_bytes(), False))
    return seeds


def flip_bits(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    for at in rng.integers(0, len(out), rng.integers(1, 9)):
        out[at] ^= 1 << rng.integers(0, 8)
    return bytes(out)


def noise(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    at, length = _stretch(rng, len(out), 64)
    out[at : at + length] = rng.bytes(length)
    return bytes(out)


def zeros(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    at, length = _stretch(rng, len(out), 512)
    out[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
    return bytes(out)


def truncate(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def behead(rng: np.random.Generator, data: bytes) -> bytes:
    return data[int(rng.integers(0, len(data))) :]


def delete(rng: np.random.Generator, data: bytes) -> bytes:
    at, length = _stretch(rng, len(data), 1024)
    return data[:at] + data[at + length :]


def repeat(rng: np.random.Generator, data: bytes) -> bytes:
    at, length = _stretch(rng, len(data), 1024)
    return data[: at + length] + data[at:]


def swap(rng: np.random.Generator, data: bytes) -> bytes:
    a, b, c = sorted(int(i) for i in rng.integers(0, len(data) + 1, 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _stretch(rng: np.random.Generator, size: int, longest: int) -> tuple[int, int]:
    return int(rng.integers(0, size)), int(rng.integers(1, longest))


def nal_delete(rng: np.random.Generator, data: bytes) -> bytes:
    units = split(data)
    gone = set(rng.integers(0, len(units), rng.integers(1, 4)).tolist())
    return b"".join(unit for i, unit in enumerate(units) if i not in gone)


def nal_lose_pictures(rng: np.random.Generator, data: bytes) -> bytes:
    """Coded slices alone: parameter sets stay."""
    share = rng.uniform(0.05, 0.5)
    return b"".join(unit for unit in split(data) if not is_picture(unit) or rng.random() > share)


def nal_shuffle(rng: np.random.Generator, data: bytes) -> bytes:
    units = split(data)
    for _ in range(rng.integers(1, 4)):
        a, b = rng.integers(0, len(units), 2)
        units[a], units[b] = units[b], units[a]
    return b"".join(units)


def nal_repeat(rng: np.random.Generator, data: bytes) -> bytes:
    units = split(data)
    at = int(rng.integers(0, len(units)))
    return b"".join(units[:at] + [units[at]] * int(rng.integers(2, 40)) + units[at:])


def nal_headers(rng: np.random.Generator, data: bytes) -> bytes:
    """Bits of parameter sets and slice headers: the first bytes of units."""
    units = [bytearray(unit) for unit in split(data)]
    for _ in range(rng.integers(1, 4)):
        unit = units[rng.integers(0, len(units))]
        if len(unit) > 6:
            at = int(rng.integers(3, min(len(unit), 16)))
            unit[at] ^= 1 << rng.integers(0, 8)
    return b"".join(units)


def nal_no_keyframes(rng: np.random.Generator, data: bytes) -> bytes:
    return b"".join(unit for i, unit in enumerate(split(data)) if kind(unit) != IDR or rng.random() < 0.4)


ANY: tuple[Mutation, ...] = (flip_bits, noise, zeros, truncate, behead, delete, repeat, swap)
RAW: tuple[Mutation, ...] = (nal_delete, nal_lose_pictures, nal_shuffle, nal_repeat, nal_headers, nal_no_keyframes)


def mutant(seeds: list[Seed], seed: int, number: int) -> tuple[str, bytes]:
    """Mutant `number`: a name that tells how it was made and ends as its container does, and its bytes."""
    rng = np.random.default_rng([seed, number])
    origin = seeds[number % len(seeds)]
    data = origin.data
    told = []
    if origin.raw and rng.random() < 0.3:
        other = seeds[rng.integers(0, len(seeds))]
        if other.raw:
            a, b = split(data), split(other.data)
            data = b"".join(a[: rng.integers(1, len(a) + 1)] + b[rng.integers(0, len(b)) :])
            told.append(f"spliced with {other.name}")
    for _ in range(rng.integers(1, 4)):
        choices = ANY + RAW if origin.raw and split(data) else ANY
        change = choices[rng.integers(0, len(choices))]
        data = change(rng, data) or b"\0"
        told.append(change.__name__)
    return f"{number} {' '.join(told)} {origin.name}", data


def check(path: Path, on_error: str) -> str:
    """Read all of `path`; returns how it ended.

    Raises:
        AssertionError: a promise of the reader is broken.
        Exception: anything that is no `VideoError`.
    """
    last, time = -1, None
    try:
        block = 4 + 4 * (on_error == "resync")
        with VideoReader(path, on_error=on_error, gop=GOP, block=block) as reader:  # type: ignore[arg-type]
            for frame in reader:
                assert frame.index > last, f"index {frame.index} after {last}"
                last = frame.index
                assert frame.time is None or time is None or frame.time > time, f"{frame.time} s after {time} s"
                time = time if frame.time is None else frame.time
                height, width = frame.image.shape[:2]
                assert frame.image.dtype == np.uint8 and frame.image.shape == (height, width, 3)
                assert frame.keyframe == (frame.motion is None) == (frame.distance == 0), frame
                assert 0 <= frame.distance < GOP, frame.distance
                assert 0.0 <= frame.intra <= 1.0 and 0 <= frame.references <= 32
                assert frame.frame_type in ("I", "P", "B")
                if frame.motion is not None:
                    cells = (-(-height // block), -(-width // block))
                    assert frame.motion.valid.shape == cells and frame.motion.valid.dtype == np.bool_
                    assert frame.motion.vectors.shape == (*cells, 2) and frame.motion.vectors.dtype == np.int16
            for loss in reader.losses:
                assert loss.frame >= 0 and (loss.count is None or loss.count >= 0), loss
                assert on_error == "resync" or "not decodable" in loss.reason, loss
    except VideoError as error:
        text = str(error)
        assert text.startswith(str(path)) and "\n" not in text, text
        return type(error).__name__
    return "read to its end"


def run(seeds: list[Seed], numbers: range, folder: Path, seed: int = 0, keep: Path | None = None) -> Counter[str]:
    """Read mutants in both ways; returns how often each ending came.

    Raises:
        AssertionError: naming the mutant.
    """
    endings: Counter[str] = Counter()
    for number in numbers:
        name, data = mutant(seeds, seed, number)
        path = folder / f"mutant{Path(name).suffix}"
        path.write_bytes(data)
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        try:
            for on_error in ("raise", "resync"):
                endings[f"{on_error}: {check(path, on_error)}"] += 1
        except Exception as error:
            if keep is not None:
                (keep / name.replace(" ", "_")).write_bytes(data)
            raise AssertionError(f"mutant {name} (seed {seed}): {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    return endings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this mutant alone")
    parser.add_argument("--keep", type=Path, help="folder for mutants that fail; all are tried then")
    arguments = parser.parse_args()
    numbers = range(arguments.mutants) if arguments.only is None else range(arguments.only, arguments.only + 1)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    failures = 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = make_seeds(folder)
        endings: Counter[str] = Counter()
        for number in numbers:
            try:
                endings += run(seeds, range(number, number + 1), folder, arguments.seed, arguments.keep)
            except AssertionError as error:
                if arguments.keep is None:
                    raise
                failures += 1
                print(error, flush=True)
    for ending, count in sorted(endings.items()):
        print(f"{count:7} {ending}")
    print(f"with {_motion._library._name}")
    print(f"{len(numbers)} mutants of {len(seeds)} streams in {time.monotonic() - begun:.0f} s, {failures} failed")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
