"""What a run costs more than it seems, or cannot be had: all-intra videos, and memory that is out."""

from __future__ import annotations

import pytest
import torch

from arseg.data.street import StreetScene
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import encode

SAID = "is a keyframe (all-intra), so that each is segmented at full resolution and no compute is saved"


@pytest.fixture(scope="module")
def frames():
    return [image for image, _ in StreetScene(2, width=96, height=72).frames(8)]


@pytest.mark.slow
@pytest.mark.parametrize(("gop", "count"), [(12, 8), (4, 5)])
def test_an_all_intra_video_is_said_once(arseg, weights, frames, tmp_path, gop, count):
    encode(frames, tmp_path / "intra.mp4", rate=15, gop=1)
    code, out, err = arseg("segment", "intra.mp4", "-o", "o.mp4", "--weights", weights, "--gop", gop)
    assert (code, out) == (0, "o.mp4: 8 frames\n"), err
    assert err.count(SAID) == 1
    assert f"intra.mp4: each of its first {count} frames" in err and "`arseg encode intra.mp4 -o OUT.mp4`" in err


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--mode", "hr"], ["--gop", 1], ["--frames", 1]])
def test_keyframes_that_were_asked_for_are_not(arseg, weights, frames, tmp_path, options):
    encode(frames, tmp_path / "intra.mp4", rate=15, gop=1)
    code, _, err = arseg("segment", "intra.mp4", "-o", "o.mp4", "--weights", weights, *options)
    assert code == 0 and "all-intra" not in err


def test_a_usual_video_has_nothing_said(arseg, weights, video):
    code, _, err = arseg("segment", video, "-o", "o.mp4", "--weights", weights, "--gop", 3)
    assert code == 0 and "all-intra" not in err


def test_memory_that_is_out_is_one_line(arseg, weights, video, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(ARSegNet, "keyframe", full)
        code, out, err = arseg("segment", video, "-o", "o.mp4", "--weights", weights)
    assert (code, out) == (2, "") and not (tmp_path / "o.mp4").exists()
    (line,) = [line for line in err.splitlines() if line.startswith("arseg: ")]
    assert "frame 0: not enough memory on cpu" in line and "--height" in line
    with monkeypatch.context() as patch:  # where nobody knows of which frame
        patch.setattr(VideoSegmenter, "__init__", full)
        code, _, err = arseg("segment", video, "-o", "o.mp4", "--weights", weights)
    assert code == 2 and err.startswith("arseg: not enough memory; take smaller frames") and err.count("\n") == 1
