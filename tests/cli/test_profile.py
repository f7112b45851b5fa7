"""`arseg profile`: a video's motion as inputs of the profiler."""

from __future__ import annotations

import numpy as np
import pytest

from arseg.video import VideoReader


@pytest.mark.slow
def test_the_file_holds_what_the_network_would_be_given(arseg, video, weights, tmp_path):
    code, out, err = arseg("profile", video, "--weights", weights, "--frames", 3, "--", "--dry-run", "creff_labels")
    assert code == 0, err
    assert "motion of 3 frames, maps of 3x8x18x24" in err
    assert "creff_labels 3x8x18x24 of street-motion" in out
    with np.load(tmp_path / "street-motion.npz") as arrays:
        fields = [frame.motion.vectors for frame in VideoReader(video, gop=12) if frame.motion is not None][:3]
        assert np.array_equal(arrays["motion"], np.stack(fields)) and arrays["motion"].dtype == np.int16
        assert tuple(arrays["frame_size"]) == (72, 96) and arrays["block"] == 4
        assert tuple(arrays["shape"]) == (3, 8, 18, 24) and tuple(arrays["low_size"]) == (9, 12)
        assert arrays["classes"] == 11


@pytest.mark.slow
def test_faults_are_one_line(arseg, video, weights, tmp_path):
    code, _, err = arseg("profile", video, "--weights", weights, "-o", video)
    assert code == 2 and "is the video itself" in err
    code, _, err = arseg("profile", video, "--weights", weights, "--", "warp")
    assert code == 2 and err.splitlines()[-1].startswith("profiler: operator: expected some of mv_warp")
    code, _, err = arseg("profile", tmp_path / "none.mp4", "--weights", weights)
    assert code == 2 and len(err.splitlines()) == 1
