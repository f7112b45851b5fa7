"""`arseg report`."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_segments_and_reports(arseg, video, weights):
    code, out, _ = arseg("report", video, "-w", weights, "--player-height", 48)
    assert code == 0 and out == "street-report.html: 14 frames\n"


def test_from_outputs(arseg, video, weights, tmp_path):
    code, out, err = arseg("segment", video, "-w", weights, "-o", "t.csv", "-o", "ids/", "-o", "one.html", "-q")
    assert code == 0, err
    code, out, err = arseg("report", video, "--labels", "ids", "--table", "t.csv", "--palette", "voc", "-o", "two.html")
    assert (code, out) == (0, "two.html: 14 frames\n")
    code, _, err = arseg("report", video, "--labels", "ids", "-o", "three.html")
    assert code == 2 and "--table" in err and err.count("\n") == 1
    code, _, err = arseg("report", video, "--labels", "ids", "--table", "ids", "-o", "three.html")
    assert code == 2 and "expected a table" in err and not (tmp_path / "three.html").exists()


def test_of_another_ending(arseg, video, weights):
    code, _, err = arseg("report", video, "-w", weights, "-o", "page.mp4")
    assert code == 2 and ".html" in err and err.count("\n") == 1
