"""Pairs out of videos whose frames are labelled: what they hold, and that they are made once."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dataset_trees import camvid_tree, save
from helpers.folder_trees import CLASSES, three_classes

from arseg.data.camvid import camvid_frames
from arseg.data.datasets import LabelledFrame, LabelledFrames
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared, read_pair
from arseg.data.real_pairs import prepared_clips, run_clips
from arseg.errors import InputError
from arseg.train.default.pairs import frames_at, sample_pairs
from arseg.train.default.recipes import ArRecipe

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


def test_pictures_of_several_sizes_give_views_of_one(tmp_path):
    made = []
    for size, name in (((72, 96), "a"), ((48, 104), "b")):
        stills = three_classes(1, size)
        for place in range(4):
            save(three_classes(1, size, seed=place)[0][0], tmp_path / "frames" / name / f"{place}.png")
        save(stills[0][1], tmp_path / "labels" / f"{name}.png")
        paths = tuple(tmp_path / "frames" / name / f"{place}.png" for place in range(4))
        made.append(LabelledFrame(name, paths[3], tmp_path / "labels" / f"{name}.png", paths, 3))
    frames = LabelledFrames("mine", CLASSES, np.zeros((3, 3), np.uint8), made, np.asarray)
    prepare(frames, tmp_path / "prepared", Encoding(gop=4), [1, 3], report=lambda line: None)
    clips = prepared_clips(Prepared(tmp_path / "prepared"), [1, 2, 3])
    for clip, item in zip(clips, Prepared(tmp_path / "prepared").items, strict=True):
        assert (
            clip.key.shape == (48, 96, 3) and clip.images.shape == (1, 48, 96, 3) and clip.labels.shape == (1, 48, 96)
        )
        assert clip.vectors.shape == (1, 12, 24, 2)
        whole = read_pair(item, decoded=True)
        top, left = (12, 0) if item.name == "a" else (0, 4)
        np.testing.assert_array_equal(clip.images[0], whole.image[top : top + 48, left : left + 96])
        np.testing.assert_array_equal(clip.vectors[0], whole.vectors[top // 4 :, left // 4 :][:12, :24])
    recipe = ArRecipe(crop=(40, 64), scales=(0.8, 1.2), batch=4)
    for seed in range(10):
        sample_pairs([(frames_at(clips, [1, 3]), 4)], recipe, np.random.default_rng(seed))
