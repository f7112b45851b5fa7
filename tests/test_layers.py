"""Who may import whom: down the layers, never up, and nothing in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import arseg

ROOT = Path(arseg.__file__).parent
LAYERS = (
    "video",
    "networks",
    "weights",
    "acceleration",
    "export",
    "data",
    "segment",
    "evaluate",
    "train",
    "fit",
    "inspect",
    "doctor",
    "serve",
    "cli",
)
"""From the bottom; modules beside these folders lie below them all, but for the package itself."""


def name_of(path: Path) -> str:
    parts = ("arseg", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


COMPILED = ("arseg._hevc",)
MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(name: str, path: Path) -> set[str]:
    """Modules of the package that a module imports, at any place but for type checkers."""
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                within = f"{base}.{alias.name}"
                if within not in COMPILED:
                    found.add(within if within in MODULES else base)
    return found & set(MODULES)


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


def layer(name: str) -> int:
    if name == "arseg":
        return len(LAYERS)
    folder = name.split(".")[1]
    return LAYERS.index(folder) + 1 if folder in LAYERS else 0


@pytest.mark.parametrize("folder", ["", *LAYERS])
def test_no_import_goes_up(folder):
    rank = LAYERS.index(folder) + 1 if folder else 0
    up = [f"{a} imports {b}" for a, found in IMPORTS.items() if layer(a) == rank for b in found if layer(b) > rank]
    assert up == []


def test_no_circle():
    try:
        list(TopologicalSorter(IMPORTS).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_all_folders_have_a_layer():
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} == set(LAYERS)
