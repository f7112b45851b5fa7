"""Presets hold the paper's figures; files and flags change them, and what is unknown is refused."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from arseg.errors import InputError
from arseg.train.default.ar import ArRecipe
from arseg.train.default.hr import HrRecipe
from arseg.train.paper.recipes import AR_PRESETS, HR_PRESETS, PaperArRecipe, PaperHrRecipe
from arseg.train.paper.train import plain_steps, total_steps
from arseg.train.settings import changed, preset_named, read_recipe_file, read_settings


def test_the_presets_are_the_papers():
    for presets in (HR_PRESETS, AR_PRESETS):
        assert set(presets) == {"camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18"}
        for name, recipe in presets.items():
            camvid = name.startswith("camvid")
            assert recipe.arch == name and recipe.flip == 0.5 and recipe.warmup == 0
            assert recipe.epochs == (100 if camvid else 200)
            assert (recipe.optimiser, recipe.rate) == (("adam", 1e-3) if camvid else ("sgd", 1e-2))
            assert recipe.batch == (16 if name == "cityscapes-bise18" else 8)
            assert recipe.crop == ((720, 960) if camvid else (1024, 512))
            assert len(recipe.scales) == (10 if camvid else 8)
            if not camvid:
                assert (recipe.momentum, recipe.weight_decay) == (0.9, 5e-4)
    assert [HR_PRESETS[n].jitter for n in HR_PRESETS] == [0.5, 0.5, 0.4, 0.4]
    assert all(recipe.jitter == 0.5 and recipe.distances == (11,) for recipe in AR_PRESETS.values())
    assert [AR_PRESETS[n].plain_epochs for n in AR_PRESETS] == [50, 50, 0, 0]
    assert [AR_PRESETS[n].auxiliary for n in ("camvid-psp18", "cityscapes-psp18")] == [1.0, 0.4]
    assert [HR_PRESETS[n].statistics for n in HR_PRESETS] == ["camvid", "camvid", "imagenet", "cityscapes-bise"]


def test_steps_come_from_epochs_unless_they_are_given():
    recipe = PaperArRecipe(epochs=100, batch=8)
    assert total_steps(recipe, 367) == 4587 and plain_steps(recipe, 367) == 2294
    short = PaperArRecipe(steps=10)
    assert total_steps(short, 367) == 10 and plain_steps(short, 367) == 5
    assert plain_steps(PaperArRecipe(plain_epochs=0), 367) == 0


def test_a_file_has_settings_for_both_phases(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "camvid-psp18"\nbatch = 4\ncrop = [360, 480]\n[hr]\nepochs = 30\n[ar]\nscale = 0.3\n')
    preset, settings = read_recipe_file(path, "ar")
    recipe = changed(preset_named(AR_PRESETS, preset), settings, str(path))
    assert (recipe.batch, recipe.crop, recipe.scale, recipe.epochs) == (4, (360, 480), 0.3, 100)
    _, settings = read_recipe_file(path, "hr")
    assert changed(HR_PRESETS["camvid-psp18"], settings, "x").epochs == 30


def test_values_are_tomls_or_strings():
    assert read_settings(["a=3", "b = 0.5", "c=[1, 2]", "d=adam", 'e="x y"', "f=true", "g=a=b"]) == {
        "a": 3,
        "b": 0.5,
        "c": [1, 2],
        "d": "adam",
        "e": "x y",
        "f": True,
        "g": "a=b",
    }
    with pytest.raises(InputError, match="--set: expected key=value, got 'batch'"):
        read_settings(["batch"])


@pytest.mark.parametrize("recipe", [HrRecipe(), ArRecipe(), PaperHrRecipe(), PaperArRecipe()])
def test_every_field_can_be_set_to_what_it_is(recipe):
    """As JSON or TOML would give it: lists in place of tuples."""
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(recipe).items()}
    assert changed(recipe, settings, "x") == recipe


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epoch": 3}, r"mine: unknown key 'epoch'; did you mean epochs\?"),
        ({"zzz": 3}, r"mine: unknown key 'zzz'; expected one of arch, epochs,"),
        ({"batch": 4.0}, r"mine: batch: expected a whole number, got 4\.0"),
        ({"batch": True}, r"mine: batch: expected a whole number, got True"),
        ({"rate": "fast"}, r"mine: rate: expected a number, got 'fast'"),
        ({"crop": [1, 2, 3]}, r"mine: crop: expected a list of 2 values, such as \[1, 2\], got \[1, 2, 3\]"),
        ({"scales": 1.0}, r"mine: scales: expected a list of values"),
        ({"scales": ["a"]}, r"mine: scales: expected a number, got 'a'"),
        ({"optimiser": "adamax"}, r"mine: optimiser: expected one of adam, adamw, sgd, got 'adamax'"),
    ],
)
def test_unfit_settings_are_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        changed(PaperHrRecipe(), settings, "mine")


def test_whole_numbers_do_for_others():
    assert changed(PaperHrRecipe(), {"rate": 1, "scales": [1, 2]}, "x").scales == (1.0, 2.0)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml: no such file; expected a TOML file of settings"):
        read_recipe_file(tmp_path / "none.toml", "hr")
    (tmp_path / "bad.toml").write_text("batch = \n")
    with pytest.raises(InputError, match=r"bad\.toml: not a TOML file \("):
        read_recipe_file(tmp_path / "bad.toml", "hr")
    (tmp_path / "odd.toml").write_text("hr = 3\n")
    with pytest.raises(InputError, match=r"odd\.toml: hr: expected a table \[hr\], got 3"):
        read_recipe_file(tmp_path / "odd.toml", "hr")


def test_unknown_presets_name_the_nearest():
    with pytest.raises(InputError, match=r"got 'camvid-psp'; did you mean camvid-psp18\?"):
        preset_named(HR_PRESETS, "camvid-psp")
