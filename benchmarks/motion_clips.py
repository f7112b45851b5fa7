"""The clips that the motion benchmarks measure: encoded anew with x264, in groups of 12 frames."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import date
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

GOP = 12

ENCODES = {
    # The one reference is always the frame before: weighted prediction would duplicate it in the list.
    "refs1": {"refs": "1", "bf": "0", "x264-params": "scenecut=0:weightp=0"},
    "refs3": {"refs": "3", "bf": "0", "x264-params": "scenecut=0"},
    "refs1-b": {"refs": "1", "bf": "3", "x264-params": "scenecut=0:weightp=0:b-pyramid=none"},
    "default": {"x264-params": "scenecut=0"},
}
"""One reference, no B frames: every vector is known to point one frame back. x264's default three references, no B
frames. One reference on each side, three B frames in a row: again it is known where each vector points. x264's
defaults: three references, three B frames in a row, B frames as references."""

TITLES = {
    "refs1": "1 reference, P",
    "refs3": "3 references, P",
    "refs1-b": "1 on each side, B",
    "default": "x264's defaults, B",
}


def frames_of(path: Path, size: tuple[int, int] | None = None, limit: int | None = None) -> Iterator[av.VideoFrame]:
    """Decoded frames, 4:2:0, scaled to `size` where one is given."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in islice(container.decode(stream), limit):
            width, height = size or (frame.width // 2 * 2, frame.height // 2 * 2)
            yield frame.reformat(width, height, format="yuv420p")


def write(frames: Iterable[av.VideoFrame], path: Path, encode: str, *, rate: float = 25, preset: str = "medium") -> int:
    """Encode as H.264 at crf 23, a keyframe every 12 frames and nowhere else; returns the number of frames."""
    count = 0
    exact = Fraction(rate).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = None
        for count, frame in enumerate(frames, 1):
            if stream is None:
                stream = container.add_stream("libx264", rate=exact)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                stream.codec_context.gop_size = GOP
                stream.thread_type = "FRAME"  # else x264 cuts each picture into slices
                stream.options = {"preset": preset, "crf": "23", **ENCODES[encode]}
            frame.pts, frame.time_base, frame.pict_type = count - 1, 1 / exact, 0
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    return count


def lumas(path: Path) -> Iterator[np.ndarray]:
    """Each frame's brightness as decoded, float32 `[H, W]`, in presentation order."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            yield rows[:, : plane.width].astype(np.float32)


def synthetic(count: int, width: int = 640, height: int = 480) -> Iterator[av.VideoFrame]:
    """A smooth texture that passes behind another one, any number of frames."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (2, height // 8, width // 8), np.uint8)
    back, front = (layer.repeat(8, 0).repeat(8, 1) for layer in coarse)
    for index in range(count):
        image = np.roll(back, (index, 3 * index), (0, 1))
        x = (5 * index) % (width - 160)
        image[160:320, x : x + 160] = front[160:320, :160]
        yield av.VideoFrame.from_ndarray(image, format="gray").reformat(format="yuv420p")


def facts() -> dict[str, object]:
    """What figures depend on besides the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in lines if line.startswith("model name")), ":unknown processor")
    machine = f"{os.cpu_count()} cores of an {model.split(':')[1].strip()}"
    return {"gop": GOP, "crf": 23, "machine": machine, "av": av.__version__, "date": str(date.today())}


def save(path: Path, report: dict) -> None:
    """As JSON, numbers to four places, a list of numbers on one line."""
    text = json.dumps(_rounded(report), indent=1)
    path.write_text(re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")


def _rounded(record: object) -> object:
    if isinstance(record, dict):
        return {name: _rounded(value) for name, value in record.items()}
    if isinstance(record, list):
        return [_rounded(value) for value in record]
    return round(record, 4) if isinstance(record, float) else record
