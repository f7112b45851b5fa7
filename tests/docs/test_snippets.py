"""The code in README and docs runs as it stands, in a folder with small files of the names that it uses.

Python blocks run whole, shell blocks command by command; training is cut to two steps. What cannot run here says so
above its block, `<!-- not run: REASON -->`, and NOT_RUN lists it: there, arguments, presets and settings are checked as
the command line would. `python tests/helpers/doc_blocks.py` counts.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from helpers import doc_blocks as blocks
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
from arseg.registry import Registry
from arseg.segment.policies import POLICIES
from arseg.train import adapt
from arseg.train.adapt_config import config_of
from arseg.train.default import ar, hr, low
from arseg.train.recipes import RECIPES
from arseg.train.schedule import Schedule
from arseg.video import encode
from arseg.weights.convert import convert
from arseg.zoo import ZOO

ROOT = Path(__file__).resolve().parents[2]
PAGES = blocks.PAGES
LEFT_OUT = {
    "pip": "changes this environment",
    "make": "its targets are looked up; they are what the tests are started by",
    "serve": "runs until it is ended: tests/serve",
}
"""Programs, and commands of ours, that are not run in any block."""
NOT_RUN = {
    "docs/cards/camvid-bise18-residual.md": ["hours"],
    "docs/cards/camvid-psp18-residual.md": ["hours"],
    "docs/cuda.md": ["needs a GPU", "minutes"],
    "docs/data.md": ["wants what howto/my-labels.md trains"],
    "docs/emulator.md": ["minutes"],
    "docs/export.md": ["minutes of a compiler", "minutes of a compiler"],
    "docs/hevc.md": ["fetches and builds"],
    "docs/many-videos.md": ["needs the extra `ray`", "an hour"],
    "docs/notes/frontier.md": ["hours"],
    "docs/notes/keyframe-trust.md": ["hours", "hours"],
    "docs/notes/residual-training.md": ["hours", "hours", "hours", "hours", "hours", "hours"],
    "docs/notes/training-studies.md": ["hours"],
    "docs/profile-a-kernel.md": [
        "needs a GPU",
        "minutes",
        "minutes",
        "minutes",
        "needs nvcc",
        "needs a GPU",
        "needs a GPU",
    ],
    "docs/reproduce.md": ["hours"],
    "docs/serve.md": ["until it is ended", "needs the server"],
    "docs/training.md": ["hours", "hours", "hours", "hours", "needs four GPUs", "hours"],
    "docs/troubleshooting.md": ["installs"],
    "docs/zoo.md": ["hours"],
}
"""Blocks that are not run, by page: how their reasons begin. Add one only where nothing smaller could run."""


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


def check(words: list[str]) -> list[str]:
    """The command's name, where it is one of ours and the command line would take its arguments."""
    if words[0] == "torchrun":
        words = ["arseg", *words[words.index("arseg.cli") + 1 :]]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    if words[0] == "python" and words[1].endswith(".py") and words[1] != "my_program.py":
        assert (ROOT / words[1]).is_file(), words
    if words[0] != "arseg":
        return []
    names, command, rest = found(words[1:])
    assert names, f"no such command: {words}"
    if "…" not in rest:
        options = command.make_context(names[-1], list(rest)).params  # refuses what the command line would
        if names[0] == "train":
            check_recipe(names[1], options)
    return names


def fetches(words: list[str]) -> bool:
    """Whether a network of torchvision is asked for with its pretrained weights, which are fetched."""
    return "adapt" in words and any(word.startswith("torchvision:") and "num_classes" not in word for word in words)


