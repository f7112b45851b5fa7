"""Draws the picture of docs/howto/vectors.md with `arseg inspect`: python docs/figures/motion.py"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from arseg.data.street import StreetScene
from arseg.video import encode

OUT = Path(__file__).resolve().parent / "motion.png"


def draw(out: Path = OUT) -> Path:
    """The fields of a synthetic street's H.264, the sixth frame after a keyframe."""
    with tempfile.TemporaryDirectory() as folder:
        video, whole = Path(folder) / "drive.mp4", Path(folder) / "whole.png"
        encode((image for image, _ in StreetScene(3, width=320, height=240).frames(12)), video, rate=15, gop=12)
        subprocess.run(
            [sys.executable, "-m", "arseg.cli", "inspect", str(video), "--at", "6", "-o", str(whole)], check=True
        )
        picture = Image.open(whole).convert("RGB")
        picture.thumbnail((1280, 1280))
        picture.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    return out


if __name__ == "__main__":
    print(draw())
