"""A page for each command, from the parser itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import typer
from typer.cli import get_docs_for_click

from arseg.cli import app as cli
from arseg.cli.manual import in_words, leaves, summary


@lru_cache(maxsize=1)
def pages() -> dict[str, str]:
    """The Markdown of each page by its name in the site: all commands, then one each."""
    root: Any = typer.main.get_command(cli.app)
    found, lines = {"commands/index.md": ""}, []
    for words, command, parent in leaves(root):
        name = " ".join(words)
        page = f"{'-'.join(words)}.md"
        text = get_docs_for_click(obj=command, ctx=parent, name=words[-1], call_prefix=" ".join(("arseg", *words[:-1])))
        found[f"commands/{page}"] = f"---\ntitle: arseg {name}\n---\n{in_words(text)}"
        lines.append(f"| [`arseg {name}`]({page}) | {summary(command)} |")
    table = "\n".join(("| command | |", "| --- | --- |", *lines))
    found["commands/index.md"] = (
        f"# Commands\n\n{root.help}\n\nThe words that all of them share, and how they fail: "
        f"[the command line](../command-line.md). `arseg COMMAND -h` prints what is here, `arseg manual -o DIR` writes "
        f"it as man pages.\n\n{table}\n"
    )
    return found
