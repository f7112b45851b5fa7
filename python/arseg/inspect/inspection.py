"""What a video is made of, and what its motion vectors are worth: `arseg inspect`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from statistics import median
from typing import Any

import numpy as np
from av.video.frame import PictureType

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.video import UnsupportedStreamError, VideoError, VideoFrame, VideoReader
from arseg.video._source import TIMEOUT, decode, open_source
from arseg.video.motion import BlockField
from arseg.video.names import local_path

__all__ = ["Gain", "Inspection", "Sample", "frame_numbers", "inspect", "luma", "mean", "psnr", "samples", "warp"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# A likeness is measured on about so many pixels of a frame: more cost time and do not change the first decimal.
_PIXELS = 120_000

# A picture of more frames is too high to be looked at.
_MOST_DRAWN = 24


@dataclass(frozen=True)
class Gain:
    """How like the frames at one distance their keyframe is, as means over these frames.

    Attributes:
        distance: frames since the keyframe; None for all distances together.
        frames: how many frames were measured.
        still_db: PSNR of the keyframe's luma as it is.
        moved_db: PSNR of the keyframe's luma moved along the vectors.
        filled: share of cells whose vector was filled from neighbours, 0..1.
    """

    distance: int | None
    frames: int
    still_db: float
    moved_db: float
    filled: float

    @property
    def gain_db(self) -> float:
        """What the vectors add."""
        return self.moved_db - self.still_db

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "distance": self.distance,
            "frames": self.frames,
            "still_db": round(self.still_db, 2),
            "moved_db": round(self.moved_db, 2),
            "gain_db": round(self.gain_db, 2),
            "filled": round(self.filled, 4),
        }


@dataclass(frozen=True)
class Inspection:
    """What was found in a video.

    Attributes:
        path: of the video, as it may be shown: what is secret in a URL is not in it.
        source, stream, timeout: the video as it was given.
        choice: which of several video streams was read, None where there was one.
        container: FFmpeg's name of the file format; `container_label`, in words.
        codec: FFmpeg's name of the codec; `codec_label`, the one people know it by.
        profile, pixel_format: FFmpeg's names, None where the file does not say.
        sizes: (width, height) as coded, in the order they came in.
        rate: average frames per second.
        rotation: degrees counter-clockwise that a player turns the frames by.
        mirrored: whether it mirrors them left to right before that.
        pixel_aspect: width to height of a pixel as shown, None where the file does not say.
        stated: number of frames the container states, None where it does not.
        frames: number of frames read; `last`, the index of the last one.
        limited: whether reading ended at the limit and not with the video.
        types: number of frames by the codec's type, "I", "P" and "B".
        gop_lengths: frames from each of the codec's I frames to the next.
        groups: number of groups that the video was read in, of at most `gop` frames.
        gop: longest group asked for.
        references: most frames that one frame's vectors may point to; None where the vectors are not the stream's.
        one_reference: share of P frames whose vectors all point to one frame; None as `references`, or without any.
        origins: number of fields by `BlockField.origin`.
        intra: mean share of cells without a vector in frames that are not I frames; None without any.
        gains: by distance.
        total: over all distances; None without a field.
        pixel_step: likeness is measured on every so manieth pixel of a row, and row.
        needs_transcoding: why, None where the vectors are the stream's own.
        ended: what ended the reading before its time, None where nothing did.
        losses: what the reader lost.
        discontinuities: where the container's timestamps do not go on, and the reader shifts them.
        worth_drawing: distances 1, half and last of the first group that has them, as frame indices.
    """

    path: str
    source: StrPath = field(repr=False)
    stream: int | None
    timeout: float | None
    choice: str | None
    container: str
    container_label: str
    codec: str
    codec_label: str
    profile: str | None
    pixel_format: str | None
    sizes: tuple[tuple[int, int], ...]
    rate: Fraction
    rotation: int
    mirrored: bool
    pixel_aspect: Fraction | None
    stated: int | None
    frames: int
    last: int
    limited: bool
    types: dict[str, int]
    gop_lengths: tuple[int, ...]
    groups: int
    gop: int
    references: int | None
    one_reference: float | None
    origins: dict[str, int]
    intra: float | None
    gains: tuple[Gain, ...]
    total: Gain | None
    pixel_step: int
    needs_transcoding: str | None
    ended: str | None
    losses: tuple[str, ...]
    discontinuities: tuple[str, ...]
    worth_drawing: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """ "exact", "partly inferred", "inferred", "needs transcoding", or "no motion" without a single field."""
        if self.needs_transcoding is not None:
            return "needs transcoding"
        if not any(self.origins.values()):
            return "no motion"
        if not self.origins["inferred"]:
            return "exact"
        return "partly inferred" if self.origins["exact"] else "inferred"

    @property
    def title(self) -> str:
        """File, codec, size and verdict in a line."""
        vectors = "transcoded" if self.needs_transcoding is not None else self.verdict
        sizes = ", ".join(f"{width}x{height}" for width, height in self.sizes)
        return f"{os.path.basename(self.path)}: {self.codec_label}, {sizes}, {vectors}"

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        lengths = self.gop_lengths
        return {
            "path": self.path,
            "choice": self.choice,
            "container": self.container,
            "codec": self.codec,
            "profile": self.profile,
            "pixel_format": self.pixel_format,
            "width": self.sizes[0][0],
            "height": self.sizes[0][1],
            "sizes": [list(size) for size in self.sizes],
            "rate": round(float(self.rate), 4),
            "rotation": self.rotation,
            "mirrored": self.mirrored,
            "pixel_aspect": None if self.pixel_aspect is None else str(self.pixel_aspect),
            "frames": {"stated": self.stated, "read": self.frames, "limited": self.limited},
            "types": self.types,
            "gop_lengths": {
                "count": len(lengths),
                "min": min(lengths, default=None),
                "median": median(lengths) if lengths else None,
                "max": max(lengths, default=None),
            },
            "groups": {"count": self.groups, "longest": self.gop},
            "references": {"most": self.references, "share_of_p_with_one": _rounded(self.one_reference)},
            "verdict": self.verdict,
            "needs_transcoding": self.needs_transcoding,
            "fields": self.origins,
            "intra": _rounded(self.intra),
            "gain": {
                "pixel_step": self.pixel_step,
                "by_distance": [gain.facts() for gain in self.gains],
                "all": None if self.total is None else self.total.facts(),
            },
            "ended": self.ended,
            "losses": list(self.losses),
            "discontinuities": list(self.discontinuities),
        }


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame to be drawn.

    Attributes:
        frame: as the reader gives it.
        keyframe: luma of its group's first frame.
        keyframe_index: that frame's place.
    """

    frame: VideoFrame
    keyframe: np.ndarray
    keyframe_index: int


