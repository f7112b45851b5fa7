"""Figures of mv_warp and flow_warp."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scene import shown, street
from style import BLUE, GREY, ORANGE, bare, grid, picture

from arseg_ext import ops, oracle


def mv_warp() -> Figure:
    """A block field of a video, and the warp that it makes."""
    scene = street()
    figure = plt.figure(figsize=(9.4, 5.0), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    axes = top.subplots(1, 4)
    warped = ops.mv_warp(scene.keyframe, scene.motion, block=4, frame_size=scene.size)
    picture(axes[0], shown(scene.keyframe), "feature: the keyframe")
    picture(axes[1], shown(scene.keyframe) * 0.35 + 0.65, "motion")
    step = 3  # of the blocks, one in three
    field = scene.motion[0, 1::step, 1::step].numpy() / 4
    y, x = (np.arange(n) * step * 4 + 6 for n in field.shape[:2])
    axes[1].quiver(
        *np.meshgrid(x, y),
        field[..., 0],
        field[..., 1],
        color=BLUE,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.006,
    )
    picture(axes[2], shown(warped), "mv_warp(feature, motion)")
    picture(axes[3], shown(scene.current), "the current frame")
    _block_to_pixels(bottom)
    return figure


def _block_to_pixels(figure) -> None:
    """Feature pixels of 6 video pixels over blocks of 16: which block each takes its vector of, and what it reads."""
    frame, size, block = (48, 64), (8, 11), 16
    blocks = (3, 4)
    motion = torch.zeros(1, *blocks, 2, dtype=torch.int16)
    motion[0, 1, 1], motion[0, 1, 2], motion[0, 0, 1] = torch.tensor([[38, -26], [60, 8], [-20, 12]]).short()
    flow = oracle.block_flow(motion, size, block=block, frame_size=frame)[0]
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    for (by, bx), colour in np.ndenumerate(np.arange(12).reshape(blocks)):
        tint = plt.get_cmap("tab20")(int(colour) % 20)
        left.add_patch(plt.Rectangle((bx * block, by * block), block, block, fc=tint, alpha=0.25, ec="#40444a", lw=1.2))
    for y in range(size[0]):
        for x in range(size[1]):
            centre = ((x + 0.5) * frame[1] / size[1], (y + 0.5) * frame[0] / size[0])
            index = int(centre[1] // block) * blocks[1] + int(centre[0] // block)
            left.plot(*centre, "o", ms=4.5, color=plt.get_cmap("tab20")(index % 20), mec="#40444a", mew=0.5)
            shift = flow[y, x].numpy() * (frame[1] / size[1], frame[0] / size[0])
            if np.any(shift):
                left.annotate("", centre + shift, centre, arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 0.9})
    left.set(xlim=(-0.5, 64.5), ylim=(48.5, -0.5), aspect="equal")
    left.set_title(
        "a block gives its vector to the feature pixels whose centres it holds\n"
        "(blocks of 16, a map of 8×11 over a frame of 48×64)"
    )
    bare(left)
    y, x = 3, 3
    position = np.array([x, y]) + flow[y, x].numpy()
    corner = np.floor(position).astype(int)
    part = position - corner
    rows, columns = range(corner[1] - 1, corner[1] + 5), range(corner[0] - 3, corner[0] + 4)
    for row in rows:
        for column in columns:
            tap = (column - corner[0], row - corner[1])
            weight = float(np.prod([1 - p if t == 0 else p if t == 1 else 0 for t, p in zip(tap, part, strict=True)]))
            right.add_patch(
                plt.Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fc=plt.get_cmap("Oranges")(weight * 0.9), ec=GREY, lw=0.7
                )
            )
            if weight:
                right.text(column - 0.42, row - 0.22, f"{weight:.2f}", fontsize=8)
    right.annotate("", position, (x, y), arrowprops={"arrowstyle": "-|>", "color": BLUE, "lw": 1.6})
    right.plot(x, y, "o", color=BLUE, ms=5)
    right.plot(*position, "x", color=ORANGE, ms=7, mew=2)
    right.set(xlim=(columns[0] - 0.6, columns[-1] + 0.6), ylim=(rows[-1] + 0.6, rows[0] - 0.6), aspect="equal")
    right.set_title("the pixel reads four taps of the keyframe's map,\nat its own position plus the scaled vector")
    bare(right)


def flow_warp() -> Figure:
    """What `legacy` shifts: sampling positions at a flow of 0, and a map of checks."""
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 2.7), layout="constrained", width_ratios=[1.5, 1, 1, 1])
    size = 12
    ramp = torch.arange(size, dtype=torch.float64).expand(1, 1, 1, size).contiguous()
    # Where a map that holds its own x is sampled, x is read; at the ends a tap outside pulls it to 0.
    x = torch.arange(size, dtype=torch.float64)
    legacy = x * size / (size - 1) - 0.5
    inside = (legacy >= 0) & (legacy <= size - 1)
    still = torch.zeros(1, size, size, 2, dtype=torch.float64)
    read = ops.flow_warp(ramp.expand(1, 1, size, size), still, grid="legacy")[0, 0, size // 2]
    assert torch.allclose(read[inside], legacy[inside])
    axes[0].axhline(0, color=BLUE, lw=1.6, label="aligned")
    axes[0].plot(x, legacy - x, "o-", color=ORANGE, ms=4, label="legacy")
    axes[0].set(xlabel="x of the pixel (W = 12)", ylabel="pixels", title="sampling position − x, flow 0")
    axes[0].legend(frameon=False, loc="lower right")
    height, width = 6, 8
    checks = ((torch.arange(height)[:, None] + torch.arange(width)) % 2).double()[None, None] * 0.75 + 0.25
    still = torch.zeros(1, height, width, 2)
    shown_maps = (
        ("feature", checks),
        ("flow 0, aligned: a copy", ops.flow_warp(checks, still)),
        ("flow 0, legacy", ops.flow_warp(checks, still, grid="legacy")),
    )
    for ax, (title, values) in zip(axes[1:], shown_maps, strict=True):
        picture(ax, values[0, 0], title, cmap="gray", vmin=0, vmax=1)
        grid(ax, height, width, color=GREY)
    return figure


FIGURES = {"mv_warp": mv_warp, "flow_warp": flow_warp}
