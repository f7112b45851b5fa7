"""Which frames are chosen; they have the labels that a whole run gives them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.streets import pictures
from PIL import Image

from arseg import VideoSegmenter
from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.segment.selection import Selection, seconds
from arseg.segment.sources import sources_of, targets_for
from arseg.video import VideoReader, encode

RATE = 10


@pytest.fixture(scope="module")
def segmenter() -> VideoSegmenter:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return VideoSegmenter(net, gop=6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(30), path, rate=RATE, gop=6)
    return path


@pytest.mark.parametrize(
    ("selection", "indices"),
    [
        (Selection(), range(30)),
        (Selection(limit=4), range(4)),
        (Selection(start=0.8), range(8, 30)),
        (Selection(start=0.8, end=1.5), range(8, 15)),
        (Selection(every=4), range(0, 30, 4)),
        (Selection(start=0.75, end=2.0, every=5, limit=2), (8, 13)),
        (Selection(start=9), ()),
    ],
)
def test_frames_and_their_labels(segmenter, clip, selection, indices):
    whole = [result.labels for result in segmenter.stream(clip)]
    assert selection.count(30, Fraction(RATE)) == pytest.approx(len(indices), abs=1)
    with VideoReader(clip, gop=6) as reader:
        found = list(selection.results(segmenter.segment_all(selection.frames(reader, reader.rate))))
    assert [result.index for result in found] == list(indices)
    for result in found:
        assert (result.labels != whole[result.index]).mean() < 1e-3  # batches of other sizes round otherwise


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("1.5", 1.5), ("1:30", 90), ("01:02:03.25", 3723.25), ("1:00:00", 3600), (".5", 0.5)],
)
def test_times(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "1:75", "-3", "1:60", "nan", "1e3"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="expected seconds, or hours:minutes:seconds"):
        seconds(text)


@pytest.mark.parametrize("wrong", [{"start": -1}, {"start": 3, "end": 2}, {"every": 0}, {"limit": 0}])
def test_what_cannot_be_chosen(wrong):
    with pytest.raises(InputError, match="expected"):
        Selection(**wrong)


@pytest.fixture
def here(tmp_path, monkeypatch, clip) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("videos/a.mp4", "videos/b.MP4", "more/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(clip)
    Path("videos/readme.txt").touch()
    Path("pictures").mkdir()
    for name in "xyz":
        Image.new("RGB", (32, 24)).save(f"pictures/{name}.png")
    Path("empty").mkdir()
    return tmp_path


def test_what_names_stand_for(here):
    def names(*texts):
        return [(source.video, source.stem, len(source.pictures)) for source in sources_of(texts)]

    assert names("videos") == [("videos/a.mp4", "a", 0), ("videos/b.MP4", "b", 0)] == names("videos/*.[mM][pP]4")
    assert names("pictures") == [("pictures", "pictures", 3)] == names("pictures/*.png")
    assert names("pictures/x.png", "pictures/y.png") == [("pictures", "pictures", 2)]
    assert names("-", "rtsp://u:p@h/cam") == [("pipe:0", "stdin", 0), ("rtsp://u:p@h/cam", "cam", 0)]
    assert names("not-there.mp4") == [("not-there.mp4", "not-there", 0)]  # the reader says so
    for text, words in (("none*.mp4", "no file has such a name"), ("empty", "neither videos nor pictures")):
        with pytest.raises(InputError, match=words):
            names(text)
    Path("pictures/v.mp4").touch()
    with pytest.raises(InputError, match="has videos and pictures"):
        names("pictures")


def test_targets_of_several(here):
    def folder(text):
        return "." not in text

    sources = sources_of(["videos"])
    assert targets_for(["out", "x/{stem}-{number}.csv"], sources, folder) == [
        ["out/a", "x/a-0.csv"],
        ["out/b", "x/b-1.csv"],
    ]
    assert targets_for(["o.mp4"], sources[:1], folder) == [["o.mp4"]]
    with pytest.raises(InputError, match=r"o\.mp4: one file for 2 inputs; give a pattern such as \{stem\}\.mp4"):
        targets_for(["o.mp4"], sources, folder)
    with pytest.raises(InputError, match=r"\{stern\}\.mp4: expected \{stem\}"):
        targets_for(["{stern}.mp4"], sources, folder)
    with pytest.raises(InputError, match="would be written for videos/a"):
        targets_for(["out"], sources_of(["videos/a.mp4", "more/a.mp4"]), folder)


def test_pictures_are_keyframes_all(segmenter, here):
    from arseg.video.picture_reader import PictureReader

    (source,) = sources_of(["pictures"])
    found = list(segmenter.segment_all(PictureReader(source.pictures)))
    assert len(found) == 3 and all(result.keyframe and result.labels.shape == (24, 32) for result in found)
    assert np.array_equal(found[0].labels, found[1].labels)


def test_results_of_several_videos(segmenter, clip, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").symlink_to(clip)
    labels = [result.labels for result in segmenter.stream(clip)]
    names = []
    for name, results in segmenter.videos([tmp_path / "*.mp4", tmp_path / "b.mp4"]):
        names.append(Path(name).name)
        first = next(results)  # the rest of it is left
        assert (first.labels == labels[0]).all()
    assert names == ["a.mp4", "b.mp4", "b.mp4"]
    with pytest.raises(InputError, match="no file has such a name"):
        next(segmenter.videos([tmp_path / "*.mkv"]))
