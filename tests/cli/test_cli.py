"""The command line as a newcomer meets it: what it writes, and one line on stderr and exit code 2 for bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.told import that_tells_of_frame
from PIL import Image

from arseg.data.street import StreetScene
from arseg.interruptions import exit_on_signals
from arseg.video import VideoReader
from arseg.weights.build import build
from arseg.weights.files import save_checkpoint

CONFIG = {"classes": 11, "channels": 8, "wide": 8}


def test_segment_writes_overlay_and_labels(arseg, weights, video, tmp_path):
    code, out, err = arseg("segment", video, "-o", "out.mp4", "-o", "labels", "--weights", weights)
    assert (code, out) == (0, "out.mp4: 14 frames\nlabels: 14 frames\n"), err
    with av.open("out.mp4") as written:
        stream = written.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 72, 15)
        assert sum(1 for _ in written.decode(stream)) == 14
    assert sorted(p.name for p in Path("labels").iterdir()) == [f"{i:06d}.png" for i in range(14)]
    with Image.open("labels/000003.png") as picture:
        assert picture.mode == "P" and np.asarray(picture).shape == (72, 96) and np.asarray(picture).max() < 11
    assert sorted(os.listdir(tmp_path)) == ["labels", "out.mp4"]


def test_segment_names_its_own_output(arseg, weights, video):
    code, out, _ = arseg("segment", video, "--weights", weights)
    assert (code, out) == (0, "street-segmented.mp4: 14 frames\n")
    assert Path("street-segmented.mp4").exists()


@pytest.mark.slow
def test_demo_leaves_overlay_sheet_and_table(arseg, weights):
    code, _, err = arseg("demo", "--weights", weights, "--frames", 13, "--height", 72, "-o", "results")
    assert code == 0, err
    assert sorted(os.listdir("results")) == ["contact-sheet.png", "overlay.mp4", "street.mp4", "table.json"]
    rows = json.loads(Path("results/table.json").read_text())
    assert [row["way"] for row in rows] == ["HR every frame", "LR every frame", "AR-Seg"]
    assert all(0 <= row["miou"] <= 100 and row["milliseconds_a_frame"] > 0 for row in rows)
    high, low, ar = (row["gmacs_a_frame"] for row in rows)
    assert low < ar < high
    with Image.open("results/contact-sheet.png") as sheet:
        assert sheet.width > 6 * 96


def test_demo_on_a_users_video_has_no_truth(arseg, weights, video):
    code, out, err = arseg("demo", video, "--weights", weights, "-o", "results")
    assert code == 0, err
    assert "no truth" in out
    assert all(row["miou"] is None for row in json.loads(Path("results/table.json").read_text()))


@pytest.mark.slow
def test_street_writes_a_video_and_its_truth(arseg):
    code, out, _ = arseg("street", "-o", "s.mp4", "--frames", 3, "--width", 96, "--height", 72, "--labels", "truth")
    assert (code, out) == (0, "s.mp4: 3 frames\n")
    _, label = StreetScene(7, width=96, height=72).frame(2)
    with Image.open("truth/000002.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), label)


def test_encode_makes_any_video_readable(arseg, video):
    code, out, _ = arseg("encode", video, "-o", "again.mp4", "--gop", 5)
    assert (code, out) == (0, "again.mp4: 14 frames\n")
    with VideoReader("again.mp4") as reader:
        assert [f.frame_type for f in reader] == ["I" if i % 5 == 0 else "P" for i in range(14)]


def only_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("arseg: ")
    return lines[0]


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4"])
@pytest.mark.parametrize("command", ["segment", "demo", "encode"])
def test_not_a_video(arseg, weights, name, command):
    if name != "missing.mp4":
        Path(name).write_text("" if name == "empty.mp4" else "this is a letter, not a video\n" * 50)
    before = sorted(os.listdir())
    arguments = {"segment": ["-o", "o.mp4", "-o", "l"], "demo": ["-o", "d"], "encode": ["-o", "o.mp4"]}[command]
    chosen = [] if command == "encode" else ["--weights", weights]
    code, out, err = arseg(command, name, *arguments, *chosen)
    assert (code, out) == (2, "")
    assert name in only_line(err)
    left = [entry for entry in sorted(os.listdir()) if entry not in before]
    assert left == [], "nothing is left behind"


def test_output_that_cannot_be_written(arseg, weights, video):
    Path("file").write_text("")
    for arguments in (["-o", "file/o.mp4"], ["-o", "file/labels"]):
        code, _, err = arseg("segment", video, *arguments, "--weights", weights)
        assert code == 2 and arguments[1] in only_line(err)
    assert os.listdir() == ["file"]


def test_labels_do_not_mix_with_what_is_there(arseg, weights, video):
    Path("labels").mkdir()
    Path("labels/mine.txt").write_text("")
    code, _, err = arseg("segment", video, "-o", "labels", "--weights", weights)
    assert code == 2 and "labels: exists already and is not an empty folder" in only_line(err)
    assert os.listdir("labels") == ["mine.txt"]


def test_weights_that_do_not_fit(arseg, video):
    net = build("hr", CONFIG)
    save_checkpoint(net.state_dict(), "hr.st", kind="hr", config=CONFIG)
    code, _, err = arseg("segment", video, "--weights", "hr.st")
    assert code == 2 and "hr.st: weights of the keyframe network alone" in only_line(err)
    Path("junk.st").write_bytes(b"junk")
    code, _, err = arseg("segment", video, "--weights", "junk.st")
    assert code == 2 and "junk.st: not a readable .safetensors file" in only_line(err)


def test_training_data_that_is_not_there(arseg):
    code, _, err = arseg("train", "hr", "--camvid", "nowhere")
    assert code == 2 and "nowhere: no such folder; expected that of camvid" in only_line(err)


def test_help_names_every_command():
    """In a process of its own, as a shell would: also the proof that help does not wait for torch."""
    program = (
        "import sys, runpy; sys.argv = ['arseg', '--help']\ntry: runpy.run_module('arseg.cli', run_name='__main__')"
    )
    program += "\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for command in ("segment", "demo", "encode", "street", "train", "eval"):
        assert command in done.stdout


def without_vectors(path):
    """Five frames of VP9."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=15)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for image, _ in StreetScene(3, width=96, height=72).frames(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.slow
