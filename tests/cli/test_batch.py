"""How the network runs: the options of `segment`, `eval`, `adapt` and `demo`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from arseg.data.street import StreetScene


def labels_in(folder: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())])


def test_batches_write_what_single_frames_do(arseg, weights, clip):
    for batch in (1, 3, 11):
        code, _, err = arseg("segment", clip, "-o", f"labels{batch}", "--weights", weights, "--batch", batch)
        assert code == 0, err
    one = labels_in("labels1")
    assert len(one) == 30
    for batch in (3, 11):
        assert (labels_in(f"labels{batch}") != one).mean() < 1e-3


def test_batches_of_nothing_are_refused(arseg, weights, clip):
    code, _, err = arseg("segment", clip, "--weights", weights, "--batch", 0)
    assert code == 2 and "--batch" in err and "equal to 1" in err


def begun(command: str, weights: Path, clip: Path) -> list[object]:
    """Arguments that begin a command's work."""
    if command == "adapt":
        return [command, clip, "--model", weights, "-o", "out.safetensors"]
    return [command, *(["--camvid", "data"] if command == "eval" else [clip]), "--weights", weights]


@pytest.fixture
def camvid(tmp_path) -> None:
    """Eight frames of the street."""
    for folder in ("val", "valannot"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for index, (image, label) in enumerate(StreetScene(3, width=96, height=72).frames(8)):
        Image.fromarray(image).save(tmp_path / "data" / "val" / f"{index:03d}.png")
        Image.fromarray(label).save(tmp_path / "data" / "valannot" / f"{index:03d}.png")


COMMANDS = ("segment", "eval", "adapt", "demo")


@pytest.mark.usefixtures("camvid")
@pytest.mark.parametrize("command", COMMANDS)
def test_devices_that_are_not_there_are_a_sentence(arseg, weights, clip, command):
    code, _, err = arseg(*begun(command, weights, clip), "--device", "gpu")
    assert code == 2 and err.startswith(
        "arseg: --device: expected a device of torch, such as cpu, cuda or cuda:1, got 'gpu'"
    )


def test_all_commands_say_the_same_of_where_the_network_runs():
    from arseg.cli.app import app

    group = typer.main.get_command(app)
    options = {name: {option.name: option for option in group.commands[name].params} for name in COMMANDS}
    for name in ("device", "precision"):
        assert len({options[command][name].help for command in COMMANDS}) == 1
    assert len({options[command]["batch"].help for command in COMMANDS if command != "adapt"}) == 1
    assert "memory runs out" in options["segment"]["batch"].help and "memory runs out" in options["adapt"]["batch"].help


@pytest.mark.slow
@pytest.mark.usefixtures("camvid")
def test_scores_of_batches_are_those_of_single_frames(arseg, weights, clip):
    means = {}
    for batch, precision in ((1, "float32"), (3, "float32"), (3, "bfloat16")):
        arguments = [*begun("eval", weights, clip), "--gop", 4, "--quick", "--batch", batch, "--precision", precision]
        code, _, err = arseg(*arguments, "--figures", "scores.json")
        assert code == 0, err
        record = json.loads(Path("scores.json").read_text())
        means[batch, precision] = [record[mode]["mean"] for mode in ("hr", "lr", "ar", "warp", "keep")]
    np.testing.assert_allclose(means[1, "float32"], means[3, "float32"], atol=0.05)
    assert means[3, "float32"] != means[3, "bfloat16"]


@pytest.mark.slow
def test_the_demo_in_batches(arseg, weights, clip):
    sheets = []
    for batch in (1, 11):
        code, _, err = arseg("demo", clip, "--weights", weights, "-o", f"demo{batch}", "--batch", batch)
        assert code == 0, err
        rows = json.loads(Path(f"demo{batch}/table.json").read_text())
        assert all(row["milliseconds_a_frame"] > 0 for row in rows)
        sheets.append(np.asarray(Image.open(f"demo{batch}/contact-sheet.png")).astype(int))
    assert (np.abs(sheets[0] - sheets[1]) > 0).mean() < 0.01
