"""Several ways to segment the same frames, read once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .batches import windows
from .modes import FROM_KEYFRAME, Mode
from .segmenter import VideoSegmenter

if TYPE_CHECKING:
    from arseg.video import VideoFrame


@dataclass(frozen=True)
class Seen:
    """Frames that were read ahead together.

    Attributes:
        frames: in order.
        labels: of each way a label map for each of the frames, uint8 `[H, W]`.
        seconds: that each way took for all of them.
    """

    frames: list[VideoFrame]
    labels: dict[Mode, list[np.ndarray]]
    seconds: dict[Mode, float]


def side_by_side(frames: Iterable[VideoFrame], ways: Mapping[Mode, VideoSegmenter]) -> Iterator[Seen]:
    """The ways take turns on what is read ahead, so that a busy machine slows all of them alike.

    Args:
        frames: each group begins with its keyframe.
        ways: segmenters that differ in their mode alone.
    """
    first = next(iter(ways.values()))
    runs = {mode: way.batches() for mode, way in ways.items()}
    keyframes = first.batches().keyframes if any(mode in FROM_KEYFRAME for mode in ways) else None
    for window in windows(frames, first.batch, keyframes):
        labels, seconds = dict[Mode, list[np.ndarray]](), dict[Mode, float]()
        for mode, run in runs.items():
            started = time.perf_counter()
            labels[mode] = [found for _, found, _ in run.run(window)]
            seconds[mode] = time.perf_counter() - started
        yield Seen(window, labels, seconds)
        del window, labels
