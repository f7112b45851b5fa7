"""What is in the page: data, video, names; and what is left when something goes wrong."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.segment.html_report.columns import Columns
from arseg.segment.html_report.earlier import report_of
from arseg.segment.html_report.page import page
from arseg.segment.html_report.player import player_size
from arseg.segment.outputs import LabelVideo, Report, Table
from arseg.segment.run import segment_file
from arseg.video.orientation import turned
from arseg.video.properties import VideoProperties

COUNT = 30


def parts(page: Path) -> tuple[dict, bytes]:
    """The data and the video of a page."""
    text = page.read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    pieces = re.findall(r'<script type="text/plain" class="piece">(.*?)</script>', text, re.DOTALL)
    return data, b"".join(map(base64.b64decode, pieces))


@pytest.fixture(scope="module")
def made(segmenter, street, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    outs = [Report(folder / "page.html"), Table(folder / "t.csv"), LabelVideo(folder / "ids.mkv")]
    segment_file(segmenter, street, outs)
    return folder


@pytest.mark.slow
def test_data_and_video(made, segmenter, street):
    data, video = parts(made / "page.html")
    results = list(segmenter.stream(street))
    assert data["types"] == "".join(result.frame_type for result in results)
    assert data["keyframes"] == "".join("01"[result.keyframe] for result in results)
    assert data["distance"] == [result.distance for result in results]
    assert [value is None for value in data["warp_error"]] == [result.keyframe for result in results]
    for k, shares in enumerate(data["shares"]):
        expected = [float((result.labels == k).mean()) for result in results]
        assert np.allclose(np.array(shares or [0] * COUNT) / 10000, expected, atol=1e-4)
    assert np.allclose(data["shown"], np.arange(COUNT) / 10, atol=1e-3)
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == COUNT and frames[0].shape == (144, 96, 3)
    for frame, result in zip(frames, results, strict=True):
        picture, colours = frame[:72].astype(int), frame[72:].astype(int)
        assert np.abs(picture - result.image).mean() < 8
        assert np.abs(colours - CAMVID.palette[result.labels]).mean() < 12


@pytest.mark.slow
def test_from_earlier_outputs(made, street, tmp_path):
    page = tmp_path / "again.html"
    assert report_of(street, made / "ids.mkv", made / "t.csv", page) == COUNT
    (first, video), (second, again) = parts(made / "page.html"), parts(page)
    assert video == again
    for name, values in first.items():
        if name in ("intra", "warp_error", "time"):  # to six digits in the table
            known = [np.array([np.nan if value is None else value for value in data[name]]) for data in (first, second)]
            assert np.allclose(*known, rtol=1e-3, equal_nan=True), name
        elif not name.endswith("_ms"):
            assert second[name] == values, name


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["rows", "maps", "columns", "folder", "video"])
def test_outputs_that_do_not_go_together(fault, made, street, tmp_path):
    lines = (made / "t.csv").read_text().splitlines()
    table, ids, video = tmp_path / "t.csv", made / "ids.mkv", street
    expected = "label maps than"
    if fault == "rows":
        lines = lines[:10]
    elif fault == "maps":
        lines, expected = [*lines, lines[-1].replace("29,", "30,", 1)], "no label map for frame 30"
    elif fault == "columns":
        lines, expected = ["a,b", "1,2"], "columns"
    elif fault == "folder":
        ids, expected = tmp_path / "none", "expected a folder"
    else:
        video, expected = "http://localhost/a.mp4", "video file"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=expected):
        report_of(video, ids, table, tmp_path / "p.html")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.slow
def test_names_do_not_end_the_page(segmenter, street, tmp_path):
    name = "</script><img src=x onerror=alert(1)> & \"'.mp4"[:60].replace("/", "∕")
    shutil.copy(street, tmp_path / name)
    labels = replace(CAMVID, classes=("</script><b>", *CAMVID.classes[1:]))
    network = segmenter.label_set
    segmenter.label_set = labels
    try:
        segment_file(segmenter, str(tmp_path / name), [Report(tmp_path / "p.html")], frames=3)
    finally:
        segmenter.label_set = network
    text = (tmp_path / "p.html").read_text()
    assert "<img" not in text and "</script><b>" not in text
    data, _ = parts(tmp_path / "p.html")
    assert data["name"] == name and data["classes"][0]["name"] == "</script><b>"


@pytest.mark.slow
def test_a_page_that_is_full_has_the_whole_timeline(tmp_path):
    said, labels = [], np.zeros((256, 256), np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    row = {"type": "P", "keyframe": False}
    about = _about(width=256, height=256)
    with page(tmp_path / "p.html", about, CAMVID, opacity=0.5, player_limit=0.5, say=said.append) as made:
        for number in range(120):
            made.add(np.roll(noise, 7 * number, 1), labels, {**row, "frame": number}, number, Fraction(1, 10))
    data, video = parts(tmp_path / "p.html")
    assert len(data["types"]) == 120 > len(data["shown"]) >= 16
    assert f"first {len(data['shown'])} of 120 frames" in said[0] and "--player-height" in said[0]
    with av.open(io.BytesIO(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(data["shown"])


@pytest.mark.slow
def test_nothing_is_left_of_a_run_that_fails(segmenter, street, tmp_path):
    with pytest.raises(ZeroDivisionError), Report(tmp_path / "p.html").opened(_about(), CAMVID) as write:
        write(next(iter(segmenter.stream(street))))
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def _about(**changes) -> VideoProperties:
    return VideoProperties(**{"path": "a.mp4", "width": 96, "height": 72, "rate": Fraction(10), **changes})


@pytest.mark.parametrize(
    "changes, height, expected",
    [
        ({}, 720, (72, 96)),
        ({}, 36, (36, 48)),
        ({"width": 1920, "height": 1080}, 720, (720, 1280)),
        ({"width": 721, "height": 575, "pixel_aspect": Fraction(16, 15)}, 720, (576, 770)),
        ({"width": 1920, "height": 1080, "display_matrix": turned(90)}, 720, (720, 404)),
        ({"width": 16384, "height": 256}, 720, (64, 4096)),
    ],
)
def test_player_size(changes, height, expected):
    assert player_size(_about(**changes).upright(), height) == expected


@pytest.mark.parametrize("setting", [{"opacity": 2}, {"player_height": 8}, {"player_limit": 0}])
def test_settings_out_of_range(setting, tmp_path):
    with (
        pytest.raises(InputError, match=next(iter(setting))),
        Report(tmp_path / "p", **setting).opened(_about(), CAMVID),
    ):
        pass


def test_columns_take_little_memory():
    columns = Columns(tuple("abcdefghijk"))
    row = {"frame": 1, "type": "P", "keyframe": False, "intra": 0.25, "warp_error": None, "share_a": 0.5}
    for _ in range(3):
        columns.add(row)
    data = json.loads("{" + "".join(columns.json()) + "}")
    assert data["intra"] == [0.25] * 3 and data["warp_error"] == [None] * 3 and data["shares"][0] == [5000] * 3
    assert data["shares"][1] == [] and data["types"] == "PPP" and data["keyframes"] == "000"
    held = sum(a.itemsize for a in (*columns._numbers.values(), *columns._shares))
    assert held <= 100  # bytes a frame