def test_what_has_no_vectors_is_transcoded_and_said(arseg, weights):
    without_vectors("web.webm")
    code, out, err = arseg("demo", "web.webm", "--weights", weights, "-o", "results")
    assert code == 0, err
    assert "web.webm is VP9" in err and "transcoding" in err
    assert sorted(os.listdir("results")) == ["contact-sheet.png", "overlay.mp4", "table.json"]
    assert "web.webm: 96x72, 5 frames, 1 of them keyframes" in out

    code, out, err = arseg("segment", "web.webm", "--weights", weights, "-o", "overlay.mp4")
    assert code == 0 and "web.webm is VP9" in err
    with VideoReader("overlay.mp4") as reader:
        assert len(list(reader)) == 5
    code, _, err = arseg("segment", "web.webm", "--weights", weights, "-o", "other.mp4", "--no-transcode")
    assert code == 2 and "leave transcode on (--transcode)" in only_line(err)
    assert not Path("other.mp4").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "loop.mp4", "-o", "o.mp4"],
        ["encode", "in.mp4", "-o", "loop.mp4"],
        ["segment", "loop.mp4"],
        ["segment", "in.mp4", "-o", "loop.mp4"],
        ["segment", "in.mp4", "-o", "labels:loop.mp4"],
        ["segment", "in.mp4", "-o", "l" * 300],
        ["demo", "loop.mp4", "-o", "dd"],
        ["inspect", "loop.mp4"],
    ],
)
def test_names_that_lead_nowhere(arseg, weights, video, tmp_path, command):
    (tmp_path / "in.mp4").write_bytes(video.read_bytes())
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    options = ["--weights", weights] if command[0] in ("segment", "demo") else []
    code, out, err = arseg(*command, *options)
    line = [line for line in err.splitlines() if line.startswith("arseg: ")]
    assert (code, out, len(line)) == (2, "", 1), err
    assert command[-1][:20] in line[0] or "loop.mp4" in line[0]
    assert sorted(os.listdir()) == ["in.mp4", "loop.mp4"]


def test_damage_is_gone_over_where_asked(arseg, weights, video):
    """A lost P frame in mid-group: nothing by default, the rest with --on-error resync."""
    arseg("encode", video, "-o", "whole.264", "--gop", "4")
    units = Path("whole.264").read_bytes().split(b"\0\0\1")
    predicted = [i for i, unit in enumerate(units) if unit[:1] and unit[0] & 31 == 1]
    Path("hurt.264").write_bytes(b"\0\0\1".join(unit for i, unit in enumerate(units) if i != predicted[0]))
    code, _, err = arseg("segment", "hurt.264", "--weights", weights, "-o", "l")
    assert code == 2 and "lacks 1 frame before frame 1" in only_line(err) and not Path("l").exists()
    code, _, err = arseg("segment", "hurt.264", "--weights", weights, "-o", "l", "--on-error", "resync")
    assert code == 0 and "hurt.264: frame 1: 3 frames lost" in err


