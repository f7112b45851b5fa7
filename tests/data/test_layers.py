"""Clips of stills in which things move: labels stay true, and the frames differ as they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from arseg.data.cache import Kept
from arseg.data.layers import Patch, cut_patch, moving_frames
from arseg.data.pairs import GOP, clip_files, fitted, moving_clip, stored_clips
from arseg.labels import IGNORED
from arseg_ext import ops


def coloured(seed: int, size: tuple[int, int] = (96, 128)) -> tuple[np.ndarray, np.ndarray]:
    """A still whose colour says its label: 3 classes, the third in a small square, a strip ignored."""
    label = np.zeros(size, np.uint8)
    label[size[0] // 2 :] = 1
    top, left = np.random.default_rng(seed).integers(20, 60, 2)
    label[top : top + 16, left : left + 16] = 2
    label[:2] = IGNORED
    colours = np.array([[40, 40, 40], [120, 120, 120], [220, 220, 220], [0, 0, 0]], np.uint8)
    return colours[np.minimum(label, 3)], label


def test_every_frame_has_the_label_that_its_colours_have():
    frames = moving_frames(coloured(0), [coloured(1), coloured(2)], GOP, np.random.default_rng(0))
    assert len(frames) == GOP and all(label.shape == (96, 128) for _, label in frames)
    for image, label in frames:
        expected = np.array([40, 120, 220])
        for name in range(3):
            pixels = image[label == name].astype(int)
            near = np.abs(pixels - expected[name]).max(1) < 20
            assert len(pixels) == 0 or near.mean() > 0.7, "but at edges, which the enlarging smooths"
    assert np.abs(frames[0][0].astype(int) - frames[-1][0]).mean() > 1


def test_things_move_and_the_rest_stays_where_only_things_move():
    image = np.full((40, 60, 3), 100, np.uint8)
    patch = Patch(
        np.full((8, 8, 3), 250, np.uint8), np.full((8, 8), 5, np.uint8), np.ones((8, 8), bool), (10, 10), (30, 10), 1.0
    )
    places = []
    for moment in (0.0, 0.5, 1.0):
        frame, ids = Image.fromarray(image), Image.fromarray(np.zeros((40, 60), np.uint8))
        patch.drawn(frame, ids, moment)
        label = np.asarray(ids)
        assert (np.asarray(frame)[label == 0] == 100).all() and (np.asarray(frame)[label == 5] == 250).all()
        places.append(int(np.nonzero(label == 5)[1].min()))
    assert places == [10, 20, 30]


def test_what_is_a_thing():
    patch = cut_patch(coloured(3), (96, 128), np.random.default_rng(0))
    assert patch is not None and set(np.unique(patch.label[patch.mask])) == {2}
    ground = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    assert cut_patch(ground, (40, 40), np.random.default_rng(0)) is None


def test_vectors_of_a_moving_clip_lead_to_its_keyframe():
    rng = np.random.default_rng(7)
    textured = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    still = textured, coloured(0)[1]
    clip = moving_clip(still, [coloured(1)], rng, keep=3)
    key = torch.from_numpy(clip.key).permute(2, 0, 1)[None].float()
    frame = torch.from_numpy(clip.images[-1]).permute(2, 0, 1)[None].float()
    warped = ops.mv_warp(key, torch.from_numpy(clip.vectors[-1:]), block=4, frame_size=tuple(key.shape[-2:]))
    assert (warped - frame).square().mean() < (key - frame).square().mean()


def test_clips_have_one_size_and_files_of_their_own(tmp_path):
    stills = [coloured(0), coloured(1, (80, 200))]
    files = [path for _, path in clip_files(tmp_path, stills, 0, keep=2, size=(96, 128), motion="layers")]
    clips = stored_clips(files)
    assert [clip.key.shape for clip in clips] == [(96, 128, 3)] * 2
    assert "-layers-" in files[0].name and "-128x96-layers-" in files[1].name
    others = [path for _, path in clip_files(tmp_path, stills, 0, keep=2, size=(96, 128), chosen=[1])]
    assert len(others) == 1 and others[0] not in files
    image, label = fitted(stills[1], (96, 128), np.random.default_rng(0))
    assert image.shape == (96, 128, 3) and label.shape == (96, 128)


def test_what_is_kept_is_bounded():
    loaded: list[int] = []

    def load(index: int) -> bytes:
        loaded.append(index)
        return bytes(10)

    kept = Kept(4, load, len, bound=25)
    for _ in range(2):
        assert [len(item) for item in kept] == [10] * 4
    assert loaded == [0, 1, 2, 3, 2, 3], "two fit"
    assert kept[-1] == kept[3] and len(kept[1:3]) == 2
    with pytest.raises(IndexError):
        kept[4]
