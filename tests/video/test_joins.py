"""Transport streams of several pieces: joins are no damage, and holes are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.joined import begins_frame, pid, ts_packets
from helpers.video_clips import busy_scene, write_av

from arseg.video import VideoError, VideoReader

SIZE, COUNT, GOP = (96, 128), 24, 6
KINDS: dict[str, dict[str, Any]] = {
    "H.264": {"options": {"x264-params": "scenecut=0:ref=1", "crf": "22"}},
    "H.264 with B frames": {"options": {"x264-params": "scenecut=0:b-adapt=0", "crf": "22"}, "b_frames": 2},
    "MPEG-2": {"codec": "mpeg2video", "options": {"b": "2000000"}},
}


@pytest.fixture(scope="module", params=KINDS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("joins") / "clip.ts"
    return write_av(path, busy_scene(COUNT, SIZE), gop=GOP, **KINDS[request.param])


def read(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        frames = [frame.image for frame in reader]
        assert reader.losses == []
    return frames


def video(packets: list[bytes]) -> list[int]:
    """Places of the packets that hold pictures."""
    numbers = [pid(packet) for packet in packets]
    most = max({number for number in numbers if number not in (0, 17)}, key=numbers.count)
    return [i for i, number in enumerate(numbers) if number == most]


def marked(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.is_corrupt for packet in container.demux(video=0))


@pytest.mark.slow
def test_segments_put_one_behind_the_other(clip: Path, tmp_path: Path) -> None:
    """As `cat` does it: times go on, the count of the pieces starts again with each segment."""
    packets = ts_packets(clip.read_bytes())
    places = video(packets)
    starts = [i for i in places if begins_frame(packets[i])]
    second = starts[2 * GOP]
    for shift in range(1, 16):
        out = [bytearray(packet) for packet in packets]
        for place in places:
            if place >= second:
                out[place][3] = out[place][3] & 0xF0 | (out[place][3] + shift) & 0x0F
        path = tmp_path / "segments.ts"
        path.write_bytes(b"".join(out))
        assert marked(path) == 1
        for a, b in zip(read(path), read(clip), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.slow
def test_holes_are_told(clip: Path, tmp_path: Path) -> None:
    """A packet of 188 bytes that is missing, wherever: the first picture, the last before a keyframe, its end."""
    packets = ts_packets(clip.read_bytes())
    whole, places, path = read(clip), video(packets), tmp_path / "hole.ts"
    rng = np.random.default_rng(0)
    starts = [n for n, place in enumerate(places) if begins_frame(packets[place])]
    ends = [start - 1 for start in starts[1:]]
    chosen = {1, 2, *ends[GOP - 1 :: GOP], *rng.choice(len(places) - 1, 25).tolist()}
    silent = []
    for place in (places[n] for n in sorted(chosen)):
        path.write_bytes(b"".join(packets[:place] + packets[place + 1 :]))
        try:
            frames = read(path)
        except (VideoError, AssertionError):
            continue
        if len(frames) == COUNT and any(not np.array_equal(a, b) for a, b in zip(frames, whole, strict=True)):
            silent.append(place)
    assert silent == []


def test_a_recording_that_was_cut_off_before_the_next(clip: Path, tmp_path: Path) -> None:
    packets = ts_packets(clip.read_bytes())
    places = video(packets)
    starts = [n for n, place in enumerate(places) if begins_frame(packets[place])]
    end = max(b for a, b in pairwise([*starts, len(places)]) if b - a > 1)  # of a picture of several pieces
    path = tmp_path / "cut.ts"
    path.write_bytes(b"".join(packets[: places[end - 1]] + packets))
    with pytest.raises(VideoError, match="damaged"):
        read(path)
    with VideoReader(path, on_error="resync") as reader:
        frames = [frame.image for frame in reader]
        assert reader.losses and len(frames) >= COUNT
    for a, b in zip(frames[-COUNT:], read(clip), strict=True):
        assert np.array_equal(a, b)


def test_a_stream_that_is_no_file(clip: Path, tmp_path: Path) -> None:
    """There the times alone tell a join."""
    path = tmp_path / "joined.ts"
    path.write_bytes(clip.read_bytes() * 2)
    assert marked(path) == 1
    with VideoReader(f"concat:{path}") as reader:
        assert len(list(reader)) == 2 * COUNT and reader.losses == [] and len(reader.discontinuities) == 1
