"""`arseg export` writes a folder, says how many labels differ, and `arseg segment` runs from it."""

from __future__ import annotations

import numpy as np
import pytest

from arseg.segment.outputs.reading import read_labels


@pytest.mark.slow
def test_export_then_segment(arseg, weights, video, tmp_path):
    code, out, err = arseg("export", video, "-o", "exported", "-w", weights, "--format", "program")
    assert (code, out) == (0, "exported\n")
    assert "0 of 55,296 pixels" in err and "8 frames of 72x96" in err
    code, _, err = arseg("export", "-o", "exported", "-w", weights, "--size", "72x96")
    assert code == 2 and "exists already and is not an empty folder" in err
    code, _, err = arseg("segment", video, "-o", "packages.npz", "-w", "exported", "--batch", "2")
    assert code == 0, err
    code, _, err = arseg("segment", video, "-o", "eager.npz", "-w", weights)
    assert code == 0, err
    found, expected = (np.stack(list(read_labels(f"{name}.npz"))) for name in ("packages", "eager"))
    assert (found != expected).mean() < 1e-3
    code, _, err = arseg("segment", video, "-o", "x.npz", "-w", "exported", "-m", "lite0")
    assert code == 2 and "has its network in it; leave out --model" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onxx"], "format: expected one of aoti, onnx, program, got 'onxx'; did you mean onnx?"),
        (["--size", "1080p"], "--size: expected height and width of 16 pixels or more, such as 576x1024"),
        (["--format", "onnx", "--precision", "bfloat16"], "precision: expected float32 for ONNX"),
    ],
)
def test_refusals(arseg, weights, options, message):
    code, out, err = arseg("export", "-o", "exported", "-w", weights, *options)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