def run_ours(words: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, f"{words} ends with {end.value.code}"


def run_python(words: list[str], settings: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, *words[1:]], env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, f"{words} ends with {done.returncode}: {done.stderr}"


def run_shell(example: Example) -> None:
    marked = blocks.MARK.search(example.document.text[: example.start].rstrip()) is not None
    for words in commands(example.parsed):
        settings = {}
        while re.match(r"[A-Z_0-9]+=", words[0]):
            name, _, settings[name] = words.pop(0).partition("=")
        names = check(words)
        if marked or fetches(words) or (names[0] if names else words[0]) in LEFT_OUT:
            continue
        assert names or words[0] == "python", f"{words[0]}: neither run, nor in LEFT_OUT, nor marked"
        if names:
            run_ours(words)
        else:
            run_python(words, settings)


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
    (place / "my_program.py").write_text(
        "import torch\nfrom arseg_ext import ops\n\nx = torch.ones(1, 8, 6, 8)\n"
        "ops.local_attention(x, x, x, window=3)\n"
    )
    exported = place / "exported" / "576x1024"
    exported.mkdir(parents=True)
    torch.onnx.export(
        torch.nn.Conv2d(3, 4, 3, stride=32),
        (torch.zeros(1, 3, 576, 1024),),
        exported / "keyframe.onnx",
        input_names=["image"],
        dynamo=False,
    )
    (place / "my_package").mkdir()
    (place / "my_package" / "nets.py").write_text(
        "import torch\n\ndef make_net():\n    return torch.nn.Conv2d(3, 5, 3)\n"
    )
    return place


@pytest.fixture
def tables_as_before(monkeypatch):
    """What a page adds to the tables of names goes with it: other tests of this process count their entries."""
    added, register = [], Registry.register

    def noted(self, name, entry=None):
        if entry is not None:
            frame = sys._getframe(1)
            while frame.f_globals.get("__name__") == Registry.__module__:
                frame = frame.f_back
            if not str(frame.f_globals.get("__name__")).startswith("arseg."):  # what is imported meanwhile stays
                added.append((self, name))
        return register(self, name, entry)

    monkeypatch.setattr(Registry, "register", noted)
    yield
    for table, name in added:
        del table._entries[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page, folder, tmp_path, monkeypatch, tables_as_before):
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)  # what a page writes is its own
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in (adapt, ar, hr, low):
        monkeypatch.setattr(module, "Schedule", lambda steps, *more, **named: Schedule(min(steps, 2), *more, **named))
    if page.name == "hevc.md":
        pytest.importorskip("arseg._hevc", reason="built without libde265")
    document = Sybil(parsers=PARSERS).parse(page)
    for example in document.examples():
        keep_module(example)
        example.evaluate()
    if page.name in ("zoo.md", "budget.md"):
        assert "mine" in ZOO or "restless" in POLICIES


def test_what_a_page_added_is_gone():
    """It runs after the pages, or in another process."""
    assert "mine" not in ZOO and "restless" not in POLICIES


def test_every_block_runs_or_says_why_not():
    found = blocks.all_blocks()
    assert {block.kind for block in found} <= {*blocks.RUN, *blocks.SHOWN}
    marked: dict[str, list[str]] = {}
    for block in found:
        if block.reason is not None:
            assert block.kind == "sh", f"{block.page}:{block.line}: only commands may be left out"
            marked.setdefault(block.page, []).append(block.reason)
    assert list(marked) == list(NOT_RUN)
    for page, reasons in marked.items():
        assert len(reasons) == len(NOT_RUN[page]), page
        assert all(reason.startswith(start) for reason, start in zip(reasons, NOT_RUN[page], strict=True)), page
    places = {word for reasons in marked.values() for reason in reasons for word in re.findall(r"tests/\w+", reason)}
    assert len(places) > 5 and all((ROOT / place).is_dir() for place in places)


def test_blocks_of_all_kinds_are_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "- item\n\n  ```sh\n  make test\n  ```\n\ntext\n\n    indented\n\n<!-- not run: slow -->\n```sh\nls\n```\n"
    )
    assert [(block.kind, block.reason) for block in blocks.blocks_of(page)] == [
        ("sh", None), ("indented", None), ("sh", "slow")
    ]  # fmt: skip


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
