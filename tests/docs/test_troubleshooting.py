"""docs/troubleshooting.md: each message that it quotes still stands in the source that it names."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import torch
import torch.utils.cpp_extension

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SHORTEST = 15  # literal characters of a pattern that says anything
SENTENCE = 6  # words of a part that stands in the source as well
TORCHS = tuple(Path(torch.__file__).parent / name for name in ("utils/cpp_extension.py", "_ops.py"))
OTHERS = ("setuptools", "GCC")
"""Who prints messages that are not looked up: they were seen."""


def entries() -> list[tuple[str, str]]:
    """(message, who prints it), of every block of text; several blocks may share the line below them."""
    found, waiting = [], []
    for block, said in re.findall(r"^```text\n(.*?)\n```$|^\*From\*: ([^\n]*)$", PAGE, re.MULTILINE | re.DOTALL):
        if block:
            waiting.append(" ".join(block.split()))
        else:
            found += [(message, said) for message in waiting]
            waiting = []
    assert not waiting, "a message without its *From*"
    return found


def _pattern(node: ast.expr) -> str | None:
    """A regular expression of what a string in the source can become."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(" ".join(node.value.split()))
    if isinstance(node, ast.JoinedStr):
        parts = [re.escape(x.value) if isinstance(x, ast.Constant) else "(.+?)" for x in node.values]
        return "".join(parts)
    return None


@functools.cache
def patterns(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        literals = re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)
        found = [re.escape(literal) for literal in literals]
    else:
        found = [pattern for node in ast.walk(ast.parse(text)) if (pattern := _pattern(node))]
    return [pattern for pattern in found if len(re.sub(r"\(\.\+\?\)|\\", "", pattern)) >= SHORTEST]


def stands_in(message: str, path: Path, *, whole: bool) -> bool:
    """Whether a file prints a message: all of it and the sentences put into it, or as a part."""
    if not whole:
        return any(re.search(pattern, message) for pattern in patterns(path))
    for pattern in patterns(path):
        found = re.fullmatch(pattern, message.removeprefix("arseg: "))
        if found and all(
            any(stands_in(part, each, whole=True) for each in (path, *TORCHS))
            for part in found.groups()
            if sum(bool(re.search("[A-Za-z]{2}|^a$", word)) for word in part.split()) >= SENTENCE
        ):
            return True
    return False


def sources(said: str) -> list[Path]:
    files = [ROOT / name for name in re.findall(r"`([\w/]+\.\w+)`", said)]
    if re.search(r"\btorch\b", said.split(".")[0]):
        files += TORCHS
    return files


def test_the_page_is_read():
    found = entries()
    assert len(found) >= 20
    for _, said in found:
        assert sources(said) or said.startswith(OTHERS), said


LOOKED_UP = [(m, s) for m, s in entries() if sources(s)]


@pytest.mark.parametrize(("message", "said"), LOOKED_UP, ids=[message[:50] for message, _ in LOOKED_UP])
def test_the_message_still_stands_in_its_source(message, said):
    files = sources(said)
    whole = all(path.suffix == ".py" and path not in TORCHS for path in files)
    assert any(stands_in(message, path, whole=whole) for path in files), f"{said} does not print this: mend the page"


def test_a_message_that_changed_is_noticed():
    path = ROOT / "setup.py"
    good = "arseg: building needs torch 2.11 or newer, and 2.6.0 is installed."
    assert stands_in(good, path, whole=True)
    assert not stands_in(good.replace("newer", "later"), path, whole=True)
    assert not stands_in(good + " More.", path, whole=True)
    forced = "arseg: FORCE_CUDA=1, but nvcc was not found (set CUDA_HOME)."
    assert stands_in(forced, path, whole=True)
    assert not stands_in(forced.replace("found", "seen"), path, whole=True)


def test_messages_that_torch_makes_for_us():
    """As this torch prints them."""
    import arseg_ext

    arseg_ext.load()
    with pytest.raises(AttributeError) as missing:
        _ = torch.ops.arseg.no_such_operator
    (said,) = (message for message, _ in entries() if message.startswith("AttributeError"))
    assert str(missing.value) == said.split(": ", 1)[1].replace("mv_warp", "no_such_operator")
