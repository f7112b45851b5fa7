"""`arseg segment`: several inputs, several outputs, parts of videos, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.told import that_tells_of_frame
from PIL import Image

from arseg.segment.outputs import read_labels


def frames_in(path: str | Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_outputs_together(arseg, weights, video):
    names = ["o.mp4", "masks", "label-video:ids.mkv", "a.npz", "c.jsonl", "t.csv", "probabilities:p.npz"]
    options = [word for name in names for word in ("-o", name)]
    code, out, err = arseg("segment", video, *options, "--classes", "road,car", "--weights", weights)
    assert code == 0, err
    assert out.splitlines() == [f"{name.rpartition(':')[2]}: 14 frames" for name in names]
    found = [list(read_labels(name)) for name in ("masks", "ids.mkv", "a.npz", "c.jsonl")]
    assert all(np.array_equal(one, found[0]) for one in found[1:])
    with np.load("p.npz") as arrays:
        assert arrays["classes"].tolist() == ["road", "car"]


def test_several_inputs(arseg, weights, video):
    Path("in").mkdir()
    for name in "ab":
        shutil.copy(video, f"in/{name}.mp4")
    code, out, err = arseg("segment", "in", "-o", "out/{stem}.mp4", "-o", "masks", "--frames", 2, "-w", weights)
    assert code == 0, err
    assert sorted(os.listdir("out")) == ["a.mp4", "b.mp4"] and sorted(os.listdir("masks")) == ["a", "b"]
    Path("in/b.mp4").write_text("no video")
    code, out, err = arseg("segment", "in/*.mp4", "-o", "more/{stem}.csv", "--frames", 2, "-w", weights)
    assert (code, out) == (2, "more/a.csv: 2 frames\n") and err.startswith("arseg: in/b.mp4 cannot be opened")
    code, _, err = arseg("segment", "in", "-o", "o.mp4", "-w", weights)
    assert code == 2 and "o.mp4: one file for 2 inputs" in err and len(err.splitlines()) == 1


def test_pictures(arseg, weights):
    Path("photos").mkdir()
    for name in ("x", "y"):
        Image.new("RGB", (48, 36), (90, 120, 40)).save(f"photos/{name}.jpg")
    code, out, err = arseg("segment", "photos", "-o", "masks", "-w", weights)
    assert (code, out) == (0, "masks: 2 frames\n"), err
    assert sorted(os.listdir("masks")) == ["x.png", "y.png"]
    code, out, err = arseg("segment", "photos/x.jpg", "-w", weights)
    assert (code, out) == (0, "x-segmented: 1 frames\n"), err
    assert os.listdir("x-segmented") == ["x.png"]
    Path("photos/y.jpg").write_text("no picture")
    code, _, err = arseg("segment", "photos", "-o", "again", "-w", weights)
    assert code == 2 and "photos/y.jpg cannot be read" in err and not Path("again").exists()


def test_the_standard_input(weights, video, tmp_path):
    command = that_tells_of_frame(99, "segment", "-", "-o", "o.npz", "-w", str(weights))
    with video.open("rb") as file:
        done = subprocess.run(command, stdin=file, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(list(read_labels(tmp_path / "o.npz"))) == 14


def test_parts_of_a_video(arseg, weights, video):
    part = ("--start", "0:00.2", "--end", "0.6", "--every", 2)
    code, out, err = arseg("segment", video, "-o", "a.npz", *part, "-w", weights)
    assert (code, out) == (0, "a.npz: 3 frames\n"), err
    with np.load("a.npz") as arrays:
        assert arrays["frames"].tolist() == [3, 5, 7]
    code, out, err = arseg("segment", video, "-o", "b.npz", "--low-latency", "-q", "-w", weights)
    assert (code, out, err) == (0, "b.npz: 14 frames\n", "")


def test_old_names_work_and_say_so(arseg, weights, video):
    code, _, err = arseg("segment", video, "--labels", "l", "--weights", weights)
    assert (
        code == 0
        and "warning: --labels is -o labels:l now; the old name goes in version 0.3" in err
        and len(os.listdir("l")) == 14
    )


def test_resume_and_verbose(arseg, weights, video):
    code, out, err = arseg("segment", video, "-o", "o.mp4", "--resume", "-v", "-w", weights)
    assert (code, out) == (0, "o.mp4: 14 frames\n"), err
    assert os.listdir() == ["o.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_there_is_plays_where_asked(weights, video, tmp_path, number):
    options = ("-o", "o.mp4", "-o", "a.npz", "--weights", str(weights), "--partial")
    command = that_tells_of_frame(6, "segment", str(video), *options)
    running = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout.readline() == "frame 6\n"
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    if running.returncode == 0:
        pytest.skip("the run was quicker than the signal")
    assert running.returncode == 128 + number, err
    count = len(list(read_labels(tmp_path / "a.npz")))
    assert 1 <= count < 14 and frames_in(tmp_path / "o.mp4") == count
    assert f"what there was until then is kept, {count} frames" in err


def test_palettes(arseg, weights, video):
    Path("p.json").write_text(json.dumps([[number, 0, 0] for number in range(11)]))
    for text in ("p.json", "cityscapes", "voc"):
        code, _, err = arseg("segment", video, "-o", f"out-{text[0]}", "--palette", text, "--frames", 1, "-w", weights)
        assert code == 0, err
    with Image.open("out-p/000000.png") as picture:
        assert picture.getpalette()[3:6] == [1, 0, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--start", "x"], "--start: expected seconds, or hours:minutes:seconds"),
        (["--start", "3", "--end", "2"], "end: expected seconds after the start"),
        (["--low-latency", "--batch", "4"], "--low-latency: is --batch 1"),
        (["-o", "o.npz", "--opacity", "0.5"], "--opacity: none of the outputs o.npz has it"),
        (["-o", "o.avi"], "o.avi cannot be written"),
        (["-o", "logits:o.npz", "--classes", "cat"], "classes: expected names or ids"),
        (["--palette", "none.json"], "--palette: none.json: is no palette"),
    ],
)
def test_bad_input_is_one_line(arseg, weights, video, options, words):
    code, out, err = arseg("segment", video, "--weights", weights, *options)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and words in err, err
    assert os.listdir() == []


def test_default_names_that_collide_are_told(arseg, weights, video):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        shutil.copy(video, f"{folder}/x.mp4")
    code, _, err = arseg("segment", "a/x.mp4", "b/x.mp4", "--weights", weights)
    assert code == 2 and "x-segmented: would be written for a/x.mp4 and for b/x.mp4" in err
    assert not list(Path().glob("*segmented*"))


def test_another_scale_is_told(arseg, weights, video):
    code, _, err = arseg("segment", video, "-o", "a.npz", "-w", weights, "--scale", 0.3)
    assert code == 0
    assert err.startswith("--scale: the network was trained for frames at 0.5x; for good labels at 0.3x train one")
    code, _, err = arseg("segment", video, "-o", "b.npz", "-w", weights, "--scale", 0.5)
    assert (code, err) == (0, "")
    code, _, err = arseg("segment", video, "-o", "c.npz", "-w", weights, "--scale", 0.3, "--mode", "keep")
    assert (code, err.count("\n")) == (2, 1) and "no network sees a frame at low resolution" in err
