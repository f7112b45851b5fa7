"""Weights by name: found, checked, and told where they are missing; and the shipped ones are what the table says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import torch

import arseg
from arseg import zoo
from arseg.doctor.installed import weights
from arseg.errors import InputError
from arseg.evaluate.flops import gmacs
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.segmenter import VideoSegmenter
from arseg.weights.build import build
from arseg.weights.files import CheckpointError, licence_of, read_checkpoint, save_checkpoint

CONFIG = {"classes": 3, "channels": 8, "wide": 8, "scale": 0.5, "window": 7}


def published(sha256: str) -> zoo.Published:
    return zoo.Published("tiny.safetensors", sha256, "a network of a test", "arseg train ar …", (0.1, 0.1), (1.0, 2.0))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A file, and its name in a zoo that has it besides the package's."""
    path = tmp_path / "mine" / "tiny.safetensors"
    path.parent.mkdir()
    save_checkpoint(build("ar", CONFIG).state_dict(), path, kind="ar", config=CONFIG)
    monkeypatch.setattr(zoo.ZOO, "_entries", {**zoo.ZOO._entries, "tiny": published(zoo.checksum(path))})
    monkeypatch.setenv(zoo.VARIABLE, f"{tmp_path / 'empty'}:{path.parent}")
    return path


def test_a_name_is_its_file(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing of that name lies here
    assert zoo.weights_file("tiny") == tiny
    loaded = arseg.load("tiny")
    assert isinstance(loaded, ARSegNet)
    torch.testing.assert_close(loaded.state_dict(), arseg.load(tiny).state_dict(), rtol=0, atol=0)
    rows = {row.name: row for row in zoo.listing()}
    assert rows["tiny"].path == tiny and rows["tiny"].card is None
    tiny.with_suffix(".md").write_text("# tiny")
    assert {row.name: row.card for row in zoo.listing()}["tiny"] == tiny.with_suffix(".md")


def test_a_missing_file_is_told_with_its_place_and_checksum(tiny, tmp_path, monkeypatch):
    sha256 = zoo.ZOO["tiny"].sha256
    tiny.unlink()
    with pytest.raises(CheckpointError) as told:
        arseg.load("tiny")
    words = str(told.value)
    assert words.startswith("tiny: tiny.safetensors is not in ") and sha256 in words and "arseg info --json" in words
    assert str(tiny.parent) in words and str(zoo.SHIPPED) in words and zoo.VARIABLE in words
    assert {row.name: row.path for row in zoo.listing()}["tiny"] is None


def test_another_file_is_refused_by_name_and_taken_by_path(tiny):
    state = build("ar", CONFIG).state_dict()
    save_checkpoint(state, tiny, kind="ar", config=CONFIG)
    with pytest.raises(CheckpointError, match=rf"^tiny: {re.escape(str(tiny))} has SHA-256 [0-9a-f]{{64}}, expected"):
        arseg.load("tiny")
    assert isinstance(arseg.load(tiny), ARSegNet)


def test_what_looks_like_a_name_and_is_none_gets_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"^lite00: no such weights file, and none of that name .*did you mean lite0\?"
    ):
        zoo.weights_file("lite00")
    for path in ("./lite00", "runs/lite00", "lite00.safetensors"):  # these are paths
        assert str(zoo.weights_file(path)) == path.removeprefix("./")
    (tmp_path / "lite00").write_bytes(b"")
    assert zoo.weights_file("lite00").name == "lite00"


def test_names_go_wherever_weights_do(tiny):
    from arseg.acceleration.network_source import network_from, portable

    assert isinstance(network_from("tiny"), ARSegNet)
    assert portable("tiny") == {"kind": "ar", "config": CONFIG}
    with pytest.raises(InputError, match="nobody has said what its classes are"):  # three classes that nobody has named
        VideoSegmenter("tiny")


def test_the_listing_imports_no_torch():
    code = "import sys; from arseg import zoo; print(len(zoo.listing()) == len(zoo.ZOO), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


BESIDE = [name for name in zoo.ZOO if not zoo.ZOO[name].packaged]


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_beside_the_releases_is_told_as_one(name, monkeypatch):
    monkeypatch.delenv(zoo.VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"{zoo.ZOO[name].sha256} from the project's releases"):
        zoo.weights_file(name)
    assert not [finding for finding in weights() if name in finding.part]  # `arseg doctor` does not miss it


@pytest.mark.parametrize("name", BESIDE)
def test_the_compute_of_files_beside_the_releases(name):
    config = {"arch": zoo.ZOO[name].file.removesuffix("-residual.safetensors"), "auxiliary": False, "scale": 0.5}
    with torch.device("meta"):
        network = build("ar", {**config, "window": 7, "fusion": "none", "grid": "aligned", "keyframe_residual": 0.74})
    assert isinstance(network, ARSegNet)
    counted = gmacs(network.eval(), 360, 480)
    assert (counted["hr"], counted["ar"]) == pytest.approx(zoo.ZOO[name].gmacs, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo.ZOO if zoo.ZOO[name].packaged])
def test_shipped_weights_are_what_the_table_says(name):
    entry = zoo.ZOO[name]
    path = zoo.weights_file(name)  # the checksum is right
    assert path == zoo.SHIPPED / entry.file and path.stat().st_size <= 20e6
    kind, config, _ = read_checkpoint(name)
    with torch.device("meta"):
        network = build(kind, config)
    assert isinstance(network, ARSegNet) and network.input_height is not None
    counted = gmacs(network, network.input_height, network.input_height * 4 // 3)
    assert (counted["hr"], counted["ar"]) == pytest.approx(entry.gmacs, abs=0.006)
    card = path.with_suffix(".md").read_text()
    assert card.startswith(f"# {entry.file}\n")
    assert all(f"{figure:.2f}" in card for figure in entry.gmacs) and all(f"{miou:.1f}" in card for miou in entry.miou)


def test_a_copy_elsewhere_is_found_too(tmp_path, monkeypatch):
    entry, shipped = zoo.ZOO[zoo.DEFAULT], zoo.SHIPPED
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "nowhere")
    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=entry.sha256):
        zoo.weights_file(zoo.DEFAULT)
    shutil.copy(shipped / entry.file, tmp_path)
    assert zoo.weights_file(zoo.DEFAULT) == tmp_path / entry.file


def test_the_shipped_file_has_the_terms_of_its_entry(tmp_path):
    """It was made before files said so themselves; a copy elsewhere is any file."""
    published = zoo.ZOO[zoo.DEFAULT]
    path = zoo.SHIPPED / published.file
    assert zoo.record_of(path) == {"command": published.made_by, "licence": published.licence}
    assert licence_of(path) == licence_of(zoo.DEFAULT) == published.licence
    assert zoo.record_of(tmp_path / published.file) is None
