"""What was found in a video, as a record."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import Any

from arseg.files import StrPath

from .likeness import Gain


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
        pixel_step: likeness is measured on one pixel in so many of a row, and on one row in so many.
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


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
