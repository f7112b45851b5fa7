"""Several ways on the same frames: each gives what it gives by itself."""

from __future__ import annotations

import numpy as np
import pytest

from arseg.segment.batches import KEYFRAMES
from arseg.segment.compared import side_by_side
from arseg.segment.modes import MODES
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoReader


@pytest.mark.parametrize(("batch", "held"), [(1, 1), (4, 5), (11, 12 * KEYFRAMES)])
def test_each_way_gives_what_it_gives_by_itself(tiny, clip, batch, held):
    ways = {mode: VideoSegmenter(tiny, mode=mode, batch=batch) for mode in MODES}
    with VideoReader(clip, gop=12) as reader:
        frames = list(reader)
    seen = list(side_by_side(frames, ways))
    assert [frame.index for each in seen for frame in each.frames] == list(range(30))
    assert max(len(each.frames) for each in seen) == min(held, 30)
    assert all(each.seconds[mode] > 0 for each in seen for mode in ways)
    for mode, way in ways.items():
        expected = [result.labels for result in way.segment_all(frames)]
        np.testing.assert_array_equal([labels for each in seen for labels in each.labels[mode]], expected)


def test_ways_without_keyframes_take_whole_batches(tiny, clip):
    with VideoReader(clip, gop=12) as reader:
        seen = list(side_by_side(reader, {mode: VideoSegmenter(tiny, mode=mode, batch=4) for mode in ("hr", "lr")}))
    assert [len(each.frames) for each in seen] == [4] * 7 + [2]
