"""What follows from labelled data: sizes, steps, streets, rare classes, weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree, run_tree
from helpers.own_data import own_folder
from PIL import Image

from arseg.data.opened import open_data
from arseg.data.prepare import Encoding, prepare
from arseg.errors import InputError
from arseg.labels import CAMVID, LabelSet
from arseg.train.default.for_data import (
    BOUND,
    Census,
    check_classes,
    given_or_counted,
    training_stills,
    with_epochs,
)
from arseg.train.default.recipes import LARGE, LATER, ArRecipe, HrRecipe, settings_of
from arseg.train.losses import class_weights
from arseg.train.recipes import RECIPES


def data_of(tmp_path: Path, sizes: list[tuple[int, int]], count: int, labels: LabelSet) -> SimpleNamespace:
    """Data of which the recipes ask nothing but the pictures' sizes, their number and the classes."""
    frames = []
    for number, (height, width) in enumerate(sizes):
        path = tmp_path / f"{number}.png"
        Image.new("L", (width, height)).save(path)
        frames.append(SimpleNamespace(image=path))

    class Frames(list):
        name, frames = "own", [frames[k % len(frames)] for k in range(count)]

    return SimpleNamespace(layout="folder", labels=labels, frames=lambda split: Frames(range(count)))


def test_camvid_in_another_layout_has_the_same_recipe(tmp_path):
    """But for the height that its weights say, which is the frames' own."""
    data = data_of(tmp_path, [(360, 480)], 367, CAMVID)
    assert RECIPES["hr"]["default"].recipe_for(data) == replace(HrRecipe(), height=360)
    assert RECIPES["hr"]["default-large"].recipe_for(data) == LARGE
    assert RECIPES["ar"]["default"].recipe_for(data, LARGE.height) == ArRecipe()
    assert RECIPES["ar"]["default"].recipe_for(None) == ArRecipe()


def test_camvid_itself_keeps_its_recipe(tmp_path):
    run_tree(tmp_path, 3)
    data = open_data(f"camvid:{tmp_path}")
    assert RECIPES["hr"]["default"].recipe_for(data) == HrRecipe()
    assert RECIPES["ar"]["default"].recipe_for(data, 576) == ArRecipe()


def test_wide_and_large_frames_are_shrunk_and_few_take_fewer_steps(tmp_path):
    data = data_of(tmp_path, [(1024, 2048), (1024, 2048), (512, 512)], 92, LabelSet.of(3))
    recipe = RECIPES["hr"]["default"].recipe_for(data)
    assert (recipe.rows, recipe.height, recipe.crop, recipe.scales) == (360, 360, (288, 576), (0.75, 1.75))
    assert recipe.steps == 1252, "half as many as for CamVid's 367 frames, four times 92"
    assert (recipe.street_scenes, recipe.street_share) == (0, 0.0)
    large = RECIPES["hr"]["default-large"].recipe_for(data)
    assert (large.rows, large.height, large.crop) == (576, 576, (384, 768))
    np.testing.assert_allclose(large.scales, (1.1 / 1.6, 2.4 / 1.6))
    phase2 = RECIPES["ar"]["default"].recipe_for(data, 360)
    assert (phase2.rows, phase2.crop, phase2.streets, phase2.street_share) == (360, (256, 480), 0, 0.0)
    np.testing.assert_allclose(phase2.scales, (1.28 / 1.6, 2.4 / 1.6))


def test_a_networks_own_height_is_taken_where_the_recipe_has_none(tmp_path):
    data = data_of(tmp_path, [(360, 480)], 367, CAMVID)
    recipe = RECIPES["hr"]["default"].recipe_for(data, 540)
    assert (recipe.height, recipe.rows, recipe.crop, recipe.steps) == (540, 360, (448, 576), 2500)
    np.testing.assert_allclose(recipe.scales, (0.75 * 1.5, 1.75 * 1.5))
    assert RECIPES["hr"]["default-large"].recipe_for(data, 540) == LARGE
    run_tree(camvid_tree(tmp_path / "camvid", before=1), 3)
    camvid = open_data(f"camvid:{tmp_path / 'camvid'}")
    assert RECIPES["hr"]["default"].recipe_for(camvid, 540).height == 540
    assert RECIPES["hr"]["default-large"].recipe_for(camvid, 540) == LARGE


