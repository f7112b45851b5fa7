"""Figures of creff, creff_logits and creff_labels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scene import Scene, shown, street
from style import BLUE, GREEN, GREY, ORANGE, RED, bare, picture
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from arseg.labels import CAMVID
from arseg_ext import ops

SMALLER = 4


def parameters() -> list[Tensor]:
    """Convolutions that show what the fusion can do: compare brightness, and give back what is finer than a blur."""
    identity = torch.zeros(3, 1, 3, 3)
    identity[:, :, 1, 1] = 1
    detail = identity - torch.full((3, 1, 3, 3), 1 / 9)
    none = torch.zeros(3)
    return [6 * identity, none, 6 * identity, none, 2.2 * detail, none]


def low_resolution(scene: Scene) -> Tensor:
    return F.avg_pool2d(scene.current, SMALLER)


def creff_inputs(scene: Scene) -> tuple[tuple[Tensor, ...], dict]:
    inputs = (scene.keyframe, low_resolution(scene), scene.motion, *parameters())
    return inputs, {"window": 3, "block": 4, "frame_size": scene.size, "outside": "masked"}


def creff() -> Figure:
    """The dataflow, with the maps of a street: colours take the place of features."""
    scene = street()
    inputs, options = creff_inputs(scene)
    weights = parameters()
    up = F.interpolate(inputs[1], scene.size, mode="bilinear", align_corners=True)
    warped = ops.mv_warp(scene.keyframe, scene.motion, block=4, frame_size=scene.size)
    query, key, value = (
        F.conv2d(x, weights[2 * i], weights[2 * i + 1], padding=1, groups=3) for i, x in enumerate((up, warped, warped))
    )
    attended = ops.local_attention(query, key, value, window=3, outside="masked")
    fused = ops.creff(*inputs, **options)
    assert torch.allclose(fused, up + attended, atol=1e-5)
    figure = plt.figure(figsize=(9.4, 4.0))
    wide, high = 0.145, 0.235

    def place(x: float, y: float, values: Tensor, title: str) -> None:
        axes = figure.add_axes((x, y, wide, high))
        picture(axes, shown(values), title)

    place(0.01, 0.62, scene.keyframe, "reference [C, H, W]")
    place(0.01, 0.14, inputs[1], "low_res [C, h, w]")
    place(0.235, 0.62, warped, "warped")
    place(0.235, 0.14, up, "up")
    place(0.46, 0.70, key / 6, "key")
    place(0.46, 0.385, value + 0.5, "value (+ 0.5)")
    place(0.46, 0.09, query / 6, "query")
    place(0.66, 0.385, attended + 0.5, "attention (+ 0.5)")
    place(0.85, 0.14, fused, "result [C, H, W]")
    over = figure.add_axes((0, 0, 1, 1), zorder=5)
    over.set(xlim=(0, 1), ylim=(0, 1))
    over.patch.set_alpha(0)
    bare(over)
    _arrow(over, (0.158, 0.735), (0.232, 0.735), "motion", BLUE)
    _arrow(over, (0.158, 0.255), (0.232, 0.255), "bilinear", GREEN)
    for y in (0.80, 0.53):
        _arrow(over, (0.383, 0.735), (0.457, y), "dw 3×3" if y > 0.7 else "", BLUE)
    _arrow(over, (0.383, 0.215), (0.457, 0.185), "dw 3×3", GREEN)
    for y in (0.80, 0.50, 0.20):
        _arrow(over, (0.608, y), (0.657, 0.50), "", ORANGE)
    _arrow(over, (0.808, 0.47), (0.90, 0.42), "+", RED)
    over.plot([0.307, 0.307, 0.922], [0.12, 0.045, 0.045], color=GREEN, lw=1.4)
    _arrow(over, (0.922, 0.042), (0.922, 0.125), "", GREEN)
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4})
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.03)
    axes.text(*middle, text, ha="center", fontsize=8, color=colour)


def creff_logits() -> Figure:
    """Where the classifier goes, and what that saves, as the FLOP counter of torch has it."""
    channels, height, width, window = 64, 8, 8, 7
    classes = (2, 4, 8, 12, 19, 32, 48, 64, 96, 128)
    maps = torch.randn(1, channels, height, width), torch.randn(1, channels, height // 2, width // 2)
    flow = torch.zeros(1, height, width, 2)
    weights = [torch.randn(channels, 1, 3, 3) if i % 2 == 0 else torch.randn(channels) for i in range(6)]

    def flops(call) -> float:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops() / (height * width) / 1e3

    def classified(head: tuple[Tensor, Tensor]) -> Tensor:
        return F.conv2d(ops.creff(*maps, flow, *weights, window=window), head[0][..., None, None], head[1])

    after, before = [], []
    for count in classes:
        head = torch.randn(count, channels), torch.randn(count)
        after.append(flops(lambda head=head: classified(head)))
        before.append(flops(lambda head=head: ops.creff_logits(*maps, flow, *weights, *head, window=window)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.2), layout="constrained", width_ratios=[1.15, 1])
    _two_orders(left)
    right.plot(classes, after, "o-", ms=3.5, color=GREY, label="creff, then the classifier")
    right.plot(classes, before, "o-", ms=3.5, color=BLUE, label="creff_logits")
    right.set(
        xlabel="classes K", ylabel="kFLOP a pixel", title="C = 64, window 7, as FlopCounterMode counts", ylim=(0, None)
    )
    right.legend(frameon=False)
    return figure


def _two_orders(axes: Axes) -> None:
    axes.set(xlim=(0, 10), ylim=(0, 6))
    bare(axes)
    values, sums = ("values\nC", GREY), "weighted sum\n{} × k²"
    chains = (
        (
            "creff, then the classifier: the fused map is written and read",
            [values, (sums.format("C"), ORANGE), ("+ up\nC", GREY), ("classifier\nC → K", BLUE)],
        ),
        (
            "creff_logits: the classifier is linear and goes first",
            [values, ("classifier\nC → K", BLUE), (sums.format("K"), ORANGE), ("+ up of K\nlow-res logits", GREY)],
        ),
    )
    arrow = {"arrowstyle": "->", "color": GREY}
    for y, (title, boxes) in zip((4.5, 1.7), chains, strict=True):
        axes.text(0, y + 1.1, title)
        step = 10 / len(boxes)
        for i, (text, colour) in enumerate(boxes):
            x = (i + 0.5) * step
            frame = {"boxstyle": "round,pad=0.4", "fc": "white", "ec": colour, "lw": 1.3}
            axes.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
            if i:
                axes.annotate("", (x - step * 0.37, y), (x - step * 0.6, y), arrowprops=arrow)


def nearest_colour(scene: Scene, classes: tuple[int, ...]) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """A 1x1 classifier that picks the class with the nearest mean colour, and these colours."""
    colours = scene.current[0].permute(1, 2, 0)
    means = torch.stack([colours[scene.labels == k].mean(0) for k in classes])
    return (2 * means, -means.square().sum(1)), means


def creff_labels() -> Figure:
    """Logits of three classes, the labels that they make, and what a result weighs."""
    scene = street()
    inputs, options = creff_inputs(scene)
    names = ("sky", "building", "road")
    head, means = nearest_colour(scene, tuple(CAMVID.classes.index(name) for name in names))
    logits = ops.creff_logits(*inputs, *head, **options)[0]
    labels = ops.creff_labels(*inputs, *head, **options)[0]
    assert (logits.argmax(0) == labels).float().mean() > 0.999
    figure, axes = plt.subplots(1, 5, figsize=(9.4, 1.9), layout="constrained", width_ratios=[1, 1, 1, 1, 0.9])
    relative = logits - logits.mean(0)  # what all classes share decides nothing
    for ax, name, logit in zip(axes, names, relative, strict=False):
        picture(ax, logit, f'logits of "{name}"', cmap="viridis")
    picture(axes[3], means[labels.long()].numpy(), "creff_labels")
    _result_bytes(axes[4])
    return figure


def _result_bytes(axes: Axes) -> None:
    names, sizes = ("creff", "creff_logits", "creff_labels"), (64 * 4, 12 * 4, 1)
    axes.barh(names, sizes, color=[GREY, BLUE, ORANGE])
    for y, size in enumerate(sizes):
        axes.text(size * 1.15, y, size, va="center", fontsize=8)
    axes.set(xscale="log", xlim=(0.7, 1500), title="bytes a pixel: C = 64,\nK = 12, float32")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)


FIGURES = {"creff": creff, "creff_logits": creff_logits, "creff_labels": creff_labels}
