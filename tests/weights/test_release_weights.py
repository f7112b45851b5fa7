"""tools/release_weights.py: the files beside a release are made, and made alike, of what the recipe trains."""

import importlib.util
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from arseg.networks import make_published
from arseg.train.paper import recipes
from arseg.train.settings import changed, read_settings
from arseg.weights import read_checkpoint, save_checkpoint
from arseg.zoo import ZOO, checksum

ROOT = Path(__file__).resolve().parents[2]
CARDS = ROOT / "docs" / "cards"
BESIDE = [name for name in ZOO if not ZOO[name].packaged]
JOINED = {
    "arch": "camvid-bise18",
    "auxiliary": False,
    "scale": 0.5,
    "window": 7,
    "fusion": "attention",
    "grid": "aligned",
}


spec = importlib.util.spec_from_file_location("release_weights", ROOT / "tools" / "release_weights.py")
assert spec is not None and spec.loader is not None
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(*arguments: object) -> int:
    return tool.main([str(argument) for argument in arguments])


def trained(path: Path) -> Path:
    """A file as `arseg train ar --preset camvid-bise18` writes it, with small networks' worth of its tensors."""
    fusion = make_published("camvid-bise18", "fused").fusion.state_dict()
    state = {f"fusion.{key}": value for key, value in fusion.items()} | {
        "high.a": torch.ones(3),
        "low.a": torch.ones(3),
    }
    save_checkpoint(state, path, kind="ar", config=JOINED)
    return path


def test_the_fusion_goes_and_the_constants_come(tmp_path, capsys):
    source = trained(tmp_path / "ar.safetensors")
    # These are not the published ones, and that is said.
    assert [run(f"bise18={source}", "-o", tmp_path / folder) for folder in ("a", "b")] == [1, 1]
    assert "is not the file of bise18-residual" in capsys.readouterr().err
    path = tmp_path / "a" / ZOO["bise18-residual"].file
    kind, config, state = read_checkpoint(path)
    assert kind == "ar" and sorted(state) == ["high.a", "low.a"]
    assert {key: config[key] for key in ("fusion", "keyframe_residual", "keyframe_weight", "scale")} == {
        "fusion": "none",
        "keyframe_residual": 1.0,
        "keyframe_weight": 16.0,
        "scale": 0.5,
    }
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    card = path.with_suffix(".md").read_text()
    assert card.startswith(f"# {path.name}\n") and "](.." not in card and "trust" in card
    assert (tmp_path / "a" / "SHA256SUMS").read_text() == f"{checksum(path)}  {path.name}\n"


@pytest.mark.parametrize(
    "given, said", [("psp18={}", 'of camvid-psp18, got kind "ar" of camvid-bise18'), ("{}", "expected NAME=FILE")]
)
def test_other_files_are_refused(given, said, tmp_path, capsys):
    source = trained(tmp_path / "ar.safetensors")
    with pytest.raises(SystemExit, match="2"):
        run(given.format(source), "-o", tmp_path)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", BESIDE)
def test_cards_and_commands(name):
    entry = ZOO[name]
    card = (CARDS / entry.file).with_suffix(".md").read_text()
    assert card.startswith(f"# {entry.file}\n")
    assert all(f"{figure:.2f}" in card for figure in entry.gmacs) and all(f"{miou:.1f}" in card for miou in entry.miou)
    first, second, _ = (shlex.split(command) for command in entry.made_by.split("&&"))
    for table, command in ((recipes.HR_RECIPES, first), (recipes.AR_RECIPES, second)):
        given = [value for key, value in pairwise(command) if key == "--set"]
        assert changed(table[command[command.index("--preset") + 1]], read_settings(given), "--set")


@pytest.mark.slow
@pytest.mark.parametrize("name", BESIDE)
def test_the_trained_weights_become_the_published_files(name, shared, tmp_path):
    """`shared` has the keyframe network and the branch in two files; joined, they are what the recipe trains."""
    short = name.removesuffix("-residual")
    _, _, high = read_checkpoint(shared / "data" / "weights" / f"camvid-{short}-hr.safetensors")
    kind, config, state = read_checkpoint(shared / "data" / "weights" / f"camvid-{short}-ar05-low.safetensors")
    state |= {f"high.{key}": value for key, value in high.items() if not key.startswith("auxiliary.")}
    save_checkpoint(state, tmp_path / "ar.safetensors", kind=kind, config=config)
    assert run(f"{short}={tmp_path / 'ar.safetensors'}", "-o", tmp_path) == 0
    assert checksum(tmp_path / ZOO[name].file) == ZOO[name].sha256
