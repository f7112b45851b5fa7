"""mIoU while training: on whole frames, shared among the processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.data.datasets import LabelledFrames
from arseg.data.prepared import Item, Prepared, read_pair
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.networks.base import SplitNetwork
from arseg.train import distributed
from arseg_ext import ops

from .data import normalised
from .recipes import PaperArRecipe, PaperHrRecipe


def validation_scores(
    count: int, predict: Callable[[int], tuple[np.ndarray, np.ndarray]], classes: int, device: torch.device
) -> ConfusionMatrix:
    """The confusion matrix of `count` frames.

    `predict(index)` gives a frame's labels, true and predicted, uint8 `[H, W]`; each process calls it for its share.
    """
    matrix = ConfusionMatrix(classes)
    for index in range(distributed.rank(), count, distributed.world()):
        matrix.add(*predict(index))
    if distributed.world() > 1:
        counts = torch.from_numpy(matrix.counts).to(device)
        dist.all_reduce(counts)
        matrix.counts = counts.cpu().numpy()
    return matrix


def labels_of(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Logits `[1, classes, h, w]` -> uint8 `size`, corner pixels in place as the published networks resize."""
    return ops.resize_labels(logits.float().contiguous(), size, align_corners=True)[0].cpu().numpy()


def autocast(recipe: PaperHrRecipe, device: torch.device | str) -> contextlib.AbstractContextManager:
    """The recipe's precision."""
    if recipe.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, recipe.precision))


def shrunk(image: Tensor, scale: float) -> Tensor:
    """As `ARSegNet.shrink`: `[N, 3, H, W]` -> `[N, 3, int(H*scale), int(W*scale)]`, filtered."""
    size = [max(1, int(side * scale)) for side in image.shape[2:]]
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


@contextlib.contextmanager
def _evaluating(net: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """The network with other weights and in eval mode, for a while."""
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        net.load_state_dict(before)
        net.train()


def _image(picture: np.ndarray, recipe: PaperHrRecipe, device: torch.device | str) -> Tensor:
    return normalised(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device), recipe)


def frame_scores(
    net: nn.Module,
    state: Mapping[str, Tensor],
    data: LabelledFrames,
    recipe: PaperHrRecipe,
    device: torch.device | str,
    network: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """mIoU of `network` with the weights `state` of `net`, on labelled frames."""

    def predict(index: int) -> tuple[np.ndarray, np.ndarray]:
        picture, label = data[index]
        with autocast(recipe, device):
            logits = network(_image(picture, recipe, device))
        return label, labels_of(logits, label.shape)  # type: ignore[arg-type]

    with _evaluating(net, state):
        return {"miou": validation_scores(len(data), predict, len(data.classes), torch.device(device)).miou()}


def pair_scores(
    net: nn.Module,
    state: Mapping[str, Tensor],
    high: SplitNetwork,
    data: Prepared,
    recipe: PaperArRecipe,
    device: torch.device | str,
    fusing: bool,
    classes: int,
) -> dict[str, float]:
    """mIoU of the low-resolution network with the weights `state`, on decoded frames; `fusing`: with its fusion."""
    items: list[Item] = data.at(recipe.distances or None)

    def predict(index: int) -> tuple[np.ndarray, np.ndarray]:
        pair = read_pair(items[index], decoded=True)
        with autocast(recipe, device):
            low = net.features(shrunk(_image(pair.image, recipe, device), recipe.scale))  # type: ignore[operator]
            if fusing:
                reference = high.features(_image(pair.key, recipe, device)).contiguous()
                motion = torch.from_numpy(pair.vectors.copy())[None].to(device)
                warped = ops.mv_warp(reference, motion, block=4, frame_size=pair.label.shape)
                logits, _ = net.fuse(low, warped)  # type: ignore[operator]
            else:
                logits = net.network.output(low)  # type: ignore[operator, union-attr]
        return pair.label, labels_of(logits, pair.label.shape)  # type: ignore[arg-type]

    with _evaluating(net, state):
        return {"miou": validation_scores(len(items), predict, classes, torch.device(device)).miou()}
