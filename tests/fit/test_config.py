"""The config: layers, what is refused and how, and its dump."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.tiny_transformers import save_segformer

from arseg.data.opened import open_data
from arseg.errors import InputError
from arseg.fit.config import as_toml, config_of, read_fit_config
from arseg.fit.example import STARTER
from arseg.fit.presets import FIT_PRESETS
from arseg.train.recipes import RECIPES


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes mine.toml in an empty current folder, and reads it."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, *given: str):
        Path("mine.toml").write_text(text)
        return read_fit_config("mine.toml", given)

    return read


def test_set_lies_over_the_file_and_the_file_over_the_preset(written):
    config = written('preset = "quick"\n[hr]\nsteps = 7\nbatch = 2\n[ar]\nlow_steps = 5\n', "hr.steps=9")
    quick = FIT_PRESETS["quick"]
    assert (config.hr_recipe.steps, config.hr_recipe.batch, config.ar_recipe.low_steps) == (9, 2, 5)
    assert (config.ar_recipe.steps, config.adapt.batch) == (quick["ar.steps"], quick["adapt.batch"])
    assert config.hr_recipe.crop == RECIPES["hr"]["default"].recipe.crop


def test_the_recipe_is_chosen_in_its_table(written):
    config = written("", "hr.preset=camvid-bise18", "hr.epochs=3")
    assert type(config.hr_recipe) is type(RECIPES["hr"]["camvid-bise18"].recipe)
    assert config.hr_recipe.epochs == 3 and config.ar.preset == "default"


def test_one_seed_is_that_of_all_phases_but_for_one_that_has_its_own(written):
    config = written("seed = 3\n[ar]\nseed = 5\n")
    assert (config.seed, config.hr_recipe.seed, config.ar_recipe.seed, config.adapt.seed) == (3, 3, 5, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hr]\nstepz = 3\n", "unknown key 'hr.stepz'; did you mean hr.steps?"),
        ("stepz = 3\n", "unknown key 'stepz'; did you mean hr.steps"),
        ("steps = 3\n", "unknown key 'steps'; did you mean hr.steps or ar.steps or adapt.steps?"),
        ("[dta]\nsource = 'x'\n", "unknown key 'dta.source'; did you mean data.source?"),
        ("[hr]\nsource = 'x'\n", "unknown key 'hr.source'; did you mean data.source?"),
        ("outptu = 'x'\n", "unknown key 'outptu'; did you mean output?"),
        ("[data]\nfolder = 'x'\n", "unknown key 'data.folder'; did you mean data.source?"),
        ("folder = 'x'\n", "unknown key 'folder'; did you mean data.source?"),
        ("[data]\nline = 'x'\n", "unknown key 'data.line'; did you mean model.line?"),
        ("[data]\nsplit = 'x'\n", "unknown key 'data.split'; [data] has source, videos, prepared, validation, licence"),
        ("[hr]\nscale = 0.5\n", "unknown key 'hr.scale'; did you mean hr.scales or ar.scale or adapt.scale?"),
        ("[ar]\nheight = 9\n", "unknown key 'ar.height'; did you mean hr.height or adapt.height?"),
        ("[eval]\nsteps = 9\n", "unknown key 'eval.steps'; did you mean hr.steps or ar.steps or adapt.steps?"),
        ("[ar]\nteacher = 'x'\n", "unknown key 'ar.teacher'; did you mean model.weights?"),
        ("[model.hr]\nx = 1\n", "unknown table [model.hr]; expected [data], [model], "),
        ("preset = 'quik'\n", "preset: expected one of default, quick, got 'quik'; did you mean quick?"),
        ("[hr]\npreset = 'defalt'\n", "[hr]: preset: expected one of default, "),
        ("[hr]\nrare = 'thing'\n", '[hr]: rare: expected a list of names, such as ["a", "b"], got \'thing\''),
        (
            "zzz = 1\n",
            "unknown key 'zzz'; expected preset, output, seed, device, workers, tensorboard, or a table of [data], ",
        ),
        ("data = 'x'\n", "data: expected a table [data] of settings, got 'x'"),
        ("[hr]\nsteps = 'many'\n", "[hr]: steps: expected a whole number, got 'many'"),
        ("[eval]\ngop = 1\n", "[eval]: gop: expected at least 2, got 1"),
        ("[adapt]\nscale = 1.5\n", "[adapt]: scale: expected at most 1, got 1.5"),
        ("[data]\nvideos = 'a.mp4'\n", '[data]: videos: expected a list of names, such as ["a", "b"], got \'a.mp4\''),
        ("seed = -1\n", "seed: expected at least 0, got -1"),
        ("[hr\n", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_that_names_the_file(written, text, message):
    with pytest.raises(InputError) as refused:
        written(text)
    assert str(refused.value).startswith("mine.toml: ") and message in str(refused.value)


def test_set_is_refused_under_its_own_name(written):
    with pytest.raises(InputError, match=r"^--set: unknown key 'ar.stpes'; did you mean ar.steps\?"):
        written("", "ar.stpes=3")
    with pytest.raises(InputError, match=r"^--set: preset: expected one of default, quick, .* did you mean quick\?"):
        written("", "preset=quik")


def test_a_missing_file_says_how_to_begin_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file; expected a config, which `arseg fit --init .*` begins"):
        read_fit_config(tmp_path / "none.toml")


def test_the_dump_reads_back_as_the_same_config(written):
    text = '[data]\nsource = "a \\" b"\nvideos = ["x.mp4"]\n[hr]\nlr = 1e-7\n[ar]\nwarp = false\ndistances = [1, 5]\n'
    config = written(text, "preset=quick", "seed=4")
    assert written(as_toml(config.record())) == config


def test_the_starter_is_a_config_and_so_is_what_it_has_commented_out(written):
    config = written(STARTER)
    assert (config.data.source, config.output) == ("my-labels", Path("runs/mine"))
    assert asdict(config.hr_recipe) == asdict(config_of(("", {})).hr_recipe)
    lines = [line.removeprefix("# ") for line in STARTER.splitlines()]
    everything = written("\n".join(line for line in lines if "=" in line or line.startswith("[")))
    assert everything.model.weights == "network.pth" and everything.eval.consecutive is True


def test_recipes_follow_from_the_data_where_nothing_else_is_said(written, labelled):
    config = written("[ar]\nlow_steps = 5\nsteps = 6\n")
    fitted = config.fitted(open_data(labelled))
    assert (config.ar_recipe.streets, fitted.ar_recipe.streets) == (150, 0), "no street has these classes"
    assert fitted.hr_recipe.rows == fitted.ar_recipe.rows == 64 and fitted.hr_recipe.steps < config.hr_recipe.steps
    assert (fitted.ar_recipe.low_steps, fitted.ar_recipe.steps) == (5, 6)


@pytest.mark.slow  # imports transformers
def test_frames_are_seen_at_the_height_of_an_image_processor(written, labelled):
    pytest.importorskip("transformers", reason="wants the extra `transformers`")
    save_segformer(Path("segformer"), height=96)
    data, line = open_data(labelled), '[model]\nline = "transformers:segformer"\n'
    fitted = written(line).fitted(data)
    assert fitted.hr_recipe.height == 96 and fitted.ar_recipe == RECIPES["ar"]["default"].recipe_for(data, 96)
    fitted = written(f"{line}[hr]\nheight = 80\n").fitted(data)
    assert (fitted.hr_recipe.height, fitted.hr_recipe.rows) == (80, 64), "of what is trained for, not of the processor"
    assert fitted.ar_recipe == RECIPES["ar"]["default"].recipe_for(data, 80)
    assert written(f"{line}[hr]\npreset = 'default-large'\n").fitted(data).hr_recipe.height == 576


def test_a_script_adds_a_preset(written, monkeypatch):
    monkeypatch.setattr(FIT_PRESETS, "_entries", {**FIT_PRESETS._entries})
    FIT_PRESETS.register("mine", {"hr.steps": 11})
    assert written('preset = "mine"').hr_recipe.steps == 11
    FIT_PRESETS.register("wrong", {"hr.stesp": 11})
    with pytest.raises(InputError, match=r"preset wrong: unknown key 'hr.stesp'; did you mean hr.steps\?"):
        written('preset = "wrong"')
