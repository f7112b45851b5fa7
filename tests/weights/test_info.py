"""What a weights file says of itself, of every kind and age."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import arseg
from arseg.labels import CAMVID, CITYSCAPES, LabelSet
from arseg.networks.pyramid import PyramidNet
from arseg.terminal import out_console
from arseg.weights.build import build
from arseg.weights.files import DEFAULT_WEIGHTS, CheckpointError, read_config, save_checkpoint, tensor_shapes
from arseg.weights.info import weights_info, weights_report
from arseg.weights.made import command_line, how_made, source_commit


def told(path: Path) -> str:
    console = out_console()
    console.width = 200
    with console.capture() as seen:
        console.print(weights_report(weights_info(path)), highlight=False)
    return seen.get()


def test_shipped_weights():
    info = weights_info(DEFAULT_WEIGHTS)
    assert (info["kind"], info["height"], info["precision"]) == ("ar", 576, "float16")
    assert info["labels"] == CAMVID.to_json() and info["fusion"]["scale"] == 0.5
    assert info["parameters"]["all"] == sum(p.numel() for p in _values(DEFAULT_WEIGHTS))
    text = told(DEFAULT_WEIGHTS)
    assert "11 of CamVid: ██ sky" in text and "seen at a height of 576 pixels" in text
    assert "CamVid is for non-commercial use" in text and text.rstrip().endswith("lite0-camvid.md")


def _values(path: Path) -> list[torch.Tensor]:
    kind, config = read_config(path)
    state = build(kind, config).state_dict()
    return [value for key, value in state.items() if not key.endswith("num_batches_tracked")]


@dataclass(frozen=True)
class Recipe:
    seed: int = 3
    lr: float = 0.001
    crop: tuple[int, int] = (64, 96)


def test_a_record_of_how_they_were_made(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/arseg", "train", "hr", "--data", "my data"])
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"x")
    made = how_made(Recipe(), licence="CC0", videos=[Path("a/drive.mp4")], teacher=teacher, start=None)
    made["scores"] = {"hr": 71.5}
    config = {"classes": 11, "channels": 16, "wide": 16, "height": 64, "made": made, "labels": CITYSCAPES.to_json()}
    net = PyramidNet(11, 16, 16)
    save_checkpoint(net.state_dict(), tmp_path / "hr.safetensors", kind="hr", config=config, half=False)
    info = weights_info(tmp_path / "hr.safetensors")
    json.dumps(info)
    assert info["made"]["command"] == "arseg train hr --data 'my data'"
    assert info["made"]["files"] == {"teacher": "teacher.safetensors 8cdc1683"} and info["made"]["seed"] == 3
    assert info["precision"] == "float32" and list(info["parameters"]) == ["all", "network"]
    text = told(tmp_path / "hr.safetensors")
    for words in ("licence     CC0", "drive.mp4", "crop [64, 96]", "scores      hr 71.5", "arseg train hr --data"):
        assert words in text
    net.load_state_dict(arseg.load(tmp_path / "hr.safetensors").state_dict())


def test_an_adaptation_names_the_network_and_the_cut(tmp_path):
    pytest.importorskip("torchvision")
    net = arseg.accelerate("torchvision:lraspp_mobilenet_v3_large?num_classes=3", size=(64, 96))
    net.save(tmp_path / "fast.safetensors")
    info = weights_info(tmp_path / "fast.safetensors")
    assert info["network"]["line"] == "torchvision:lraspp_mobilenet_v3_large?num_classes=3"
    assert info["cut"]["preset"] == "lraspp" and set(info["parameters"]) == {"all", "high", "low", "fusion"}
    assert "AR-Seg around another network" in told(tmp_path / "fast.safetensors")


def test_classes_that_nobody_has_said(tmp_path):
    net = PyramidNet(5, 16, 16)
    config = {"classes": 5, "channels": 16, "wide": 16}
    save_checkpoint(net.state_dict(), tmp_path / "hr.safetensors", kind="hr", config=config)
    assert weights_info(tmp_path / "hr.safetensors")["labels"] is None
    assert "classes     not recorded" in told(tmp_path / "hr.safetensors")
    shapes = tensor_shapes(tmp_path / "hr.safetensors")[2]
    assert shapes["classifier.bias"] == ("F32", 5) and shapes["classifier.weight"][0] == "F16"


def test_what_is_no_weights_file(tmp_path):
    (tmp_path / "other.safetensors").write_bytes(b"none of ours")
    with pytest.raises(CheckpointError, match=r"other.safetensors: not a readable"):
        weights_info(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"no such weights file"):
        weights_info(tmp_path / "none.safetensors")


def test_only_the_program_has_a_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py", "secret"])
    assert command_line() is None
    monkeypatch.setattr("sys.argv", ["arseg/cli/__main__.py", "segment", "rtsp://me:word@host/live"])
    assert command_line().startswith("arseg segment rtsp://") and "word" not in command_line()
    assert source_commit() is None or len(source_commit()) >= 7


def test_label_sets_keep_what_they_say(tmp_path):
    assert LabelSet.from_json(weights_info(DEFAULT_WEIGHTS)["labels"]) == CAMVID