def test_small_frames_are_not_enlarged_by_the_first_recipe(tmp_path):
    recipe = RECIPES["hr"]["default"].recipe_for(data_of(tmp_path, [(180, 240)], 5, LabelSet.of(2)))
    assert (recipe.rows, recipe.height, recipe.crop) == (180, 180, (128, 192))


def test_passes_decide_the_steps():
    assert with_epochs(HrRecipe(epochs=3), 20).steps == 8  # 60 frames in eights
    recipe = with_epochs(ArRecipe(epochs=1.5, low_steps=0), 20)
    assert (recipe.low_steps, recipe.steps) == (0, 5)
    assert with_epochs(HrRecipe(), 20) == HrRecipe()


def test_runs_of_before_go_on():
    """Settings that they do not know are not among a run's, unless they are other than what was done then."""
    for recipe in (HrRecipe(), ArRecipe()):
        assert all(LATER[key] == value for key, value in asdict(recipe).items() if key in LATER)
        assert not set(settings_of(recipe)) & set(LATER)
    assert settings_of(replace(HrRecipe(), rows=480, rare=("car",)))["rare"] == ("car",)
    assert len(settings_of(HrRecipe())) == 14 and len(settings_of(ArRecipe())) == 24


def test_rare_classes_are_those_with_few_pixels():
    label = np.zeros((100, 100), np.uint8)
    label[:4], label[4:30], label[30:40] = 1, 2, 255
    census = Census.of([(np.zeros((100, 100, 3), np.uint8), label)])
    names = LabelSet.of(4, classes=["ground", "pole", "wall", "absent"])
    assert census.rare(names, None) == [1]
    assert census.rare(names, ["wall"]) == [2]
    assert census.pixels(names).tolist() == [6000, 400, 2600, 0]
    assert census.rare(CAMVID, None) == [2, 6, 7, 8, 9, 10]
    with pytest.raises(InputError, match=r"rare: 'wal' is no class; expected some of ground, pole"):
        census.rare(names, ["wal"])
    with pytest.raises(InputError, match=r"no pixel of `train` is of one of 2 classes"):
        Census.of([(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8))]).pixels(LabelSet.of(2))


def test_weights_are_the_authors_or_counted(tmp_path):
    data = open_data(own_folder(tmp_path, 3))
    stills = training_stills(data, 360)
    assert isinstance(stills, list) and len({label.shape for _, label in stills}) == 3
    census = Census.of(stills)
    counted = given_or_counted(data, census)
    torch.testing.assert_close(counted, class_weights([label for _, label in stills], 2))
    assert counted[1] > counted[0]
    assert given_or_counted(replace(data, class_weights=(1.0, 4.0)), census).tolist() == [1, 4]


def test_data_that_do_not_fit_into_memory_are_read_when_asked_for(tmp_path, monkeypatch):
    data = open_data(own_folder(tmp_path, 3))
    monkeypatch.setattr("arseg.train.default.for_data.BOUND", 3 * 72 * 96)
    stills = training_stills(data, 360)
    assert not isinstance(stills, list) and len(stills) == 3 and stills[0][1].shape == (72, 96)
    assert BOUND > 1e9


def test_one_class_alone_cannot_be_learned():
    with pytest.raises(InputError, match="expected at least 2 classes, got road; what is not of a class"):
        check_classes(LabelSet.of(1, classes=["road"]))


def test_prepared_frames_stay_as_large_as_they_are(tmp_path):
    camvid = camvid_tree(tmp_path / "camvid", snippets=2, before=4, size=(144, 192))
    frames = open_data(f"camvid:{camvid}").source.frames(camvid, "train", sequences=camvid / "frames", void="ignore")
    prepare(frames, tmp_path / "prepared", Encoding(gop=4), [1], report=lambda line: None)
    recipe = RECIPES["ar"]["default"].recipe_for(None, 72, tmp_path / "prepared")
    assert (recipe.rows, recipe.crop, recipe.streets) == (144, (64, 64), 150)
    np.testing.assert_allclose(recipe.scales, (0.4, 0.75), err_msg="they are seen at half of their height")
    assert recipe.steps == 148
