"""The code in README and docs runs as it stands, in a folder with small files of the names that it uses.

Python blocks run whole, but for adaptation, which is cut to two steps. Of shell blocks, `arseg` commands that neither
train nor fetch weights run; the others' arguments, presets and settings are checked as the command line would. In
docs/howto all of them run, training with two steps.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from helpers.dataset_trees import camvid_tree, run_tree
from helpers.own_data import own_folder, roads_tree
from helpers.reference_weights import Samples, state_dict
from helpers.tiny_transformers import save_segformer
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import arseg
from arseg.cli import app as cli
from arseg.cli.inputs import recipe_of
from arseg.data.street import StreetScene
from arseg.train import adapt
from arseg.train.adapt_config import config_of
from arseg.train.default import ar, hr, low
from arseg.train.recipes import RECIPES
from arseg.train.schedule import Schedule
from arseg.video import encode
from arseg.weights.convert import convert

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "python").rglob("*.md")])
RUN = ("convert", "doctor", "encode", "flops", "inspect", "segment", "street")
"""Commands that are run; the others train, or want the data sets."""
HOWTO = (*RUN, "adapt", "data", "eval", "fit", "info", "train", "vectors")
"""Those that are run of the pages in docs/howto."""
NOT_OURS = ("curl", "git", "pip", "python")


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def found(arguments: list[str]) -> tuple[list[str], Any, list[str]]:
    """A command's name, itself, and the words after the name."""
    command: Any = typer.main.get_command(cli.app)
    names = []
    while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
        names.append(arguments[0])
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return names, command, arguments


def check_recipe(phase: str, options: dict) -> None:
    names = ("steps", "batch", "seed", "scale")
    flags = {name: options[name] for name in names if options.get(name) is not None}
    recipe_of(phase, options["preset"], options["config"], options["settings"], **flags)


def run_shell(example: Example) -> None:
    for words in commands(example.parsed):
        while re.match(r"[A-Z_0-9]+=", words[0]):
            words = words[1:]
        if words[0] == "torchrun":
            words = ["arseg", *words[words.index("arseg.cli") + 1 :]]
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        elif words[0] != "arseg":
            assert words[0] in NOT_OURS, f"what is {words}?"
        else:
            names, command, rest = found(words[1:])
            assert names, f"no such command: {words}"
            options = command.make_context(names[-1], list(rest)).params  # refuses what the command line would
            if names[0] == "train":
                check_recipe(names[1], options)
            if names[0] in (HOWTO if Path(example.path).parent.name == "howto" else RUN):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(sys, "argv", words)
                    with pytest.raises(SystemExit) as end:
                        cli.main()
                assert not end.value.code, f"{words} ends with {end.value.code}"


def keep_settings(example: Example) -> None:
    Path("mine.toml").write_text(example.parsed)
    if re.search(r"^(videos|model) =", str(example.parsed), re.MULTILINE):
        config_of(Path("mine.toml"), {}, print)
        return
    for phase in RECIPES:
        recipe_of(phase, None, Path("mine.toml"), None)


def keep_module(example: Example) -> None:
    """A block that begins with `# NAME.py` is that file for the commands after it, too."""
    name = re.match(r"# (\w+\.py)\n", str(example.parsed))
    if name is not None:
        Path(name[1]).write_text(example.parsed)


PARSERS = [
    PythonCodeBlockParser(),
    CodeBlockParser(language="sh", evaluator=run_shell),
    CodeBlockParser(language="toml", evaluator=keep_settings),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What a reader of the pages would have."""
    place = tmp_path_factory.mktemp("reader")
    for number, name in enumerate(("drive", "drive1", "drive2", "drive3", "other")):
        frames = 30 if name == "drive1" else 4
        images = (image for image, _ in StreetScene(number, width=96, height=72).frames(frames))
        encode(images, place / f"{name}.mp4", rate=15, gop=12)
    run_tree(camvid_tree(place / "CAMVID"), 14)
    own_folder(place / "mydata", 4)
    roads_tree(place / "roads")
    for name, part in (("HR", "hr"), ("PSPNet_resnet18_1.0_92_", "hr"), ("PSPNet_resnet18_0.5_92_", "fused")):
        torch.save(state_dict(Samples("camvid-psp18").record[part]), place / f"{name}.pth")
    # A page that reads it may be tested without the page that makes it.
    convert(place / "HR.pth", place / "camvid-psp18.safetensors", fused=place / "PSPNet_resnet18_0.5_92_.pth")
    arseg.accelerate("torchvision:lraspp_mobilenet_v3_large?num_classes=3", size=(64, 96)).save(
        place / "fast.safetensors"
    )
    save_segformer(place / "my_segformer")
    (place / "my_package").mkdir()
    (place / "my_package" / "nets.py").write_text(
        "import torch\n\ndef make_net():\n    return torch.nn.Conv2d(3, 5, 3)\n"
    )
    return place


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for module in (adapt, ar, hr, low):
        monkeypatch.setattr(module, "Schedule", lambda steps, *more, **named: Schedule(min(steps, 2), *more, **named))
    if page.name == "hevc.md":
        pytest.importorskip("arseg._hevc", reason="built without libde265")
    document = Sybil(parsers=PARSERS).parse(page)
    for example in document.examples():
        keep_module(example)
        example.evaluate()


@pytest.mark.slow
def test_commands_in_the_text_have_their_options():
    """Of `arseg …` within a line the options' names are looked up."""
    wrong = []
    for page in PAGES:
        for text in re.findall(r"`arseg ([^`]+)`", page.read_text()):
            _, command, words = found(text.partition("|")[0].split())
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            wrong += [
                f"{page.name}: {text}" for word in words if len(word) > 1 and word[0] == "-" and word not in known
            ]
    assert wrong == []


def test_faults_of_a_page_are_noticed(tmp_path):
    """What would go wrong for a reader fails here."""
    page = tmp_path / "page.md"
    for block, fault in (
        ("```python\nfrom arseg_ext import no_such_operator\n```\n", "ImportError"),
        ("```sh\narseg segment drive.mp4 --no-such-option\n```\n", "NoSuchOption"),
        ("```sh\narseg train hr --camvid C --set no_such_setting=3\n```\n", "InputError"),
        ("```sh\nmake no-such-target\n```\n", "AssertionError"),
    ):
        page.write_text(block)
        (example,) = Sybil(parsers=PARSERS).parse(page).examples()
        with pytest.raises(Exception) as caught:
            example.evaluate()
        assert type(caught.value).__name__ == fault


@pytest.mark.slow
def test_the_motion_of_the_page_is_what_the_reader_gives(folder):
    """docs/motion.md says shapes and types; they are looked at here."""
    from arseg.video import VideoReader

    with VideoReader(folder / "drive.mp4", gop=12) as reader:
        motion = [frame.motion for frame in reader if frame.motion is not None]
    assert len(motion) == 3
    for field in motion:
        assert field.vectors.dtype == np.int16 and field.vectors.shape == (18, 24, 2)
        assert field.valid.dtype == np.bool_ and field.valid.shape == (18, 24) and field.origin == "exact"
