"""mIoU while training: on whole frames, shared among the processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from arseg.data.datasets import LabelledFrames
from arseg.data.prepared import Prepared, PreparedFrame, read_pair
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.networks.arseg_net import ARSegNet
from arseg.train import distributed
from arseg_ext import ops

from .data import ignoring, normalised, void_to_ignore
from .recipes import PaperArRecipe, PaperHrRecipe


def validation_scores(
    count: int, predict: Callable[[int], tuple[np.ndarray, np.ndarray]], num_classes: int, device: torch.device
) -> ConfusionMatrix:
    """The confusion matrix of `count` frames.

    `predict(index)` gives a frame's labels, true and predicted, uint8 `[H, W]`; each process calls it for its share.
    """
    matrix = ConfusionMatrix(num_classes)
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
    both: ARSegNet,
    net: nn.Module,
    state: Mapping[str, Tensor],
    data: Prepared,
    recipe: PaperArRecipe,
    device: torch.device | str,
    fusing: bool,
    num_classes: int,
) -> dict[str, float]:
    """mIoU on decoded frames of `both` networks with the weights `state` of `net`, the one of the shrunken frames.

    `fusing`: with its fusion.
    """
    items: list[PreparedFrame] = data.at(recipe.distances or None)
    void = void_to_ignore(data.classes, recipe)

    def predict(index: int) -> tuple[np.ndarray, np.ndarray]:
        pair = read_pair(items[index], decoded=True)
        with autocast(recipe, device):
            image, (height, width) = _image(pair.image, recipe, device), pair.label.shape
            if fusing:
                reference = both.keyframe(_image(pair.key, recipe, device))
                motion = torch.from_numpy(pair.vectors.copy())[None].to(device)
                logits = both.step(image, reference, motion, block=4, frame_size=(height, width))
            else:
                logits = both.classifier(both.low_res(image))
        return ignoring(pair.label, void), both.labels(logits.float(), (height, width))[0].cpu().numpy()

    with _evaluating(net, state):
        return {"miou": validation_scores(len(items), predict, num_classes, torch.device(device)).miou()}
