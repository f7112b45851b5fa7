"""The grammar of all commands: help by -h, and old names, which work for one release and say what they are now.

The words are in docs/command-line.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand

from arseg.errors import InputError

__all__ = ["CONTEXT", "RENAMED", "ArsegCommand", "Renamed", "named", "with_new_names", "with_options"]

CONTEXT = {"help_option_names": ["-h", "--help"]}
LAST = "0.3"
"""The version from which on old names are not known."""


@dataclass(frozen=True)
class Renamed:
    """An option with a value that has another name now.

    Attributes:
        now: its words: {} is the value.
        only: whether a value is that of the old option; the name may have got another meaning.
    """

    now: tuple[str, ...]
    only: Callable[[str], bool] = lambda value: True


def _to(*now: str, only: Callable[[str], bool] = lambda value: True) -> Renamed:
    return Renamed(now, only)


def _is_file(value: str) -> bool:
    return value.endswith(".json")


RENAMED: Mapping[str, Mapping[str, Renamed]] = {
    "segment": {"--labels": _to("-o", "labels:{}")},
    "adapt": {
        "--rate": _to("--lr", "{}"),
        "--teacher": _to("--weights", "{}"),
        "--json": _to("--figures", "{}", only=_is_file),
    },
    "eval": {"--json": _to("--figures", "{}", only=_is_file)},
    "encode": {"--preset": _to("--x264-preset", "{}")},
    "prepare": {"--preset": _to("--x264-preset", "{}")},
    "inspect": {"--picture": _to("-o", "{}")},
    "profile": {"--save": _to("-o", "{}")},
    "check": {"--sheet": _to("-o", "{}")},
    "ar": {"--video": _to("{}")},
}
"""By command: old options, and what they are now."""

EXAMPLES: Mapping[str, str] = {
    name: "\n\n".join(("Examples:", *(f"arseg {line}" for line in lines)))
    for name, lines in {
        "segment": (
            "segment drive.mp4",
            "segment drive.mp4 -o overlay.mp4 -o masks/ -o frames.csv",
            "segment drive.mp4 -o label-video:ids.mkv --start 1:30 --end 2:00",
            "segment clips/ -o 'out/{stem}.mp4' --resume",
        ),
        "report": (
            "report drive.mp4 -o drive.html",
            "report drive.mp4 --start 1:30 --end 2:00 --player-height 480",
            "report drive.mp4 --labels ids.mkv --table drive.csv",
        ),
        "serve": ("serve", "serve --device cuda --workers 2 --port 8080", "serve -w fast.safetensors --upload-mb 100"),
        "check": ("data check mydata", "data check mydata -o sheet.png"),
        "demo": ("demo", "demo drive.mp4"),
        "doctor": ("doctor", "doctor --json"),
        "fit": ("fit --init mine.toml", "fit mine.toml --dry-run", "fit mine.toml"),
        "flops": ("flops", "flops --model torchvision:lraspp_mobilenet_v3_large --height 360 --width 480"),
        "info": ("info lite0", "info fast.safetensors --json"),
        "manual": ("manual -o ~/.local/share/man/man1",),
        "profile": ("profile drive.mp4 -- creff_labels --html page.html",),
        "hr": ("train hr --data mydata -o runs/hr",),
        "ar": ("train ar --data mydata --teacher runs/hr/hr.safetensors -o runs/ar",),
        "encode": ("encode camera.avi -o drive.mp4",),
        "street": ("street -o street.mp4 --frames 48 --labels truth/",),
        "convert": ("convert HR.pth --fused PSPNet_resnet18_0.5_92_.pth -o psp18.safetensors",),
        "prepare": ("prepare --camvid CAMVID --sequences VIDEOS -d 11 -o prepared",),
        "adapt": (
            "adapt drive1.mp4 drive2.mp4 -m torchvision:lraspp_mobilenet_v3_large -o fast.safetensors",
            "adapt --config fast.safetensors.run/config.toml --steps 2000 -o faster.safetensors",
        ),
        "vectors": ("vectors drive.mp4 -o vectors", "vectors drive.mp4 -o drive.npy --what previous --block 16"),
        "export": (
            "export drive.mp4 -o exported/",
            "export -w fast.safetensors --size 576x1024 --size 576x768 --format onnx -o exported/",
        ),
        "inspect": ("inspect drive.mp4 -o motion.png",),
        "eval": ("eval --camvid CAMVID -w runs/ar/ar.safetensors --figures scores.json",),
    }.items()
}
"""By command: what the help ends with."""

POSITIONAL = ("encode", "convert", "prepare", "street")
"""Commands whose output was their last argument, and is -o now."""


def with_new_names(command: str, words: Sequence[str], say: Callable[[str], object]) -> list[str]:
    """The words after a command's name with today's names; `say` is told of each old one."""
    table, rest = RENAMED.get(command, {}), list(words)
    found: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*found, word, *rest]
        name, equals, value = word.partition("=")
        renamed = table.get(name)
        if renamed is None or not (equals or rest) or not renamed.only(value if equals else rest[0]):
            found.append(word)
            continue
        value = value if equals else rest.pop(0)
        now = [part.replace("{}", value) for part in renamed.now]
        say(f"{name} is {' '.join(now)} now; the old name goes in version {LAST}")
        found += now
    return found


def with_options(sentence: str, options: Mapping[str, str]) -> str:
    """A sentence of the Python layer about arguments, about the options that they were given by.

    Args:
        options: by an argument's name, what the command line calls it, such as `--budget`.

    Names before the first colon that are no options of the command are left out beside others that are.
    """
    names, colon, rest = sentence.partition(": ")
    found = [options[name] for name in names.split(", ") if name in options]
    return f"{', '.join(found)}: {rest}" if colon and found else sentence


_GIVEN: ContextVar[Mapping[str, str]] = ContextVar("options that the user gave, by the argument's name")


def named(sentence: str) -> str:
    """`with_options` for the command that runs: what it says itself of one of several inputs."""
    return with_options(sentence, _GIVEN.get({}))


class ArsegCommand(TyperCommand):
    """A command that knows its old names, and names its options where the Python layer complains of an argument."""

    def invoke(self, ctx: Any) -> Any:
        before = _GIVEN.set(self.option_names(ctx))
        try:
            return super().invoke(ctx)
        except InputError as error:
            error.args = (named(str(error)), *error.args[1:])
            raise
        finally:
            _GIVEN.reset(before)

    def option_names(self, ctx: Any) -> dict[str, str]:
        """By an argument's name in Python, and by the option's own words, each option that the user gave."""
        found: dict[str, str] = {}
        for option in self.params:
            long = next((word for word in option.opts if word.startswith("--")), None)
            source = ctx.get_parameter_source(option.name)
            if long is not None and source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT"):
                found |= {str(option.name): long, long.removeprefix("--").replace("-", "_"): long}
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        name = self.name or ""

        def say(sentence: str) -> None:
            typer.echo(f"warning: {sentence}", err=True)

        args = with_new_names(name, args, say)
        if name in POSITIONAL and not ctx.resilient_parsing:
            args = self._with_output(ctx, args, say)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def _with_output(self, ctx: Any, args: list[str], say: Callable[[str], object]) -> list[str]:
        """`-o` before a last argument that is one too many."""
        try:
            given, left, _ = self.make_parser(ctx).parse_args(args=list(args))
        except Exception:  # what is wrong is told when the words are parsed in earnest
            return args
        if len(left) != 1 or given.get("output") is not None or left[0] not in args:
            return args
        place = len(args) - 1 - args[::-1].index(left[0])
        say(f"the output {left[0]} is -o {left[0]} now; an argument goes in version {LAST}")
        before = [word for number, word in enumerate(args) if number != place]
        return ["-o", left[0], *before]
