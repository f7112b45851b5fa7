"""Draws docs/figures/result.webp: a road beside its labels, moving. `python docs/figures/moving.py CLIP.mp4`

The picture that is there is of `test_video.mp4` of Udacity's CarND-Vehicle-Detection (MIT), which is not in the tree.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from arseg import VideoSegmenter

SIZE = (416, 234)
"""Of each half, width and height in pixels."""


def main(clip: str) -> None:
    """Segments the clip with the shipped weights and writes the picture."""
    frames, times = [], []
    for frame in VideoSegmenter().stream(clip):
        halves = [
            Image.fromarray(np.asarray(image)).resize(SIZE, Image.LANCZOS) for image in (frame.image, frame.overlay())
        ]
        sheet = Image.new("RGB", (2 * SIZE[0] + 6, SIZE[1]), "white")
        for place, half in enumerate(halves):
            sheet.paste(half, (place * (SIZE[0] + 6), 0))
        frames.append(sheet)
        times.append(frame.time)
    step = round(1000 * (times[-1] - times[0]) / (len(times) - 1))
    target = Path(__file__).parent / "result.webp"
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=step * 2, loop=0, quality=62, method=6)
    print(f"{target}: {len(frames)} frames, {target.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1])
