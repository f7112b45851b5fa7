"""One grammar: help by -h, one line for what is wrong, old names for one release."""

from __future__ import annotations

import shutil
import typing
from pathlib import Path

import pytest
import typer

from arseg.cli import app as cli
from arseg.cli.grammar import EXAMPLES, RENAMED, with_new_names, with_options


def commands(group=None, path=()):
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_options_mean_one_thing(path):
    short = {"-o": "--output", "-w": "--weights", "-m": "--model", "-q": "--quiet", "-v": "--verbose"}
    for parameter in COMMANDS[path].params:
        for option in parameter.opts:
            if option in short:
                assert short[option] in parameter.opts, option
        for letter, long in short.items():
            assert long not in parameter.opts or letter in parameter.opts, f"{long} has no {letter} here"
        assert not parameter.opts[0].startswith("--video")
        if "--json" in parameter.opts:
            assert parameter.is_flag, "--json prints JSON; a file for figures is --figures"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_and_faults(arseg, path):
    code, out, _ = arseg(*path, "-h")
    assert code == 0 and " ".join(path) in out
    code, out, err = arseg(*path, "--no-such-option")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("arseg: No such option: --no-such-option") and f"see arseg {' '.join(path)} -h" in err


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_commands(name):
    import shlex

    for line in EXAMPLES[name].split("\n\n")[1:]:
        words = shlex.split(line)
        (path,) = [path for path in COMMANDS if path[-1] == name]
        assert words[: 1 + len(path)] == ["arseg", *path]
        COMMANDS[path].make_context(name, words[1 + len(path) :])


@pytest.mark.parametrize("name", RENAMED)
def test_old_names_are_of_commands_and_not_of_today(name):
    (command,) = [command for path, command in COMMANDS.items() if path[-1] == name]
    known = {option for parameter in command.params for option in parameter.opts}
    for old, renamed in RENAMED[name].items():
        assert old not in known or not renamed.only("v.mp4")  # unless the value tells both meanings
        assert renamed.now[0] in known or not renamed.now[0].startswith("-")


def test_words_with_new_names():
    told = []
    assert with_new_names("segment", ["a.mp4", "--labels", "l", "--labels=m", "--", "--labels"], told.append) == [
        *("a.mp4", "-o", "labels:l", "-o", "labels:m", "--", "--labels"),
    ]
    assert told[0] == "--labels is -o labels:l now; the old name goes in version 0.3" and len(told) == 2
    assert with_new_names("ar", ["--video", "a.mp4"], told.append) == ["a.mp4"]
    assert with_new_names("segment", ["a.mp4", "--labels"], told.append) == ["a.mp4", "--labels"]


def test_outputs_that_were_arguments(arseg, video):
    code, out, err = arseg("encode", video, "old.mp4", "--preset", "ultrafast")
    assert (code, out) == (0, "old.mp4: 14 frames\n")
    assert "warning: --preset is --x264-preset ultrafast now" in err
    assert "warning: the output old.mp4 is -o old.mp4 now" in err
    code, out, err = arseg("encode", video, "-o", "new.mp4", "one-too-many.mp4")
    assert code == 2 and "unexpected extra argument" in err and len(err.splitlines()) == 1
    code, out, err = arseg("encode", video)
    assert code == 2 and "Missing option '--output'" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["adapt", "eval"])
def test_json_was_a_file_and_is_a_flag(command):
    said: list[str] = []
    assert with_new_names(command, ["--json", "s.json", "a.mp4"], said.append) == ["--figures", "s.json", "a.mp4"]
    assert said == ["--json is --figures s.json now; the old name goes in version 0.3"]
    for words in (["--json", "a.mp4"], ["a.mp4", "--json"], ["--json", "-o", "x.json"]):
        assert with_new_names(command, words, said.append) == words
    assert len(said) == 1


