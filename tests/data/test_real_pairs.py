"""Pairs out of videos whose frames are labelled: what they hold, and that they are made once."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dataset_trees import camvid_tree

from arseg.data.camvid import camvid_frames
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared
from arseg.data.real_pairs import prepared_clips, run_clips
from arseg.errors import InputError

pytestmark = pytest.mark.slow  # encodes


def test_frames_before_a_labelled_one_become_clips(tmp_path):
    root = camvid_tree(tmp_path / "camvid", snippets=2, before=4)
    frames = camvid_frames(root, "train", sequences=root / "frames", void="ignore")
    clips = run_clips(tmp_path / "pairs", frames, (72, 96), seed=0)
    assert len(clips) == 4, "two of each"
    for number, clip in enumerate(clips):
        image, label = frames[number // 2]
        (distance,) = clip.distances
        assert 1 <= distance <= frames.frames[number // 2].index
        np.testing.assert_array_equal(clip.labels, label[None])
        assert clip.vectors.shape == (1, 18, 24, 2) and clip.vectors.any()
        assert np.abs(clip.images[0].astype(int) - image).mean() < 12, "compressed"
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()}
    again = run_clips(tmp_path / "pairs", frames, (72, 96), seed=0)
    np.testing.assert_array_equal(again[0].vectors, clips[0].vectors)
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()}
    assert len(run_clips(tmp_path / "small", frames, (32, 48), seed=0)[0].labels[0]) == 32


def test_single_frames_have_none(tmp_path):
    root = camvid_tree(tmp_path / "camvid", snippets=1, before=1)
    assert len(run_clips(tmp_path / "pairs", camvid_frames(root, "train"), (72, 96), seed=0)) == 0


def test_prepared_frames_keep_their_vectors(tmp_path):
    root = camvid_tree(tmp_path / "camvid", snippets=2, before=4)
    frames = camvid_frames(root, "train", sequences=root / "frames", void="ignore")
    prepare(frames, tmp_path / "prepared", Encoding(gop=4), [1, 3], report=lambda line: None)
    made = Prepared(tmp_path / "prepared")
    clips = prepared_clips(made, [1, 2, 3])
    assert sorted(int(clip.distances[0]) for clip in clips) == [1, 1, 3, 3]
    for clip, item in zip(clips, made.items, strict=True):
        with np.load(item.vectors) as stored:
            np.testing.assert_array_equal(clip.vectors[0], stored["vectors"])
    with pytest.raises(InputError, match="no labelled frame at a distance of 2; prepare it with -d 1-3"):
        prepared_clips(made, [2])
