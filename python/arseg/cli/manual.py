"""`arseg manual`: the help of every command as man pages, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

_TYPES = {"str": "", "int range": " <int>", "float range": " <float>", "path": " <path>"}


def manual(
    context: typer.Context,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Where the pages go, such as ~/.local/share/man/man1."),
    ],
) -> None:
    """Write man pages: arseg.1, and one for each command."""
    from arseg.errors import InputError
    from arseg.files import replacing

    pages = man_pages(context.find_root().command)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder")
    output.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        with replacing(output / name) as part:
            part.write_text(text, encoding="utf-8")
    typer.echo(f"{output}: {len(pages)} pages; man -l {output / 'arseg.1'} shows one")


def leaves(group: Any, context: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The commands below a group that have help: their words after `arseg`, themselves, their parent's context."""
    context = context_of(group, "arseg") if context is None else context
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, context_of(command, name, context), (*before, name))
        elif not command.hidden:
            yield (*before, name), command, context


def context_of(command: Any, name: str, parent: Any = None) -> Any:
    """What a command is asked for its help with."""
    return type(command).context_class(command, info_name=name, parent=parent, **command.context_settings)


def summary(command: Any) -> str:
    """The first paragraph of a command's help, on one line."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def in_words(text: str) -> str:
    """An option's types as who types it would say."""
    return re.sub(r" <(?:list\[)?(str|int range|float range|path)\]?>", lambda found: _TYPES[found[1]], text)


def man_pages(root: Any) -> dict[str, str]:
    """The pages in roff by their file's name."""
    found = {}
    named = []
    for words, command, parent in leaves(root):
        name = "-".join(("arseg", *words))
        named.append((f"arseg {' '.join(words)}", summary(command)))
        found[f"{name}.1"] = _page(name, command, context_of(command, words[-1], parent))
    found["arseg.1"] = _page("arseg", root, context_of(root, "arseg"), named)
    return found


def _page(name: str, command: Any, context: Any, commands: list[tuple[str, str]] | None = None) -> str:
    from arseg import __version__

    records = [(one, one.get_help_record(context)) for one in command.get_params(context)]
    arguments = [record for one, record in records if record and one.param_type_name == "argument"]
    options = [record for one, record in records if record and one.param_type_name == "option"]
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{name.upper()}" "1" "" "arseg {__version__}" "AR-Seg for PyTorch"',
        *(".SH NAME", _text(f"{name} - {summary(command)}")),
        *(".SH SYNOPSIS", f".B {_text(context.command_path)}", _text(usage)),
    ]
    if (command.help or "").strip() != summary(command):
        lines += [".SH DESCRIPTION", *_paragraphs(command.help)]
    for title, entries in (("ARGUMENTS", arguments), ("OPTIONS", options), ("COMMANDS", commands or [])):
        if entries:
            lines.append(f".SH {title}")
            for entry, text in entries:
                lines += [".TP", f"\\fB{_text(in_words(entry))}\\fP", *_paragraphs(text)]
    if command.epilog:
        title, *examples = command.epilog.split("\n\n")
        lines += [f".SH {title.rstrip(':').upper()}", ".EX", *map(_text, examples), ".EE"]
    if name != "arseg":
        lines += [".SH SEE ALSO", ".BR arseg (1)"]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    found: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        found += ([".PP"] if found else []) + [_text(" ".join(paragraph.split()))]
    return found


def _text(text: str) -> str:
    """Text that roff prints as it is: no escape, hyphens that can be copied, no request at the beginning of a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
