"""`arseg segment` and `arseg demo`: how the network runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def labels_in(folder: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())])


def test_batches_write_what_single_frames_do(arseg, weights, clip):
    for batch in (1, 3, 11):
        code, _, err = arseg("segment", clip, "--labels", f"labels{batch}", "--weights", weights, "--batch", batch)
        assert code == 0, err
    one = labels_in("labels1")
    assert len(one) == 30
    for batch in (3, 11):
        assert (labels_in(f"labels{batch}") != one).mean() < 1e-3


def test_batches_of_nothing_are_refused(arseg, weights, clip):
    code, _, err = arseg("segment", clip, "--weights", weights, "--batch", 0)
    assert code == 2 and "--batch" in err and "equal to 1" in err


@pytest.mark.parametrize("command", ["segment", "demo"])
def test_devices_that_are_not_there_are_a_sentence(arseg, weights, clip, command):
    code, _, err = arseg(command, clip, "--weights", weights, "--device", "gpu")
    assert code == 2 and err.startswith(
        "arseg: device: expected a device of torch, such as cpu, cuda or cuda:1, got 'gpu'"
    )
