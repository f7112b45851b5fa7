"""The blocks of code in README and docs, and which of them are run: python tests/helpers/doc_blocks.py

Everything in a fence of `python`, `sh` or `toml` runs, but for blocks under a line `<!-- not run: REASON -->`, of which
names and options are checked. `text` and `diff` are to read: messages, trees of files, formulas.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "python").rglob("*.md")])
MARK = re.compile(r"<!-- not run: (.+) -->$")
RUN, SHOWN = ("python", "sh", "toml"), ("text", "diff")


class Block(NamedTuple):
    page: str
    line: int
    kind: str  # of the fence; "" without a word, "indented" without a fence
    reason: str | None  # why it is not run
    text: str


def blocks_of(page: Path) -> list[Block]:
    """In the order of the page."""
    text = page.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block") and token.map:
            first = token.map[0]
            mark = MARK.match(lines[first - 1].strip()) if first else None
            kind = "indented" if token.type == "code_block" else token.info
            name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
            found.append(Block(name, first + 1, kind, mark[1] if mark else None, token.content))
    return found


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def main() -> None:
    blocks = all_blocks()
    for kind, count in sorted(Counter(block.kind for block in blocks).items()):
        marked = sum(block.kind == kind and block.reason is not None for block in blocks)
        print(f"{kind:8} {count:3}, " + (f"{count - marked} run, {marked} are not" if kind in RUN else "to read"))
    for block in blocks:
        if block.reason is not None:
            print(f"{block.page}:{block.line}: {block.reason}")


if __name__ == "__main__":
    main()
