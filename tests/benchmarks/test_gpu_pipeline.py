"""The pipeline's benchmark on the CPU at a tiny size, with a stand-in for CUDA graphs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gpu_pipeline
import gpu_table
import numpy as np
import pytest
import torch

from arseg.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--device", "cpu", "--frames", "24", "--rounds", "2", "--size", "32", "48", "--case", "lite0 480x360"]


@pytest.fixture(scope="module")
def recorded(clip, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "clip.npz"
    assert gpu_pipeline.main(["--record", str(path), str(clip), "--frames", "24"]) == 0
    return path


@pytest.mark.slow
def test_every_row_is_there(recorded, tmp_path, capsys):
    assert gpu_pipeline.main([*SMALL, "--clip", str(recorded), "--out", str(tmp_path / "p.json")]) == 0
    report = json.loads((tmp_path / "p.json").read_text())
    found = report["cases"]["lite0 480x360"]
    calls = [f"{batch} {how}" for batch in ("1", "group") for how in ("eager", "recorded")]
    assert list(found["rows"]) == [f"{mode} {call}" for mode in ("hr", "ar", "lr", "warp") for call in calls]
    for row in found["rows"].values():
        assert row["ms"] > 0 and row["frames a second"] == pytest.approx(1e3 / row["ms"], rel=0.02)
    ms = {name: row["ms"] for name, row in found["rows"].items()}
    assert found["HR batched / AR"] == round(ms["hr group recorded"] / ms["ar group recorded"], 2)
    assert found["targets"]["offline"] == {"limit": 0.16, "value": ms["ar group recorded"], "met": False}
    printed = capsys.readouterr().out
    assert f"offline {ms['ar group recorded']:.3g} ms (target 0.16, missed); latency" in printed
    lines = gpu_table.summary(
        {"device": {"name": "cpu", "torch": "2"}, "phases": {"pipeline": {"status": "ok", **report}}}
    )
    assert any(
        line.startswith(f"pipeline, lite0 480x360: ms a frame hr {ms['hr group recorded']:.3g}") for line in lines
    )
    assert printed.count("lite0 480x360 ") == 4 and f"HR batched / AR {found['HR batched / AR']:g}" in printed


def test_frames_of_a_file_and_of_none(recorded):
    images, fields, source = gpu_pipeline.clip(recorded, 24)
    assert (len(images), len(fields), source) == (24, 24, "clip.npz")
    frames = gpu_pipeline.fitted(images, fields, (128, 192))
    assert [frame.keyframe for frame in frames] == [index % 12 == 0 for index in range(24)]
    assert frames[5].image.shape == (128, 192, 3) and frames[5].motion.vectors.shape == (32, 48, 2)
    np.testing.assert_array_equal(frames[5].motion.vectors[::2, ::2], fields[5] * 2)  # twice as large
    images, fields, source = gpu_pipeline.clip(None, 14)
    assert (len(images), len(fields), source) == (14, 14, "synthetic street")
    assert not fields[0].any() and fields[3].any() and fields[3].dtype == np.int16


def test_groups_of_another_length_are_refused(recorded, tmp_path):
    with np.load(recorded) as stored:
        found = dict(stored)
    np.savez(tmp_path / "other.npz", **{**found, "distances": found["distances"][::-1]})
    with pytest.raises(InputError, match=r"other.npz: its groups are not of 12 frames"):
        gpu_pipeline.clip(tmp_path / "other.npz")


def test_a_network_that_fails_does_not_end_the_others(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_pipeline, "measure", lambda *_: 1 / 0)
    assert gpu_pipeline.main([*SMALL, "--out", str(tmp_path / "p.json")]) == 1
    report = json.loads((tmp_path / "p.json").read_text())
    assert report["cases"]["lite0 480x360"] == {"failure": "ZeroDivisionError: division by zero"}
    assert report["frames"] == "synthetic street"


@pytest.mark.slow
def test_a_case_keeps_to_its_time(recorded):
    case = gpu_pipeline.CASES["lite0 480x360"]
    frames = gpu_pipeline.fitted(*gpu_pipeline.clip(recorded, 12)[:2], (32, 48))
    found = gpu_pipeline.measure(case, frames, torch.device("cpu"), rounds=50, ends=0.0)
    assert {row["rounds"] for row in found["rows"].values()} == {2}


def test_a_library_that_is_missing_is_a_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    arguments = ["--device", "cpu", "--frames", "12", "--size", "32", "64", "--case", "SegFormer-B2 2048x1024"]
    assert gpu_pipeline.main([*arguments, "--out", str(tmp_path / "p.json")]) == 1
    assert "SegFormer-B2 2048x1024: SegFormer-B2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_machine_without_pyav_can_segment_frames():
    code = (
        "import sys; sys.modules['av'] = None; sys.path.insert(0, 'benchmarks')\n"
        "import gpu_pipeline as g; from arseg.segment.segmenter import VideoSegmenter\n"
        "frames = g.fitted(*g.clip(None, 3)[:2], (32, 48))\n"
        "print(len([*VideoSegmenter(height='video').segment_all(frames)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "3\n", done.stderr