def luma(image: np.ndarray) -> np.ndarray:
    """Luma, float32 `[H, W]`, of RGB uint8 `[H, W, 3]`."""
    return image.astype(np.float32) @ _LUMA


def warp(reference: np.ndarray, motion: BlockField, step: int = 1) -> np.ndarray:
    """`reference` float32 `[H, W]`, read bilinearly at p + vector(p), clamped to the frame.

    Args:
        step: give every so manieth pixel of a row, and row, alone, beginning with the one at `step // 2`, or at the
            last one of a frame without that.
    """
    height, width = reference.shape
    rows, columns = _grid(height, step), _grid(width, step)
    vectors = motion.vectors[rows[:, None] // motion.block, columns // motion.block].astype(np.float32) / 4
    x = np.clip(columns + vectors[..., 0], 0, width - 1, dtype=np.float32)
    y = np.clip(rows[:, None] + vectors[..., 1], 0, height - 1, dtype=np.float32)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right = (left < width - 1).astype(np.intp)
    below = (top < height - 1) * width
    first = top * width + left
    flat = reference.ravel()
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    upper = flat[first] * (1 - across) + flat[first + right] * across
    lower = flat[first + below] * (1 - across) + flat[first + below + right] * across
    warped: np.ndarray = upper * (1 - down) + lower * down
    return warped


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit signals in dB, at most 99."""
    error = float(np.mean((a - b) ** 2, dtype=np.float64))
    return min(99.0, float(10 * np.log10(255.0**2 / error))) if error > 0 else 99.0


def inspect(
    path: str | os.PathLike[str],
    *,
    frames: int = 300,
    gop: int = 48,
    stream: int | None = None,
    timeout: float | None = TIMEOUT,
    progress: Callable[[int, int | None], None] | None = None,
) -> Inspection:
    """Read a video once and say what is in it.

    A stream whose vectors cannot be used is transcoded in memory, so that it can be judged, too; a damaged one is read
    as far as it goes.

    Args:
        frames: read at most so many.
        gop, stream, timeout: as for `VideoReader`.
        progress: called with the number of frames read and that to be read, None where it is not known.

    Raises:
        ValueError: an argument out of range.
        VideoError: nothing to read, or a fault that reading does not get past.
    """
    if frames < 1:
        raise InputError(f"frames: expected at least 1, got {frames!r}")
    place = local_path(path)
    if place is not None and place.is_fifo():
        raise InputError(
            f"{place}: is a pipe, which can be read once, and inspect reads a video several times; save it"
        )
    try:
        return _inspect(path, frames, gop, stream, timeout, False, progress)
    except UnsupportedStreamError:
        return _inspect(path, frames, gop, stream, timeout, True, progress)


def samples(inspection: Inspection, at: Sequence[int]) -> Iterator[Sample]:
    """The frames at the indices `at`, for `arseg.inspect.sheet`; reads the video again up to the last of them.

    Raises:
        InputError: there is no such frame.
    """
    wanted = sorted(set(at))
    if not inspection.frames:
        raise InputError(f"--picture: no frame of {inspection.path} can be read")
    for index in wanted:
        if not 0 <= index <= inspection.last:
            raise InputError(
                f"--at {index}: {inspection.path} was read from frame 0 to {inspection.last}; name one of these"
            )
    transcode = inspection.needs_transcoding is not None
    keyframe, place = np.empty((0, 0), np.float32), 0
    with VideoReader(
        inspection.source,
        gop=inspection.gop,
        transcode=transcode,
        on_error="resync",
        stream=inspection.stream,
        timeout=inspection.timeout,
    ) as reader:
        for frame in reader if wanted else ():
            if frame.index > wanted[0]:
                raise InputError(f"--at {wanted[0]}: this frame of {inspection.path} was lost; name another one")
            if frame.keyframe:
                keyframe, place = luma(frame.image), frame.index
            if frame.index == wanted[0]:
                yield Sample(frame, keyframe, place)
                del wanted[0]
            if not wanted:
                return


def frame_numbers(text: str, frames: int) -> list[int]:
    """The numbers of frames in `--at`, such as "1,5,11", below the `frames` that are read."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InputError(f"--at {text}: expected numbers of frames, such as 1,5,11")
    numbers = sorted({int(part) for part in parts})
    if len(numbers) > _MOST_DRAWN:
        raise InputError(f"--at: {len(numbers)} frames are too many for a picture, name at most {_MOST_DRAWN}")
    if numbers[-1] >= frames:
        raise InputError(f"--at {numbers[-1]}: only frames 0 to {frames - 1} are read; raise --frames")
    return numbers


@dataclass(eq=False)
class _Tally:
    """What is counted while frames come; besides the numbers, the keyframe's luma alone is kept."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    starts: list[int] = field(default_factory=list)  # the codec's I frames
    origins: Counter[str] = field(default_factory=Counter)
    references: int = 0
    single: int = 0
    predicted: int = 0
    intra: float = 0.0
    frames: int = 0
    groups: int = 0
    last: int = 0
    step: int = 1
    sums: dict[int, np.ndarray] = field(default_factory=dict)  # by distance: frames, dB as it is, dB moved, filled
    group: tuple[int, int] = (0, 0)  # the first frame and the last distance of the group under way
    drawn: tuple[int, int] | None = None  # of the group to be drawn
    keyframe: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def add(self, frame: VideoFrame) -> None:
        self.frames += 1
        self.last = frame.index
        self.types[frame.frame_type] += 1
        height, width = frame.image.shape[:2]
        if (width, height) not in self.sizes:
            self.sizes.append((width, height))
        if frame.frame_type == "I":
            self.starts.append(frame.index)
        else:
            self.predicted += 1
            self.intra += frame.intra
            self.references = max(self.references, frame.references)
            self.single += frame.frame_type == "P" and frame.references == 1
        if frame.keyframe:
            self.groups += 1
            self.group = (frame.index, 0)
            self.keyframe = luma(frame.image)
            self.drawn = self.drawn or self.group
        if frame.motion is None:
            return
        self.group = (self.group[0], frame.distance)
        # Three different frames where a group has them; else the longest group is the best there is.
        if self.drawn is None or self.drawn[0] == self.group[0] or self.drawn[1] < min(3, frame.distance):
            self.drawn = self.group
        self.origins[frame.motion.origin] += 1
        self._measure(frame, frame.motion)

    def _measure(self, frame: VideoFrame, motion: BlockField) -> None:
        height, width = self.keyframe.shape
        step = 1
        while len(_grid(height, step)) * len(_grid(width, step)) > _PIXELS:
            step += 2  # odd, so that every place in a cell has its turn
        self.step = max(self.step, step)
        rows, columns = _grid(height, step)[:, None], _grid(width, step)
        current = luma(frame.image[rows, columns])
        self.sums.setdefault(frame.distance, np.zeros(4))[:] += (
            1,
            psnr(self.keyframe[rows, columns], current),
            psnr(warp(self.keyframe, motion, step), current),
            motion.missing,
        )

    def gains(self) -> tuple[Gain, ...]:
        return tuple(_gain(distance, sums) for distance, sums in sorted(self.sums.items()))

    def total(self) -> Gain | None:
        return mean(self.gains()) if self.sums else None

    def worth_drawing(self) -> tuple[int, ...]:
        if self.drawn is None:
            return ()
        start, last = self.drawn
        return tuple(start + distance for distance in sorted({min(1, last), (last + 1) // 2, last}))


def _inspect(
    path: str | os.PathLike[str],
    limit: int,
    gop: int,
    stream: int | None,
    timeout: float | None,
    transcode: bool,
    progress: Callable[[int, int | None], None] | None,
) -> Inspection:
    tally = _Tally()
    ended: str | None = None
    limited = False
    options: dict[str, Any] = {"stream": stream, "timeout": timeout}
    with VideoReader(path, gop=gop, transcode=transcode, on_error="resync", **options) as reader:
        total = None if reader.frame_count is None else min(limit, reader.frame_count)
        try:
            for frame in reader:
                if frame.index >= limit:
                    limited = True
                    break
                tally.add(frame)
                if progress is not None:
                    progress(tally.frames, total)
        except UnsupportedStreamError as error:
            # Where even transcoding does not get further, that is what is to be told.
            if not transcode:
                raise
            ended = str(error)
        losses = tuple(str(loss) for loss in reader.losses)
        discontinuities = tuple(str(jump) for jump in reader.discontinuities)
    types, starts = _coded_types(path, limit, options) if transcode else (tally.types, tally.starts)
    source = open_source(path, **options)
    with source.container:
        context = source.stream.codec_context
        container, profile, pixels = source.container.format, context.profile, context.pix_fmt
        label = source.codec.label
    predicted = types["P"]
    return Inspection(
        path=source.path,
        source=path,
        stream=stream,
        timeout=timeout,
        choice=source.choice,
        container=container.name,
        container_label=container.long_name or container.name,
        codec=reader.codec,
        codec_label=label,
        profile=profile or None,
        pixel_format=pixels or None,
        sizes=tuple(tally.sizes) or ((reader.width, reader.height),),
        rate=reader.rate,
        rotation=reader.rotation,
        mirrored=reader.mirrored,
        pixel_aspect=reader.pixel_aspect or None,
        stated=reader.frame_count,
        frames=tally.frames,
        last=tally.last,
        limited=limited,
        types={kind: types[kind] for kind in "IPB"},
        gop_lengths=tuple(b - a for a, b in pairwise(starts)),
        groups=tally.groups,
        gop=gop,
        references=None if transcode else tally.references,
        one_reference=tally.single / predicted if predicted and not transcode else None,
        origins={origin: tally.origins[origin] for origin in ("exact", "inferred", "transcoded")},
        intra=tally.intra / tally.predicted if tally.predicted else None,
        gains=tally.gains(),
        total=tally.total(),
        pixel_step=tally.step,
        needs_transcoding=(reader.transcoding or ended) if transcode else None,
        ended=ended,
        losses=losses,
        discontinuities=discontinuities,
        worth_drawing=tally.worth_drawing(),
    )


def _coded_types(path: StrPath, limit: int, options: dict[str, Any]) -> tuple[Counter[str], list[int]]:
    """Number of frames by type, and the places of the I frames, of a stream that the reader encodes again."""
    types: Counter[str] = Counter()
    starts = []
    source = open_source(path, **options)
    with source.container:
        source.stream.codec_context.thread_type = "AUTO"
        try:
            for index, frame in enumerate(islice(decode(source), limit)):
                kind = _KINDS.get(PictureType(frame.pict_type), "P")
                types[kind] += 1
                if kind == "I":
                    starts.append(index)
        except VideoError:
            pass  # damage, which the reader's losses tell of
    return types, starts


_KINDS = {PictureType.I: "I", PictureType.SI: "I", PictureType.B: "B", PictureType.BI: "B"}


def _grid(length: int, step: int) -> np.ndarray:
    """Every so manieth place of `length`, at least one."""
    return np.arange(min(step // 2, length - 1), length, step)


def _gain(distance: int | None, sums: np.ndarray) -> Gain:
    frames, still, moved, filled = (float(value) for value in sums)
    return Gain(distance, round(frames), still / frames, moved / frames, filled / frames)


def mean(gains: Sequence[Gain]) -> Gain:
    """Over all frames of several distances."""
    weights = np.array([gain.frames for gain in gains], float)
    figures = np.array([(gain.still_db, gain.moved_db, gain.filled) for gain in gains])
    return _gain(None, np.array([weights.sum(), *(weights @ figures)]))


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
