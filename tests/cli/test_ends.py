"""How a run ends: signals, sources that go away, damage; and what is there afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from helpers.told import that_tells_of_frame
from helpers.video_clips import pan, write_av

from arseg.interruptions import SIGNALS, Interruptions, exit_on_signals
from arseg.segment.outputs import LabelMaps, Overlay
from arseg.segment.run import segment_file
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import ResolutionChangedError, VideoReader, transcode

FRAMES = 48


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As live encoders send it: the parameter sets with each keyframe."""
    options = {"x264-params": "scenecut=0:ref=1:weightp=0:repeat-headers=1"}
    return write_av(tmp_path_factory.mktemp("live") / "recording.ts", pan(FRAMES, (48, 64), 2, 1), options=options)


@contextmanager
def camera(recording: Path, *, stays: bool) -> Iterator[str]:
    """Serves the recording to one connection, then says no more, or goes away for good; gives the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection:
            connection.settimeout(60)
            connection.sendall(recording.read_bytes())
            if stays:
                connection.recv(1)  # until the reader closes

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(60)
        assert not thread.is_alive()


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_source_that_goes_away_leaves_what_was_recorded(arseg, weights, recording, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with camera(recording, stays=False) as url:
        code, out, err = arseg("segment", url, "-o", "o.mp4", "-o", "l", "--weights", weights, "--reconnect", 1)
    assert (code, out) == (2, ""), err
    assert frames_in(Path("o.mp4")) == FRAMES == len(os.listdir("l"))
    assert f"ended early; what there was until then is kept, {FRAMES} frames: o.mp4 and l" in err
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"arseg: {url} broke off at frame {FRAMES}") and "in 1 attempt" in last
    assert sorted(os.listdir()) == ["l", "o.mp4"]


@pytest.mark.slow
def test_ctrl_c_ends_a_recording(weights, recording, tmp_path):
    options = ("-o", "o.mp4", "-o", "l", "--weights", str(weights), "--timeout", "1")
    with camera(recording, stays=True) as url:
        command = that_tells_of_frame(FRAMES - 9, "segment", url, *options)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = subprocess.Popen(command, cwd=tmp_path, text=True, **pipes)
        assert running.stdout.readline() == f"frame {FRAMES - 9}\n"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    count = len(os.listdir(tmp_path / "l"))
    assert FRAMES - 9 <= count <= FRAMES and frames_in(tmp_path / "o.mp4") == count
    assert f"ended early; what there was until then is kept, {count} frames" in err and "Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == ["l", "o.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt, SystemExit(143), ResolutionChangedError("size"), ZeroDivisionError]
)
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_what_cannot_be_read_again_is_kept(weights, recording, tmp_path, monkeypatch, stop, kind):
    """A pipe as a camera; of a file, nothing half-written is left."""
    source = recording
    if kind == "pipe":
        source = tmp_path / "pipe"
        os.mkfifo(source)
        threading.Thread(target=lambda: source.write_bytes(recording.read_bytes()), daemon=True).start()
    frames = VideoReader.__iter__

    def until(self):
        for frame in frames(self):
            if frame.index == 20:
                raise stop
            yield frame

    monkeypatch.setattr(VideoReader, "__iter__", until)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(stop if isinstance(stop, type) else type(stop)):
        segment_file(VideoSegmenter(weights), source, [Overlay(out / "o.mp4"), LabelMaps(out / "l")])
    if kind == "file":
        assert os.listdir(out) == []
    else:
        assert frames_in(out / "o.mp4") == 20 == len(os.listdir(out / "l"))


def test_nothing_before_the_first_frame_is_kept(weights, recording, tmp_path, monkeypatch, arseg):
    def none(self):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(VideoReader, "__iter__", none)
    with camera(recording, stays=False) as url:
        code, _, _ = arseg("segment", url, "-o", "o.mp4", "-o", "l", "--weights", weights)
    assert code != 0 and os.listdir() == []


def test_damage_of_a_file_says_that_nothing_was_written(arseg, weights, video):
    arseg("encode", video, "-o", "whole.264", "--gop", "4")
    units = Path("whole.264").read_bytes().split(b"\0\0\1")
    predicted = [i for i, unit in enumerate(units) if unit[:1] and unit[0] & 31 == 1]
    Path("hurt.264").write_bytes(b"\0\0\1".join(unit for i, unit in enumerate(units) if i != predicted[4]))
    code, out, err = arseg("segment", "hurt.264", "--weights", weights, "-o", "o.mp4", "-o", "l")
    assert (code, out) == (2, "") and err.strip().endswith("; nothing was written")
    assert sorted(os.listdir()) == ["hurt.264", "whole.264"]


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """Numbers of the signals that came, in order."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_wait_until_the_program_does(handled):
    with Interruptions() as stops:
        os.kill(os.getpid(), signal.SIGTERM)
        assert handled == []
        with stops.waiting():
            assert handled == [signal.SIGTERM]
            os.kill(os.getpid(), signal.SIGHUP)
            assert handled[1:] == [signal.SIGHUP]
        seen = []
        for item in stops.each([1, 2, 3]):
            if item == 2:
                os.kill(os.getpid(), signal.SIGINT)
            seen.append((item, len(handled)))
        assert seen == [(1, 2), (2, 2), (3, 3)]
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(handled) == 3
    stops.raise_late()
    assert handled[3:] == [signal.SIGTERM]
    os.kill(os.getpid(), signal.SIGTERM)
    assert len(handled) == 5, "the handlers are back"


def test_exit_codes_of_signals(handled):
    for number in SIGNALS:
        with pytest.raises(SystemExit) as caught, exit_on_signals():
            os.kill(os.getpid(), number)
        assert caught.value.code == 128 + number
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with exit_on_signals():
        os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
    assert signal.signal(signal.SIGHUP, before) is signal.SIG_IGN
    assert handled == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dot", "empty", "link"])
def test_labels_into_a_folder_that_is_there(arseg, weights, video, form):
    """As `docker -v` mounts one: it cannot be replaced, only written in."""
    target = "." if form == "dot" else "labels"
    if form == "link":
        Path("far").mkdir()
        Path("labels").symlink_to("far")
    elif form == "empty":
        Path("labels").mkdir()
    inode = Path(target).stat().st_ino
    code, _, err = arseg("segment", video, "-o", target, "-o", f"{target}/o.mp4", "--weights", weights)
    assert code == 0, err
    assert sorted(os.listdir(target)) == [*(f"{i:06d}.png" for i in range(14)), "o.mp4"]
    assert Path(target).stat().st_ino == inode and Path("labels").is_symlink() == (form == "link")


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_encode_of_what_cannot_be_read_again(recording, tmp_path, monkeypatch, kind):
    source = recording
    if kind == "pipe":
        source = tmp_path / "pipe"
        os.mkfifo(source)
        threading.Thread(target=lambda: source.write_bytes(recording.read_bytes()), daemon=True).start()
    heard: list[str] = []

    def stop(done: int, _: int | None) -> None:
        if done == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        transcode(source, tmp_path / "o.mp4", progress=stop, remark=heard.append)
    if kind == "file":
        assert os.listdir(tmp_path) == [] and heard == []
    else:
        assert frames_in(tmp_path / "o.mp4") == 20
        assert heard == [f"{tmp_path / 'o.mp4'}: ended early; what there was until then is kept, 20 frames"]
