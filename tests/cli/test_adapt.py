"""`arseg adapt` from the video to an overlay, and one line on stderr for bad input."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from arseg.weights.build import build
from arseg.weights.files import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow  # trains

CODE = """
import torch

def network():
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.ReLU())
    return torch.nn.Sequential(body, torch.nn.Conv2d(8, 3, 1))
"""
SMALL = ("--steps", 2, "--batch", 1, "--crop", "32x48", "--gop", 6)


@pytest.fixture(autouse=True)
def code_of_a_network(arseg):
    Path("mine.py").write_text(CODE)


def only_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("arseg: ")
    return lines[0]


def test_from_a_video_to_its_overlay(arseg, video):
    code, out, err = arseg(
        "adapt", video, "--model", "mine.py:network", "-o", "net.safetensors", "--figures", "t.json", *SMALL
    )
    assert code == 0, err
    assert "GMACs a frame" in out and out.endswith("t.json\nnet.safetensors\n")
    assert "street.mp4: 2 groups to train on, 1 held out" in err
    record = json.loads(Path("t.json").read_text())
    assert record["model"] == "mine.py:network" and record["size"] == [72, 96]
    assert len(record["agreement"]["ar after"]["miou"]) == 6
    assert sorted(os.listdir()) == ["mine.py", "net.safetensors", "net.safetensors.run", "t.json"]

    # The same from what ran, printed as JSON: the same weights, and the same figures.
    assert arseg("adapt", "--config", "net.safetensors.run/config.toml", "-o", "again.safetensors", "--json") == (
        0,
        json.dumps(record, indent=2) + "\n",
        ANY,
    )
    first, again = load_file("net.safetensors"), load_file("again.safetensors")
    assert all(torch.equal(first[key], again[key]) for key in first)

    code, _, err = arseg("segment", video, "--weights", "net.safetensors", "-o", "l")
    assert code == 2 and "net.safetensors: made with --model mine.py:network, which is code of yours" in only_line(err)
    given = ("--weights", "net.safetensors", "--model", "mine.py:network")
    code, out, err = arseg("segment", video, *given, "-o", "l", "-o", "o.mp4")
    assert (code, out) == (0, "l: 14 frames\no.mp4: 14 frames\n"), err
    with Image.open("l/000003.png") as picture:
        assert np.asarray(picture).max() < 3
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0], "Pascal VOC's colours, not CamVid's"


def test_demo_takes_other_classes_on_a_video(arseg, video):
    model = "timm:mobilenetv3_small_050?num_classes=4&channels=8"
    assert arseg("adapt", video, "--model", model, "-o", "net.safetensors", *SMALL)[0] == 0
    code, _, err = arseg("demo", video, "--weights", "net.safetensors", "-o", "d")
    assert code == 0, err
    assert "contact-sheet.png" in os.listdir("d")
    code, _, err = arseg("demo", "--weights", "net.safetensors", "-o", "e")
    assert code == 2 and "the synthetic street has CamVid's 11 classes, and these weights know 4 classes" in only_line(
        err
    )


def test_the_same_command_again_goes_on(arseg, video):
    command = ("adapt", video, "--model", "mine.py:network", "-o", "net.safetensors", *SMALL)
    assert arseg(*command)[0] == 0
    first = load_file("net.safetensors")
    code, _, err = arseg(*command)
    assert code == 0 and "resumed at step 2 of 2" in err
    again = load_file("net.safetensors")
    assert first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)
    code, _, err = arseg(*command, "--lr", 0.01)
    assert code == 2 and "made with lr 0.001 (asked for 0.01)" in err.splitlines()[-1]


def test_weights_of_phase_1_are_a_model(arseg, video):
    config = {"classes": 11, "channels": 8, "wide": 8}
    net = build("hr", config)
    save_checkpoint(net.state_dict(), "hr.safetensors", kind="hr", config=config)
    code, _, err = arseg("adapt", video, "--model", "hr.safetensors", "-o", "ar.safetensors", "--held-out", 0, *SMALL)
    assert code == 0, err
    assert load_checkpoint("ar.safetensors").label_set.classes[0] == "sky"
    assert arseg("segment", video, "--weights", "ar.safetensors")[0] == 0


def test_a_state_and_names_are_taken(arseg, video):
    import runpy

    network = runpy.run_path("mine.py")["network"]()
    with torch.no_grad():
        network[1].bias.fill_(7)
    torch.save(network.state_dict(), "mine.pth")
    options = ("--weights", "mine.pth", "--features", "0", "--classifier", "1", "--scale", 0.3, "--mean", "0,0,0")
    command = ("adapt", video, "--model", "mine.py:network", "-o", "net.safetensors", *options, *SMALL)
    code, _, err = arseg(*command)
    assert code == 0, err
    from arseg.acceleration.network import AcceleratedNet

    net = AcceleratedNet.load("net.safetensors", "mine.py:network")
    assert net.high.network[1].bias.tolist() == [7, 7, 7]
    assert (net.scale, net.label_set.mean) == (0.3, (0, 0, 0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "mine.py:nothing"], "model: mine.py has no function 'nothing'"),
        (["--model", "lraspp"], "model: expected torchvision:NAME, timm:NAME"),
        (["--classifier", "5"], "classifier: there is no submodule '5': the model has 0, 1"),
        (["--crop", "12"], "--crop: expected height and width such as 256x384, got '12'"),
        (["--mean", "1,2"], "--mean: expected three numbers such as 0.485,0.456,0.406, got '1,2'"),
        (["-o", "net.pth"], "net.pth: expected the name of a .safetensors file, got .pth"),
        (["-o", "no/net.safetensors"], "no/net.safetensors: cannot be written"),
        (["--weights", "gone.pth"], "gone.pth: no such file"),
        (["--device", "meta"], "device: the operators of this build run on the CPU, got meta"),
        (["--scale", "2"], "scale: expected a factor in (0, 1], got 2.0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arseg, video, options, sentence):
    given = ["--model", "mine.py:network", "-o", "net.safetensors", *map(str, SMALL), *options]
    code, out, err = arseg("adapt", video, *given)
    assert (code, out) == (2, "") and sentence in only_line(err)
    assert [name for name in os.listdir() if name != "__pycache__"] == ["mine.py"]


def test_not_a_video(arseg):
    Path("text.mp4").write_text("this is a letter, not a video\n" * 50)
    for name in ("text.mp4", "gone.mp4"):
        code, _, err = arseg("adapt", name, "--model", "mine.py:network", "-o", "net.safetensors", *SMALL)
        assert code == 2 and name in only_line(err)
        assert not Path("net.safetensors").exists() and not list(Path().glob("*.run/*/*"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stepz = 3", "c.toml: unknown key 'stepz'; did you mean steps?"),
        ('crop = "64x"', "c.toml: crop: expected height and width such as 256x384, got '64x'"),
        ('mean = "1,2"', "c.toml: mean: expected three numbers such as 0.485,0.456,0.406, got '1,2'"),
        ("cache = -1", "c.toml: cache_gb: expected a number above 0, got -1"),
        ("crop = 3", "c.toml: crop: expected a list of 2 numbers, such as [1, 2], got 3"),
        ("steps = ", "c.toml: not a TOML file"),
        ("steps = 2", "--model: expected one, or model in a file of --config; give one of them"),
        ('model = "mine.py:network"', "VIDEO…: expected one, or videos in a file of --config; give one of them"),
    ],
)
def test_configs_that_are_refused(arseg, text, sentence):
    Path("c.toml").write_text(text)
    code, out, err = arseg("adapt", "--config", "c.toml", "-o", "net.safetensors")
    assert (code, out) == (2, "") and sentence in only_line(err)


def test_options_go_before_the_config(tmp_path):
    from arseg.train.adapt_config import config_of

    (tmp_path / "c.toml").write_text('model = "a"\nvideos = ["v.mp4"]\nsteps = 7\nlr = 0.5\nmean = [0, 0, 0.5]\n')
    config = config_of(tmp_path / "c.toml", {"steps": 3, "lr": None, "videos": None}, print)
    assert (config.steps, config.lr, config.mean, config.batch) == (3, 0.5, (0, 0, 0.5), 4)
    assert config.recipe.steps == 3 and config.videos == ("v.mp4",)
