"""Files and flags change recipes; what is unknown or unfit is refused, and names of version 0.1 are taken."""

from __future__ import annotations

import sys
from dataclasses import asdict

import pytest

from arseg.errors import InputError
from arseg.train.default.recipes import ArRecipe, HrRecipe
from arseg.train.paper import run as paper_run
from arseg.train.paper.recipes import HR_RECIPES, PaperArRecipe, PaperHrRecipe
from arseg.train.recipes import RECIPES
from arseg.train.settings import changed, check, read_recipe_file, read_settings


def test_a_file_has_settings_for_both_phases(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "camvid-psp18"\nbatch = 4\ncrop = [360, 480]\n[hr]\nepochs = 30\n[ar]\nscale = 0.3\n')
    preset, settings = read_recipe_file(path, "ar")
    recipe = changed(RECIPES["ar"][preset].recipe, settings, str(path))
    assert (recipe.batch, recipe.crop, recipe.scale, recipe.epochs) == (4, (360, 480), 0.3, 100)
    _, settings = read_recipe_file(path, "hr")
    assert changed(HR_RECIPES["camvid-psp18"], settings, "x").epochs == 30


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
        ({"lr": "fast"}, r"mine: lr: expected a number, got 'fast'"),
        ({"crop": [1, 2, 3]}, r"mine: crop: expected a list of 2 numbers, such as \[1, 2\], got \[1, 2, 3\]"),
        ({"scales": 1.0}, r"mine: scales: expected a list of numbers"),
        ({"scales": ["a"]}, r"mine: scales: expected a number, got 'a'"),
        ({"optimiser": "adamax"}, r"mine: optimiser: expected one of adam, adamw, sgd, got 'adamax'"),
    ],
)
def test_unfit_settings_are_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        changed(PaperHrRecipe(), settings, "mine")


def test_whole_numbers_do_for_others():
    assert changed(PaperHrRecipe(), {"lr": 1, "scales": [1, 2]}, "x").scales == (1.0, 2.0)


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
        RECIPES["hr"]["camvid-psp"]


def test_old_names_are_taken_and_said(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text("rate = 0.5\naverage = 0.9\n[hr]\nstatistics = 'imagenet'\n[ar]\noverlap = 2.0\nlow_rate = 1.0\n")
    _, settings = read_recipe_file(path, "hr")
    lines: list[str] = []
    recipe = changed(PaperHrRecipe(), settings, "old.toml", lines.append)
    assert (recipe.lr, recipe.ema_decay, recipe.normalization) == (0.5, 0.9, "imagenet")
    assert lines[0] == "old.toml: rate is lr now; the old name goes in version 0.3" and len(lines) == 3
    _, settings = read_recipe_file(path, "ar")
    settings.pop("average")  # no setting of this recipe, by either name
    with pytest.warns(DeprecationWarning, match="old: low_rate is low_lr now"):
        recipe = changed(ArRecipe(), settings, "old")
    assert (recipe.lr, recipe.iou_loss_weight, recipe.low_lr) == (0.5, 2.0, 1.0)
    with pytest.raises(InputError, match="old: rate: expected a number, got 'fast'"):
        changed(ArRecipe(), {"rate": "fast"}, "old", lines.append)
    with pytest.raises(InputError, match="old: rate is lr now; give lr alone"):
        changed(ArRecipe(), {"rate": 1.0, "lr": 2.0}, "old")


def test_settings_out_of_range_are_refused_wherever_they_come_from():
    with pytest.raises(InputError, match="mine: batch: expected at least 1, got 0"):
        changed(PaperHrRecipe(), {"batch": 0}, "mine")
    with pytest.raises(InputError, match=r"^scale: expected at most 1, got 1\.5"):
        check(PaperArRecipe(scale=1.5))
    with pytest.raises(InputError, match=r"^crop: expected at least 32, got \d+$"):
        check(PaperHrRecipe(crop=(64, 16)))
    for recipe in (HrRecipe(), ArRecipe(), PaperHrRecipe(), PaperArRecipe()):
        check(recipe)


@pytest.mark.parametrize(("option", "given", "taken"), [([], None, 3), (["--workers", "2"], 2, 2)])
def test_the_number_of_processes_is_no_setting_of_the_result(monkeypatch, tmp_path, option, given, taken):
    """`--workers` goes past the recipes; the paper's have a setting of that name, which it overrides."""
    from arseg.cli import main

    seen = {}
    monkeypatch.setattr(paper_run, "_frames", lambda recipe, inputs, split: split)
    monkeypatch.setattr(
        "arseg.train.paper.train.train_paper_hr",
        lambda data, validation, output, recipe, **_: seen.update(vars(recipe)),
    )
    monkeypatch.setattr("arseg.train.default.hr.train_hr", lambda *_, **options: seen.update(options))
    for preset in ("camvid-psp18", "default"):
        arguments = ["--preset", preset, "--camvid", str(tmp_path), "-o", str(tmp_path / "run")]
        arguments += ["--set", "workers=3"] if preset != "default" else []
        monkeypatch.setattr(sys, "argv", ["arseg", "train", "hr", *arguments, *option])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        assert seen.pop("workers") == (taken if preset != "default" else given)


@pytest.mark.parametrize(
    ("phase", "given", "said"),
    [
        ("hr", {"lr": -1.0}, "lr: expected a number above 0, got -1"),
        ("hr", {"batch": 0}, "batch: expected at least 1, got 0"),
        ("hr", {"steps": -3}, "steps: expected at least 1, got -3"),
        ("hr", {"crop": [0, 64]}, "crop: expected at least 1, got 0"),
        ("hr", {"pasted": 3.0}, "pasted: expected at most 1, got 3"),
        ("ar", {"scale": 3.0}, "scale: expected at most 1, got 3"),
        ("ar", {"distances": [0, 1]}, "distances: expected at least 1, got 0"),
    ],
)
def test_the_default_recipes_have_ranges(phase, given, said):
    with pytest.raises(InputError, match=f"^--set: {said}"):
        changed(RECIPES[phase]["default"].recipe, given, "--set")
