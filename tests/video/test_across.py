"""Over an I frame: the vectors that the codec has not are found anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.video_clips import busy_scene

from arseg.video import VideoReader, encode
from arseg.video.across import joined


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The keyframe of a group, its last frame, and the I frame after that."""
    path = tmp_path_factory.mktemp("across") / "clip.mp4"
    encode(busy_scene(8, (96, 128)), path, gop=6)
    with VideoReader(path, previous=True) as reader:
        frames = list(reader)
    assert [frame.frame_type for frame in frames] == list("IPPPPPIP")
    return frames[0], frames[5], frames[6]


def usual(field):
    """Of all cells, in quarter pixels: how the scene pans."""
    return np.median(field.vectors.reshape(-1, 2), axis=0)


def test_an_i_frame_is_joined_to_the_group_before(pair):
    _, last, intra = pair
    assert intra.link is None and intra.previous is None
    found = joined(last, intra)
    assert found.link.origin == found.previous.origin == "transcoded"
    assert found.link.vectors.shape == (24, 32, 2) and found.link.vectors.dtype == np.int16
    assert usual(last.previous).any()
    np.testing.assert_allclose(usual(found.previous), usual(last.previous), atol=1)
    np.testing.assert_allclose(usual(found.link), usual(last.motion) + usual(found.previous), atol=1)
    np.testing.assert_array_equal(found.link.vectors, joined(last, intra).link.vectors)


def test_what_does_not_follow_stays_alone(pair):
    key, last, intra = pair
    assert joined(key, intra) is intra, "no field of its own"
    for other in (
        replace(intra, index=intra.index + 1),
        replace(intra, stream="another"),
        replace(intra, image=intra.image[:-4]),
        replace(intra, image=np.random.default_rng(0).integers(0, 256, intra.image.shape, np.uint8)),
        replace(intra, link=last.motion),
    ):
        assert joined(last, other) is other
    coarse = replace(last, motion=replace(last.motion, block=8))
    assert joined(coarse, intra) is intra


def test_without_x264_it_stays_alone(pair, monkeypatch):
    _, last, intra = pair
    monkeypatch.setattr("arseg.video.recoding.ENCODER", "libx264-that-is-not-there")
    assert joined(last, intra) is intra
