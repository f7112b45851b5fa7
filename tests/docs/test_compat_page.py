"""docs/compat.md: its figures are those of the results, its names those of the module."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from arseg_ext.compat import localattention

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compat.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "compat_localattention.json").read_text(encoding="utf-8"))


def rows(first: str) -> list[list[str]]:
    found = re.findall(rf"^\| ({first}[^|]*)\|(.*)\|$", PAGE, re.MULTILINE)
    return [[name.strip(), *(cell.strip() for cell in rest.split("|"))] for name, rest in found]


def test_figures():
    found = rows("(?:attention|training|step) ")
    assert len(found) == 7
    for name, chain, ours, times in found:
        row = RESULTS["rows"][name]
        assert [float(chain), float(ours), float(times)] == [
            row["ms"]["localattention"],
            row["ms"]["ours"],
            row["ratio"],
        ]
    assert RESULTS["facts"]["commit"] in PAGE and f"torch {RESULTS['facts']['torch'].split('+')[0]}" in PAGE


def test_names_and_arguments():
    said = {}
    for names, arguments, _ in (row for row in rows("`") if len(row) == 3):
        for name in re.findall(r"`(\w+)`", names):
            said[name] = re.findall(r"`(\w+)`", arguments)
    assert sorted(said) == sorted(localattention.__all__)
    for name, arguments in said.items():
        if arguments:
            assert list(inspect.signature(getattr(localattention, name)).parameters) == arguments
