"""What is told of each frame, and what a result gives by itself."""

from __future__ import annotations

from dataclasses import replace

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
from arseg.segment.records import FrameRecords
from arseg.video import VideoReader, encode
from arseg.video.orientation import turned


@pytest.fixture(scope="module")
def net() -> ARSegNet:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return net


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(9, size=(70, 94)), path, rate=15)
    return path


@pytest.fixture(scope="module")
def results(net, clip):
    return list(VideoSegmenter(net, gop=5).stream(clip))


def test_a_record_is_what_the_frame_is(results, clip):
    records = FrameRecords(CAMVID.classes)
    rows = [records.of(result).row() for result in results]
    assert list(rows[0]) == records.columns()
    with VideoReader(clip, gop=5) as reader:
        for row, frame, result in zip(rows, reader, results, strict=True):
            assert (row["frame"], row["type"], row["time"]) == (frame.index, frame.frame_type, frame.time)
            assert (row["keyframe"], row["distance"], row["intra"]) == (frame.keyframe, frame.distance, frame.intra)
            shares = [row[f"share_{name}"] for name in CAMVID.classes]
            np.testing.assert_allclose(shares, [(result.labels == label).mean() for label in range(11)])
            assert row["decode_ms"] > 0 and row["network_ms"] > 0 and row["write_ms"] is None


def cells(image):
    """Luma, averaged over cells of 4x4; those at the border have what is left of them."""
    luma, (height, width) = image @ np.array([0.299, 0.587, 0.114]), image.shape[:2]
    return np.array([[luma[y : y + 4, x : x + 4].mean() for x in range(0, width, 4)] for y in range(0, height, 4)])


def test_the_warp_s_error_cell_by_cell(results):
    records, key = FrameRecords(CAMVID.classes), None
    for result in results:
        error, small = records.of(result).warp_error, cells(result.image)
        if result.keyframe:
            key = small
            assert error is None
            continue
        off = []
        for y, x in np.ndindex(small.shape):
            at = np.array([y, x]) + result.motion.vectors[y, x, ::-1] / 16
            at = at.clip(0, np.array(small.shape) - 1)
            (top, left), (down, across) = at.astype(int), at % 1
            below, right = min(top + 1, len(small) - 1), min(left + 1, small.shape[1] - 1)
            upper = key[top, left] * (1 - across) + key[top, right] * across
            lower = key[below, left] * (1 - across) + key[below, right] * across
            off.append(abs(small[y, x] - upper * (1 - down) - lower * down))
        assert error == pytest.approx(np.mean(off), abs=0.3)  # the averages are in 8 bits
        assert error < np.abs(small - key).mean()


def test_no_error_without_the_keyframe(results):
    assert FrameRecords(CAMVID.classes).of(results[2]).warp_error is None


def test_logits_where_they_are_asked_for(net, clip, results):
    assert all(result.logits is None for result in results)
    for result, plain in zip(VideoSegmenter(net, gop=5, logits=True).stream(clip), results, strict=True):
        assert result.logits is not None and result.logits.dtype == np.float32 and len(result.logits) == 11
        labels = net.labels(torch.from_numpy(result.logits)[None], result.labels.shape)[0].numpy()
        np.testing.assert_array_equal(labels, result.labels)
        assert (labels != plain.labels).mean() < 1e-3
        assert result.times["network"] > 0


def test_pictures_of_a_result(results, tmp_path):
    result = results[3]
    assert np.array_equal(result.overlay(0), result.image)
    assert np.array_equal(result.overlay(1), CAMVID.palette[result.labels])
    result.save(tmp_path / "a.png")
    result.save(tmp_path / "a.jpg")
    result.save(tmp_path / "labels.png", "labels")
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), result.overlay())
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == "P" and np.array_equal(np.asarray(picture), result.labels)
        assert np.array_equal(np.asarray(picture.convert("RGB")), CAMVID.palette[result.labels])
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (94, 70)
    for name, what, words in (
        ("a.txt", "overlay", "expected a picture"),
        ("a.jpg", "labels", "labels are written as .png"),
        ("a.png", "all", "what: expected"),
    ):
        with pytest.raises(InputError, match=words):
            result.save(tmp_path / name, what)
    with pytest.raises(InputError, match=r"opacity: expected 0\.\.1"):
        result.overlay(2)


def test_upright_is_as_a_player_shows_it(results):
    result = replace(results[3], display_matrix=turned(90), rotation=90, logits=np.zeros((11, 18, 24), np.float32))
    shown = result.upright()
    assert np.array_equal(shown.labels, np.rot90(result.labels)) and np.array_equal(shown.image, np.rot90(result.image))
    assert shown.logits.shape == (11, 24, 18) and (shown.display_matrix, shown.rotation) == (None, 0)
    assert results[3].upright() is results[3]
