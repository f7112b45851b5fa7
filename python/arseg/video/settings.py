"""What the encoder is asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from arseg.errors import InputError

PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
"""x264's presets, fastest first."""


@dataclass(frozen=True)
class Settings:
    """What the encoder is asked for.

    `motion` makes a stream whose vectors the reader can use: one reference frame, no B frames, keyframes at a fixed
    distance, no weighted prediction. `bitrate`, in bits a second, takes the place of `crf`.
    """

    crf: float
    preset: str
    gop: int | None = None
    motion: bool = False
    bitrate: int | None = None

    def options(self) -> dict[str, str]:
        options = {"preset": self.preset}
        if self.bitrate is None:
            options["crf"] = str(self.crf)
        params = ["scenecut=0", "weightp=0"] if self.motion else []
        if self.motion:
            options["refs"] = "1"
        if _has_avx512():
            # Macroblock trees by AVX-512 depend on what lay in memory: the same frames came out otherwise now and then.
            params.append("asm=avx2")
        return options | ({"x264-params": ":".join(params)} if params else {})


@lru_cache(maxsize=1)
def _has_avx512() -> bool:
    """Whether x264 would use AVX-512; found on Linux alone."""
    info = Path("/proc/cpuinfo")
    return sys.platform == "linux" and info.is_file() and "avx512bw" in info.read_text()


def motion_settings(gop: int, crf: float, preset: str, bitrate: int | None = None) -> Settings:
    """Checked settings of a stream whose vectors the reader can use; raises `InputError` where one is out of range."""
    if gop < 1:
        raise InputError(f"gop: expected at least 1, got {gop!r}")
    if not 0 <= crf <= 51:
        raise InputError(f"crf: expected 0..51, got {crf!r}")
    if bitrate is not None and bitrate < 1000:
        raise InputError(f"bitrate: expected at least 1000 bits a second, got {bitrate!r}")
    if preset not in PRESETS:
        raise InputError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    return Settings(crf=crf, preset=preset, gop=gop, motion=True, bitrate=bitrate)


def as_rate(rate: Fraction | float) -> Fraction:
    """Frames per second as a fraction.

    Raises:
        ValueError: not a positive number.
    """
    try:
        fraction = Fraction(rate).limit_denominator(100_000)
    except (ValueError, OverflowError, TypeError):
        fraction = Fraction(0)
    if fraction <= 0:
        raise InputError(f"rate: expected frames per second above 0, got {rate!r}")
    return fraction


def pixel_format(width: int, height: int) -> str:
    """4:2:0, or for an odd side, which it cannot state, 4:4:4."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"
