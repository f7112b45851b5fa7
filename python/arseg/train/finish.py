"""What is done to a batch on the device: colours, normalisation and the labels' type.

So a batch travels in bytes, a fifth of its size, and a GPU does what took most of a CPU's time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arseg.data.augment import jittered
from arseg.labels import IGNORED, LabelSet
from arseg.preprocess import normalise

from .batches import Batch


@dataclass(frozen=True)
class Finish:
    """Pictures in bytes and the factors of their colours -> what a network and its loss take.

    `image`, and `key` where there is one: uint8 `[N, H, W, 3]` -> float32 `[N, 3, H, W]`, channels last in memory.
    `label`: uint8 `[N, H, W]` -> int64. `colour`, float32 `[N, 3]`, see `jitter_draws`, is used up. The rest stays.

    Everything is a sample's own, so that a part of a batch may be finished as well. On a GPU labels are the CPU's, and
    images but for rounding.

    Attributes:
        mean, std: of images, see `normalise`.
        num_classes: ids from here on are ignored; 256: all ids stay.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int = 256

    @staticmethod
    def of(labels: LabelSet) -> Finish:
        """For these classes, and normalised as they say."""
        return Finish(tuple(labels.mean), tuple(labels.std), len(labels.classes))

    def __call__(self, batch: Batch) -> Batch:
        names: list[str] = [name for name in ("key", "image") if name in batch]
        images = jittered([batch[name].permute(0, 3, 1, 2) for name in names], batch["colour"])
        label = batch["label"].long()
        done = {name: normalise(image, self.mean, self.std) for name, image in zip(names, images, strict=True)}
        done["label"] = label if self.num_classes > 255 else torch.where(label < self.num_classes, label, IGNORED)
        return {**{name: value for name, value in batch.items() if name != "colour"}, **done}
