"""How all figures look, and how they are saved: the same bytes on every run with the same versions of the libraries."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

FOLDER = Path(__file__).resolve().parents[1] / "operators" / "figures"
BLUE, ORANGE, GREEN, RED, GREY = "#2a6fb0", "#e07b26", "#3a8f4d", "#c23b3b", "#8a8f98"

plt.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.edgecolor": "#5a5f66",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "image.interpolation": "nearest",
    }
)


def save(figure: Figure, name: str, folder: Path = FOLDER, *, data: str | None = None) -> Path:
    """A PNG of at most 256 colours, without a date; the text chunk `data` has what it was drawn from."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None}, facecolor="white")
    plt.close(figure)
    path = folder / f"{name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    chunks = PngInfo()
    if data is not None:
        chunks.add_text("data", data, zip=True)
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(path, optimize=True, pnginfo=chunks)
    return path


def picture(axes: Axes, image, title: str, **options) -> None:
    axes.imshow(image.numpy() if hasattr(image, "numpy") else image, **options)
    axes.set_title(title)
    bare(axes)


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def grid(axes: Axes, height: int, width: int, **options) -> None:
    """Lines between the pixels of a map that imshow has drawn."""
    style = {"color": "white", "lw": 0.6, **options}
    for y in range(height + 1):
        axes.plot([-0.5, width - 0.5], [y - 0.5, y - 0.5], **style)
    for x in range(width + 1):
        axes.plot([x - 0.5, x - 0.5], [-0.5, height - 0.5], **style)
