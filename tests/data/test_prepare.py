"""Labelled frames at chosen distances: what is written, that it can be stopped, and what training reads back."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree, cityscapes_tree, run_tree
from PIL import Image

from arseg.data import prepare as module
from arseg.data.camvid import camvid_frames
from arseg.data.cityscapes import cityscapes_frames
from arseg.data.datasets import labelled_run
from arseg.data.extract import extract, video_files
from arseg.data.prepare import Encoding, make, prepare, run_jobs, snippet_jobs
from arseg.data.prepared import Prepared, read_label, read_pair
from arseg.errors import InputError
from arseg.video import VideoReader, encode
from arseg_ext import ops

pytestmark = pytest.mark.slow  # renders and encodes

QUICK = Encoding(gop=12, rate=17, bitrate=400_000, preset="veryfast")


@pytest.fixture(scope="module")
def snippets(tmp_path_factory):
    return cityscapes_frames(cityscapes_tree(tmp_path_factory.mktemp("cityscapes")))


@pytest.fixture(scope="module")
def folder(snippets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "p"
    prepare(snippets, folder, QUICK, [11, 0, 3], workers=2)
    return folder


def test_labelled_frames_sit_at_their_distance(folder, snippets):
    data = Prepared(folder)
    assert (data.dataset, data.gop, len(data.classes)) == ("cityscapes", 12, 19)
    assert sorted((item.name, item.distance) for item in data.items) == [
        (name, d) for name in ("ulm_000000_000019", "ulm_000001_000019") for d in (0, 3, 11)
    ]
    for video, items in data.by_video():
        (item,) = items
        with VideoReader(video, gop=12) as reader:
            frames = list(reader)
        assert frames[item.frame].distance == item.distance and frames[0].keyframe
        source, label = snippets[[f.name for f in snippets.frames].index(item.name)]
        np.testing.assert_array_equal(read_label(item), label)
        others = [np.abs(frame.image.astype(int) - source).mean() for frame in frames]
        assert int(np.argmin(others)) == item.frame, "it is the labelled frame itself"
    assert sorted(os.listdir(folder)) == ["labels", "manifest.json", "vectors", "videos"]


def test_pairs_for_training(folder):
    item = next(item for item in Prepared(folder).at([11]))
    pair, decoded = read_pair(item), read_pair(item, decoded=True)
    np.testing.assert_array_equal(pair.vectors, decoded.vectors)
    np.testing.assert_array_equal(pair.label, decoded.label)
    assert pair.distance == 11 and pair.vectors.shape == (16, 32, 2) and pair.vectors.any()
    assert not np.array_equal(pair.image, decoded.image), "one is compressed, the other is not"
    key, image = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() for x in (pair.key, pair.image))
    warped = ops.mv_warp(key, torch.from_numpy(pair.vectors)[None], block=4, frame_size=pair.label.shape)
    inside = (..., slice(8, -8), slice(8, -8))
    assert (warped - image)[inside].abs().mean() < 0.8 * (key - image)[inside].abs().mean()
    still = read_pair(Prepared(folder).at([0])[0])
    np.testing.assert_array_equal(still.key, still.image)
    assert not still.vectors.any()


def test_a_stopped_run_goes_on(folder, snippets, tmp_path, monkeypatch):
    """Stopped after two videos; called again, only the others are made, and the result is the same."""
    made = []

    def stopping(job, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job.name)
        make(job, *rest)

    monkeypatch.setattr(module, "make", stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(snippets, tmp_path / "p", QUICK, [0, 3, 11])
    monkeypatch.setattr(module, "make", make)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: no such file; run the same `arseg prepare` again"):
        Prepared(tmp_path / "p")
    before = {path: 4 * 10**18 for path in (tmp_path / "p" / "videos").iterdir()}
    assert len(before) == 2
    for path, stamp in before.items():
        os.utime(path, ns=(stamp, stamp))  # far ahead: what is written again has another
    prepare(snippets, tmp_path / "p", QUICK, [0, 3, 11])
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert not [path for path in (tmp_path / "p").rglob("*.part*")]
    for name in sorted(os.listdir(folder / "vectors")):
        with np.load(folder / "vectors" / name) as a, np.load(tmp_path / "p" / "vectors" / name) as b:
            np.testing.assert_array_equal(a["vectors"], b["vectors"])


def test_a_broken_picture_stops_it_in_one_sentence(tmp_path):
    """From another process, too; what was made before is there when it goes on."""
    root = cityscapes_tree(tmp_path / "c")
    broken = root / "leftImg8bit_sequence" / "train" / "ulm" / "ulm_000001_000018_leftImg8bit.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    data = cityscapes_frames(root)
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"ulm_000001_000018_leftImg8bit\.png: cannot be read as a picture"):
            prepare(data, tmp_path / "p", QUICK, [1, 3], workers=workers)
    assert not list((tmp_path / "p").rglob("*000001*")), "nothing half-written"
    (tmp_path / "p" / "videos" / ".killed.part-1.mp4").write_bytes(b"")
    broken.write_bytes(whole)
    prepare(data, tmp_path / "p", QUICK, [1, 3])
    assert len(Prepared(tmp_path / "p").items) == 4 and not list((tmp_path / "p").rglob(".*"))


def test_a_lower_bitrate_is_a_smaller_video(snippets, tmp_path):
    sizes = []
    for bitrate in (100_000, 1_500_000):
        images = [np.asarray(frame) for frame in moving(snippets)]
        encode(images, tmp_path / f"{bitrate}.mp4", rate=17, gop=12, bitrate=bitrate)
        sizes.append((tmp_path / f"{bitrate}.mp4").stat().st_size)
    assert 2 * sizes[0] < sizes[1]
    with pytest.raises(InputError, match=r"bitrate: expected at least 1000 bits a second, got 3"):
        encode(images, tmp_path / "x.mp4", bitrate=3)


def moving(snippets):
    from arseg.data.datasets import read_image

    return (read_image(path) for path in snippets.frames[0].frames)


def test_a_run_is_met_at_every_distance(tmp_path):
    data = labelled_run(camvid_frames(run_tree(tmp_path, 9), "val"))
    jobs, _ = run_jobs(data, range(4), 4)
    met = sorted((name, place % 4) for job in jobs for name, place in job.labelled)
    assert met == sorted((frame.name, d) for frame in data.frames[3:] for d in range(4))
    prepare(data, tmp_path / "p", Encoding(gop=4, rate=15, preset="veryfast"), range(4), whole_run=True)
    prepared = Prepared(tmp_path / "p")
    assert len(prepared.items) == 24 and len(list(prepared.by_video())) == 4
    item = next(item for item in prepared.items if item.distance == 2)
    pair = read_pair(item)
    np.testing.assert_array_equal(pair.key, read_pair(item).key)
    assert pair.vectors.shape == (18, 24, 2)


def test_frames_without_enough_before_them_are_left_out_and_said(tmp_path):
    data = camvid_frames(camvid_tree(tmp_path, before=5), sequences=tmp_path / "frames")
    jobs, lacking = snippet_jobs(data, [0, 5, 11], 12)
    assert [job.name for job in jobs][:2] == ["0001TP_006665-d0", "0001TP_006665-d5"]
    assert lacking == ["0001TP_006665: 5 frames before it, 11 are needed"]
    lines = []
    prepare(data, tmp_path / "p", QUICK, [0, 11], report=lines.append)
    assert lines == ["left out: 0001TP_006665: 5 frames before it, 11 are needed"]
    assert json.loads((tmp_path / "p" / "manifest.json").read_text())["left_out"] == lacking
    with pytest.raises(InputError, match=r"distances: .* has no labelled frame at \[5\], only at \[0, 11\]"):
        Prepared(tmp_path / "p").at([5])


def test_frames_out_of_a_video_file(tmp_path):
    root = camvid_tree(tmp_path, snippets=1)
    whole = camvid_frames(root, sequences=root / "frames").frames[0]
    (tmp_path / "films").mkdir()
    encode((np.asarray(x) for x in frames_of(whole)), tmp_path / "films" / "0001TP.mp4", crf=0)
    (film,) = video_files(tmp_path / "films")
    assert extract(film, tmp_path / "cut" / "0001TP", {2, 3, 10, 11, 12, 13, 14}) == 7
    assert sorted(os.listdir(tmp_path / "cut" / "0001TP")) == [f"0001TP_{i:06d}.png" for i in (2, 3, *range(10, 15))]
    (again,) = camvid_frames(root, sequences=tmp_path / "cut").frames
    assert again.index == 3 and len(again.frames) == 5, "a gap in the frames is a gap"


def frames_of(frame):
    from arseg.data.datasets import read_image

    return (read_image(path) for path in frame.frames)


def test_faults(snippets, folder, tmp_path):
    with pytest.raises(InputError, match=r"distances: expected numbers from 0 to gop - 1 = 11, got \[3, 12\]"):
        prepare(snippets, tmp_path / "p", QUICK, [12, 3])
    with pytest.raises(InputError, match=r"made with distances \[0, 3, 11\] \(asked for \[0\]\)"):
        prepare(snippets, folder, QUICK, [0])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=r"mine: exists already and is no prepared data"):
        prepare(snippets, tmp_path / "mine", QUICK, [0])
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]
    with pytest.raises(FileNotFoundError, match=r"expected a folder made by `arseg prepare`"):
        Prepared(tmp_path / "mine")
    stills = camvid_frames(camvid_tree(tmp_path / "c"))
    with pytest.raises(InputError, match=r"camvid: no labelled frame has 11 frames before it \(0001TP_\d+: no frames"):
        prepare(stills, tmp_path / "q", QUICK, [11])


def test_what_was_corrected_is_made_anew(tmp_path):
    root = camvid_tree(tmp_path / "camvid", snippets=1, before=4)
    frames = camvid_frames(root, "train", sequences=root / "frames", void="ignore")
    for _ in range(2):
        prepare(frames, tmp_path / "p", Encoding(gop=4), [1], report=lambda line: None)
    (item,) = Prepared(tmp_path / "p").items
    videos = {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "videos").iterdir()}
    (frame,) = frames.frames
    with Image.open(frame.label) as file:
        label = np.array(file)
    label[:20, :20] = label[-1, -1]
    Image.fromarray(label).save(frame.label)
    prepare(frames, tmp_path / "p", Encoding(gop=4), [1], report=lambda line: None)
    assert (read_label(item)[:20, :20] == read_label(item)[-1, -1]).all()
    assert videos == {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "videos").iterdir()}
    later = max(videos.values()) / 1e9 + 5
    os.utime(frame.frames[frame.index], (later, later))
    prepare(frames, tmp_path / "p", Encoding(gop=4), [1], report=lambda line: None)
    assert videos != {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "videos").iterdir()}
