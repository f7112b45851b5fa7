"""The program `arseg`: its commands put together, and how their failures are told.

Faults of the input are one line on stderr and exit code 2; faults of ours are tracebacks. A command is a file of this
folder and a line in `COMMANDS`; none imports more than its options need before it runs, so that help comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from arseg import __version__
from arseg.errors import ArsegError
from arseg.interruptions import exit_on_signals

from . import (
    adapt,
    convert,
    data_check,
    demo,
    doctor,
    encode,
    evaluate,
    export,
    fit,
    flops,
    info,
    inspect,
    manual,
    prepare,
    profile,
    report,
    segment,
    serve,
    street,
    train_ar,
    train_hr,
    vectors,
)
from .grammar import CONTEXT, EXAMPLES, ArsegCommand

COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit.fit,
    "prepare": prepare.prepare,
    "eval": evaluate.evaluate,
    "adapt": adapt.adapt,
    "convert": convert.convert,
    "export": export.export,
    "flops": flops.flops,
    "segment": segment.segment,
    "report": report.report,
    "serve": serve.serve,
    "demo": demo.demo,
    "inspect": inspect.inspect,
    "info": info.info,
    "encode": encode.encode,
    "vectors": vectors.vectors,
    "profile": profile.profile,
    "doctor": doctor.doctor,
    "street": street.street,
    "manual": manual.manual,
}
"""By name, in the order of the help."""

DATA_COMMANDS: dict[str, Callable[..., None]] = {"check": data_check.check}
"""Those after `arseg data`."""

TRAIN_COMMANDS: dict[str, Callable[..., None]] = {"hr": train_hr.train_hr, "ar": train_ar.train_ar}
"""Those after `arseg train`."""


class _Commands(TyperGroup):
    """Commands whose complaints of their arguments quote no secrets."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # A usage error of click, or of the copy of it in later versions of typer.
            if isinstance(message := getattr(error, "message", None), str):
                from arseg.video.names import without_secrets

                error.message = without_secrets(message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Commands,
    help="Semantic segmentation of compressed video: keyframes at full resolution, and between them what the video's "
    "own motion vectors make of these, with frames' own results at low resolution.",
    no_args_is_help=True,
    context_settings=CONTEXT,
    pretty_exceptions_enable=False,
)
_HELP: dict[str, Any] = {"context_settings": CONTEXT}
train_app = typer.Typer(
    help="Train the networks; every run can be stopped and resumed.", no_args_is_help=True, context_settings=CONTEXT
)
data_app = typer.Typer(help="Look at a data set of your own.", no_args_is_help=True, **_HELP)
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")
for group, commands in ((data_app, DATA_COMMANDS), (train_app, TRAIN_COMMANDS), (app, COMMANDS)):
    for name, command in commands.items():
        group.command(name, cls=ArsegCommand, context_settings=CONTEXT, epilog=EXAMPLES.get(name))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arseg {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point: turns the faults that a user can mend into one line."""
    try:
        _run()
    except Exception as error:
        # A usage error of click, or of the copy of it in later versions of typer.
        if not callable(say := getattr(error, "format_message", None)):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(say(), file=sys.stderr)
        else:
            context = getattr(error, "ctx", None)
            names: list[str] = []
            while context is not None and context.parent is not None:
                names.insert(0, context.info_name)
                context = context.parent
            command = " ".join(["arseg", *names])
            said = " ".join(say().split()).rstrip(".")
            for words, ours in (("Value error, ", ""), ("Input should be", "expected something")):  # pydantic's
                said = said.replace(words, ours)
            print(f"arseg: {said}; see {command} -h", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))


def _sentence(error: Exception) -> str:
    """What is said; of the system's errors without their number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _run() -> None:
    try:
        with exit_on_signals():
            code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:  # whoever read the results has enough
        sys.exit(1)
    except (ArsegError, OSError, ImportError) as error:  # ImportError: what is not installed or built says so
        print(f"arseg: {' '.join(_sentence(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        from arseg.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        print("arseg: not enough memory; take smaller frames (--height), or a smaller batch or crop", file=sys.stderr)
        sys.exit(2)
