"""Figures of local_attention."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from style import BLUE, GREY, RED, bare, grid
from torch import Tensor

from arseg_ext import ops

HEIGHT, WIDTH, WINDOW = 8, 10, 5
PLACES = ((3, 5), (1, 1))


def weights_of(query: Tensor, key: Tensor, place: tuple[int, int], outside: str) -> Tensor:
    """The weight of every pixel in the sum at a place, from the operator: values are 1 at one pixel each."""
    values = torch.eye(HEIGHT * WIDTH, dtype=torch.float64).reshape(1, HEIGHT * WIDTH, HEIGHT, WIDTH)
    out = ops.local_attention(query, key, values, window=WINDOW, outside=outside)
    return out[0, :, place[0], place[1]].reshape(HEIGHT, WIDTH)


def local_attention() -> Figure:
    """What the window sees in the middle and at a border, with both kinds of outside."""
    generator = torch.Generator().manual_seed(4)
    query, key = torch.randn(2, 1, 4, HEIGHT, WIDTH, generator=generator, dtype=torch.float64) * 0.6
    figure, axes = plt.subplots(1, 3, figsize=(9.4, 3.5), layout="constrained")
    cases = ((PLACES[0], "zero"), (PLACES[1], "zero"), (PLACES[1], "masked"))
    for ax, (place, outside) in zip(axes, cases, strict=True):
        weights = weights_of(query, key, place, outside)
        ax.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=0.16)
        grid(ax, HEIGHT, WIDTH, color="#d5d8dc")
        reach = WINDOW // 2
        window = [(place[0] + i // WINDOW - reach, place[1] + i % WINDOW - reach) for i in range(WINDOW**2)]
        outer = [(y, x) for y, x in window if not (0 <= y < HEIGHT and 0 <= x < WIDTH)]
        total = float(weights.sum())
        fill = {"fc": "#fbe3d3"} if outside == "zero" else {"fc": "white", "hatch": "////"}
        for y, x in window:
            if (y, x) in outer:
                ax.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, ec=GREY, lw=0.5, **fill))
                value, colour = (1 - total) / len(outer), "#8a4b1c"  # logits of 0 all have the same weight
            else:
                value = float(weights[y, x])
                colour = "white" if value > 0.09 else "#30343a"
            if (y, x) not in outer or outside == "zero":
                ax.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=colour)
        corner = (place[1] - reach - 0.5, place[0] - reach - 0.5)
        ax.add_patch(plt.Rectangle(corner, WINDOW, WINDOW, fill=False, ec=BLUE, lw=1.8))
        ax.add_patch(plt.Rectangle((-0.5, -0.5), WIDTH, HEIGHT, fill=False, ec="#30343a", lw=1.4))
        ax.plot(place[1], place[0], "o", ms=17, mfc="none", mec=RED, mew=1.4)
        ax.set(xlim=(-2, WIDTH - 0.3), ylim=(HEIGHT - 0.3, -2))
        where = "inside" if not outer else f'outside="{outside}"'
        ax.set_title(f"{where}\nweights of the image's pixels: {100 * total:.0f} %")
        bare(ax)
    return figure


FIGURES = {"local_attention": local_attention}
