"""Phase 1 with a teacher: a larger network whose classes, pixel by pixel, a smaller one imitates."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.folding import fold_batch_norm
from arseg.preprocess import normalise
from arseg.weights.files import load_checkpoint


class Taught:
    """Imitation of the frozen keyframe network in `path`.

    Args:
        path: a weights file of either phase.
        labels: the classes of the network that learns.

    Raises `InputError` for weights of a network for other classes.
    """

    def __init__(self, path: Path, labels: LabelSet, device: torch.device | str = "cpu"):
        self.path = path
        network: Any = load_checkpoint(path)
        known = network.label_set
        network = network.high if isinstance(network, ARSegNet) else network
        if known is None or known.classes != labels.classes:
            found = "no classes" if known is None else f"those of {path} ({', '.join(known.classes)})"
            raise InputError(f"teacher: expected a network for {', '.join(labels.classes)}, got {found}")
        self.labels = known
        with contextlib.suppress(InputError):  # a normalisation without a convolution before it
            network = fold_batch_norm(network)
        self.network = network.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)

    def loss(self, logits: Tensor, image: Tensor, labels: LabelSet) -> Tensor:
        """Cross-entropy of `logits` `[N, K, H, W]` against the teacher's classes.

        Args:
            image: `[N, 3, H, W]`, normalised as `labels` says.
        """
        with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16):
            seen: Tensor = self.network(_renormalised(image, labels, self.labels))
        corners = bool(getattr(self.network, "align_corners", False))
        seen = seen.float()
        if seen.shape[-2:] != logits.shape[-2:]:
            seen = F.interpolate(seen, size=logits.shape[-2:], mode="bilinear", align_corners=corners)
        return F.cross_entropy(logits.float(), seen.softmax(1))


def _renormalised(image: Tensor, now: LabelSet, wanted: LabelSet) -> Tensor:
    if (now.mean, now.std) == (wanted.mean, wanted.std):
        return image
    mean, std = (image.new_tensor(values).reshape(3, 1, 1) for values in (now.mean, now.std))
    return normalise(image * std + mean, wanted.mean, wanted.std)
