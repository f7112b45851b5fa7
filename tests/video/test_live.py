"""A source on the network that breaks off and comes back, served from this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from helpers.video_clips import pan, write_av

from arseg.video import ConnectionLostError, NotAVideoError, VideoFrame, VideoReader
from arseg.video.live import is_live, pauses

GOP = 12
PACKET = 188


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts take no time; the list tells how long they would have been."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 frames in groups of 12, the parameter sets with each keyframe, as live encoders send them."""
    path = tmp_path_factory.mktemp("live") / "recording.ts"
    options = {"x264-params": "scenecut=0:ref=1:weightp=0:repeat-headers=1"}
    return write_av(path, pan(48, (64, 64), 2, 1), gop=GOP, options=options)


def offsets(path: Path) -> list[int]:
    """Where in a transport stream each frame's first packet lies."""
    with av.open(str(path)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.size and packet.pos is not None]


@contextmanager
def server(parts: list[bytes], *, hang: bool = False) -> Iterator[tuple[str, list[int]]]:
    """Serves one part to each connection, then closes it (or says nothing more); refuses connections after the last.

    Gives the URL, and a list that grows by one for each connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    served: list[int] = []

    def serve() -> None:
        for part in parts:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            served.append(len(part))
            with connection:
                connection.settimeout(5)
                try:
                    connection.sendall(part)
                    if hang:
                        connection.recv(1)  # until the reader closes
                except OSError:
                    pass  # the reader has gone
            if len(served) == len(parts):
                listener.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", served
    finally:
        listener.close()
        thread.join(10)
        assert not thread.is_alive()


def follow(url: str, **options: Any) -> tuple[list[VideoFrame], VideoReader, ConnectionLostError]:
    """All frames up to the loss that ends them."""
    frames = []
    with VideoReader(url, format="mpegts", timeout=2.0, **options) as reader:
        assert reader.codec == "h264" and (reader.width, reader.height) == (64, 64)
        with pytest.raises(ConnectionLostError) as caught:
            for frame in reader:
                frames.append(frame)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    return frames, reader, caught.value


def test_what_is_live(tmp_path: Path) -> None:
    for url in ("rtsp://camera/stream", "udp://@:5000", "tcp://127.0.0.1:9", "RTMP://host/app", "srt://host:1"):
        assert is_live(url, None), url
    assert is_live("/dev/video0", "v4l2")
    for name in (tmp_path / "clip.mp4", "clip.ts", "https://host/clip.mp4", "file:///clip.mp4", "a://b"):
        assert not is_live(name, None), name


def test_pauses_grow(short_pauses: list[float]) -> None:
    assert list(pauses(6)) == [1, 2, 3, 4, 5, 6]
    assert short_pauses == [0.5, 1, 2, 4, 8, 8]


def test_breaks_off_and_comes_back_in_mid_group(recording: Path, short_pauses: list[float]) -> None:
    data, at = recording.read_bytes(), offsets(recording)
    # The first connection breaks in the middle of frame 20; the second starts with frame 29, five before a keyframe.
    first = data[: (at[20] + at[21]) // 2 // PACKET * PACKET + 100]
    second = data[at[29] :]
    with server([first, second]) as (url, served):
        frames, reader, error = follow(url, reconnect=2)
    assert len(served) == 2
    keys = [i for i, frame in enumerate(frames) if frame.keyframe]
    assert all(frames[i].frame_type == "I" for i in keys), "each group starts at a keyframe of the codec"
    before = [frame for frame in frames if frame.time is not None and frame.time < frames[0].time + 25 / 30]  # type: ignore[operator]
    after = frames[len(before) :]
    assert 19 <= len(before) <= 21
    assert [f.distance for f in before] == [*range(12), *range(12)][: len(before)]
    assert len(after) == 12 and [f.distance for f in after] == list(range(12))
    assert after[0].keyframe and after[0].frame_type == "I"
    for frame in after[1:]:
        assert frame.motion is not None and frame.motion.origin == "exact"
    text = [str(loss) for loss in reader.losses]
    assert any("broke off" in line for line in text), text
    assert error.frame is not None and error.frame >= len(frames)
    assert str(error).startswith(f"{url} broke off at frame {error.frame}") and "2 attempts" in str(error)
    assert "check the source" in str(error)
    assert short_pauses[0] == 0.5


def test_never_comes_back(recording: Path, short_pauses: list[float]) -> None:
    with server([recording.read_bytes()]) as (url, _):
        frames, reader, error = follow(url, reconnect=3)
    assert len(frames) == 48 and [f.distance for f in frames] == list(range(12)) * 4
    assert short_pauses == [0.5, 1.0, 2.0]
    assert error.path == url and "3 attempts" in str(error)
    assert reader.losses == []


def test_times_go_on_from_connection_to_connection(recording: Path) -> None:
    """The source counts from its start again, and again."""
    data = recording.read_bytes()
    with server([data, data, data]) as (url, served):
        frames, reader, _ = follow(url, reconnect=1)
    assert len(served) == 3 and len(frames) == 144
    times = [frame.time for frame in frames]
    assert None not in times
    assert {round(30 * (b - a), 3) for a, b in pairwise(times)} == {1}  # type: ignore[operator]
    assert [jump.frame for jump in reader.discontinuities] == [48, 96]


def test_joined_in_mid_group(recording: Path) -> None:
    data, at = recording.read_bytes(), offsets(recording)
    with server([data[at[5] :]]) as (url, _):
        frames, reader, _ = follow(url, reconnect=1)
    assert len(frames) == 36 and frames[0].keyframe and frames[0].frame_type == "I"
    assert frames[0].index == 0 and [f.distance for f in frames] == list(range(12)) * 3
    assert all("keyframe" in loss.reason for loss in reader.losses)


def test_lost_packets(recording: Path) -> None:
    """A stretch without data, as on a bad network: on at the next keyframe, without a new connection."""
    data, at = recording.read_bytes(), offsets(recording)
    with server([data[: at[15]] + data[at[17] :]]) as (url, served):
        frames, reader, _ = follow(url, reconnect=1)
    assert len(served) == 1
    assert [f.distance for f in frames[-24:]] == list(range(12)) * 2
    # FFmpeg marks the frame that the gap follows, or the one before.
    assert 24 + 13 <= len(frames) <= 24 + 15
    assert len(reader.losses) == 1 and reader.losses[0].frame in (13, 14, 15)


@pytest.mark.slow
def test_silence_counts_as_broken_off(recording: Path) -> None:
    data = recording.read_bytes()
    with server([data, data], hang=True) as (url, served):
        frames = []
        with VideoReader(url, format="mpegts", timeout=0.8, reconnect=1) as reader:
            try:
                for frame in reader:
                    frames.append(frame)
            except ConnectionLostError:
                pass
        assert len(served) == 2
    assert 90 <= len(frames) <= 96
    assert any("broke off" in str(loss) for loss in reader.losses)


def test_a_live_source_may_be_told_to_end(recording: Path) -> None:
    with server([recording.read_bytes()]) as (url, _), VideoReader(url, format="mpegts", live=False) as reader:
        assert len(list(reader)) == 48


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotAVideoError, match=f"tcp://127.0.0.1:{port} "):
        VideoReader(f"tcp://127.0.0.1:{port}", timeout=1.0)