def test_segment_stops_where_asked_and_takes_urls(arseg, weights, video):
    code, out, err = arseg("segment", f"file://{video}", "--weights", weights, "-o", "l", "--frames", "3")
    assert code == 0, err
    assert "l: 3 frames" in out and len(os.listdir("l")) == 3


def test_targets_need_names_of_their_own(arseg, weights, video):
    before = video.read_bytes()
    code, _, err = arseg("segment", video, "-o", video, "--weights", weights)
    assert code == 2 and "need names of their own" in only_line(err)
    assert video.read_bytes() == before
    code, _, err = arseg("segment", video, "-o", "x", "-o", "x", "--weights", weights)
    assert code == 2 and "need names of their own" in only_line(err)
    for _ in range(2):
        code, _, err = arseg("segment", video, "-o", "l", "-o", "l/frames.csv", "--weights", weights)
        assert code == 2 and "l/frames.csv: lies in l, another output, which has to be new or empty" in only_line(err)
        Path("l").mkdir(exist_ok=True)
    Path("l").rmdir()
    code, _, err = arseg("segment", video, "-o", "l", "-o", "l/o.mp4", "--weights", weights)
    assert code == 2 and "l/o.mp4: lies in l, which is there when all is done; make it first" in only_line(err)


@pytest.mark.parametrize("height", ["12", "tall", "9999"])
def test_a_height_that_is_none_is_said(arseg, video, weights, height):
    code, _, err = arseg("segment", video, "--weights", weights, "--height", height, "-o", "o.mp4")
    assert (code, err.strip()) == (2, f"arseg: --height: expected 16 to 4320 pixels, or 'video', got '{height}'")
    assert not Path("o.mp4").exists()


def test_encode_does_not_eat_its_input(arseg, video):
    before = video.read_bytes()
    code, _, err = arseg("encode", video, "-o", video)
    assert code == 2 and "is the input itself" in only_line(err)
    assert video.read_bytes() == before


def test_demo_folder_that_cannot_be_made(arseg, video, weights):
    Path("file").write_text("")
    code, _, err = arseg("demo", video, "--weights", weights, "-o", "file/results")
    assert code == 2 and "file/results: cannot be written" in only_line(err)


def test_version(arseg):
    from arseg_ext import __version__

    assert arseg("--version") == (0, f"arseg {__version__}\n", "")


@pytest.mark.slow
def test_a_terminated_run_leaves_nothing(weights, video, tmp_path):
    """SIGTERM, as a batch system sends it, in the middle of work."""
    options = ("-o", "o.mp4", "-o", "l", "--weights", str(weights))
    command = that_tells_of_frame(9, "segment", str(video), *options, stays=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as running:
        assert running.stdout.readline() == "frame 9\n" and list(tmp_path.glob(".l.*/*.png"))
        running.terminate()
        assert running.wait(60) == 143
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["finaliser", "weak reference"])
def test_a_signal_is_not_lost_where_python_drops_exceptions(place):
    """As in the callback that each import leaves behind; a second signal would be needed to end the run."""

    class Thing:
        pass

    def arrives(*_):
        signal.raise_signal(signal.SIGTERM)

    thing = Thing()
    _kept = weakref.ref(thing, arrives)
    if place == "finaliser":
        Thing.__del__, _kept = arrives, None
    with pytest.raises(SystemExit) as stop, exit_on_signals():
        del thing
        time.sleep(60)  # the signal ends it
    assert stop.value.code == 143


def test_demo_touches_nothing_that_is_not_a_demos(arseg, weights, video):
    Path("mine").mkdir()
    Path("mine/street.mp4").write_text("my holiday")
    code, _, err = arseg("demo", video, "--weights", weights, "-o", "mine")
    assert code == 2 and "mine: has a street.mp4 that is not an earlier demo's" in only_line(err)
    assert Path("mine/street.mp4").read_text() == "my holiday" and os.listdir("mine") == ["street.mp4"]


@pytest.mark.slow
def test_demo_takes_the_place_of_an_earlier_one(arseg, weights, video):
    assert arseg("demo", "--weights", weights, "--frames", 3, "--height", 48, "-o", "d")[0] == 0
    Path("d/notes.txt").write_text("keep")
    code, _, err = arseg("demo", "d/street.mp4", "--weights", weights, "-o", "d")
    assert code == 2 and "lies where the demo writes" in only_line(err) and Path("d/street.mp4").exists()
    assert arseg("demo", video, "--weights", weights, "-o", "d")[0] == 0
    assert sorted(os.listdir("d")) == ["contact-sheet.png", "notes.txt", "overlay.mp4", "table.json"]