def test_complaints_of_the_python_layer_name_options(arseg, video):
    options = {"budget": "--budget", "mode": "--mode"}
    for sentence, told in (
        ("budget: expected 25%, got 'x'", "--budget: expected 25%, got 'x'"),
        ("mode, logits: expected none of them", "--mode: expected none of them"),
        ("crop: expected a size", "crop: expected a size"),
        ("clip.mp4: no such file", "clip.mp4: no such file"),
        ("nothing with a colon", "nothing with a colon"),
    ):
        assert with_options(sentence, options) == told
    for words, option in (
        (("segment", video, "-o", "x.npz", "--budget", "0%"), "--budget"),
        (("segment", video, "-o", "x.npz", "--start", "5", "--end", "3"), "--end"),
        (("flops", "--model", "nosuch", "--height", "64", "--width", "64"), "--model"),
        (("segment", video, "-o", "x.npz", "--live", "0"), "--live"),
        (("segment", video, "-o", "x.npz", "--budget", "25%", "--mode", "hr"), "--mode"),
        (("segment", video, "-o", "x.npz", "--live", "1gmacs", "--budget", "2ms"), "--budget, --live"),
        (("segment", video, "-o", "x.npz", "--device", "quda"), "--device"),
        (("adapt", video, "-o", "a.safetensors", "-m", "lite0", "--crop", "64.5x3"), "--crop"),
        (("adapt", video, "-o", "a.safetensors", "-m", "lite0", "--mean", "1,2"), "--mean"),
        (("adapt", video, "-o", "a.safetensors", "-m", "lite0", "--cache", "-1"), "--cache"),
        (
            ("train", "hr", "--camvid", ".", "--steps", "1", "--seed", "1", "--batch", "1", "--device", "quda"),
            "--device",
        ),
    ):
        code, out, err = arseg(*words)
        assert code == 2 and out == "" and err.startswith(f"arseg: {option}: expected") and len(err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--rate", "--bitrate"])
def test_rates_are_positive(arseg, option):
    code, _, err = arseg("prepare", "--camvid", ".", "-o", "p", option, "-1")
    assert code == 2 and err.startswith(f"arseg: Invalid value for '{option}': ") and err.count("\n") == 1


def test_only_options_that_were_given_are_named(arseg, video):
    """A config file says what it says."""
    Path("c.toml").write_text('crop = "64x"\n')
    code, _, err = arseg("adapt", video, "-m", "lite0", "-o", "a.safetensors", "--config", "c.toml")
    assert (code, err) == (2, "arseg: c.toml: crop: expected height and width such as 256x384, got '64x'\n")


def test_a_start_after_the_end(arseg, video, weights, tmp_path):
    for words in (("-o", "o.csv"), ("-o", "o.csv", "--resume"), ("-o", "o.csv", "--workers", "2")):
        code, out, err = arseg("segment", video, "-w", weights, "--start", "5", *words)
        assert (code, out, err) == (2, "", f"arseg: --start: expected a time before the end of {video}, got 5 s\n")
        assert [path.name for path in tmp_path.iterdir()] == []
    shutil.copy(video, "other.mp4")
    for more in ((), ("--workers", "2")):
        code, out, err = arseg("segment", video, "other.mp4", "-w", weights, "--start", "5", "-o", "{stem}.csv", *more)
        assert code == 2 and out == "" and len(err.splitlines()) == 2
        assert all(line.startswith("arseg: --start: expected a time before the end of ") for line in err.splitlines())


NEEDED = {
    "encode": ("-o", "e.mp4"),
    "vectors": ("-o", "vec"),
    "adapt": ("-o", "a.safetensors"),
    "street": ("-o", "s.mp4"),
}
NEEDED |= {"prepare": ("-o", "p"), "export": ("-o", "e"), "convert": ("-o", "c.safetensors"), "manual": ("-o", "man")}
INPUTS = {"segment": 1, "report": 1, "encode": 1, "vectors": 1, "inspect": 1, "profile": 1, "convert": 1, "check": 1}


def with_values():
    """Options whose values are numbers or one of a few words, which the parser looks at."""
    functions = {(name,): one for name, one in cli.COMMANDS.items()}
    functions |= {("data", name): one for name, one in cli.DATA_COMMANDS.items()}
    functions |= {("train", name): one for name, one in cli.TRAIN_COMMANDS.items()}
    assert functions.keys() == COMMANDS.keys()
    for path, command in COMMANDS.items():
        kinds = typing.get_type_hints(functions[path])
        for option in command.params:
            kind = kinds.get(option.name)
            parts = {kind, *typing.get_args(kind)}
            if option.opts[0].startswith("--") and (
                parts & {int, float} or any(typing.get_origin(part) is typing.Literal for part in parts)
            ):
                yield pytest.param(path, option.opts[0], id=f"{' '.join(path)} {option.opts[0]}")


@pytest.mark.parametrize(("path", "option"), [*with_values()])
def test_a_wrong_value_names_its_option(path, option):
    """That such an error is one line and exit code 2, `test_help_and_faults` shows of each command."""
    words = [*("clip.mp4",) * INPUTS.get(path[-1], 0), *NEEDED.get(path[-1], ()), f"{option}=no-such"]
    with pytest.raises(Exception) as caught:
        COMMANDS[path].main(words, standalone_mode=False)
    said = caught.value.format_message()
    assert caught.value.exit_code == 2 and f"'{option}'" in said.replace("' / ", "'") and "\n" not in said
