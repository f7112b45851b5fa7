"""Draws the figures of docs/operators: python docs/figures/draw.py [NAME ...]"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where this file is loaded by its path

import attention
import fusion
import labels
import torch
import warps
from matplotlib.figure import Figure
from style import FOLDER, save

FIGURES: dict[str, Callable[[], Figure]] = {
    **warps.FIGURES,
    **attention.FIGURES,
    **fusion.FIGURES,
    **labels.FIGURES,
}


def draw(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """The named figures as PNG, all of them where no name is given."""
    unknown = sorted(set(names) - set(FIGURES))
    if unknown:
        raise SystemExit(f"no figure {', '.join(unknown)}: there are {', '.join(FIGURES)}")
    torch.manual_seed(0)
    torch.set_num_threads(1)  # torch's convolutions round differently on several
    return [save(FIGURES[name](), name, folder) for name in names or FIGURES]


if __name__ == "__main__":
    for path in draw(sys.argv[1:]):
        print(path, path.stat().st_size)
