"""Phase 1: the network of the keyframes, on labelled single frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.data import camvid
from arseg.data.augment import jitter, random_view
from arseg.data.stills import Still, camvid_stills, fingerprint, street_stills
from arseg.models.checkpoint import save_checkpoint
from arseg.models.pyramid import PyramidNet, normalise

from .loop import Batch, Schedule, train


@dataclass(frozen=True)
class HrRecipe:
    """Phase 1's settings; the defaults made the shipped weights."""

    steps: int = 2400
    batch: int = 6
    crop: tuple[int, int] = (288, 384)
    scales: tuple[float, float] = (0.75, 1.75)
    rate: float = 1e-3
    street_scenes: int = 100
    street_share: float = 1 / 3
    street_from: int = 600
    channels: int = 64
    wide: int = 128
    seed: int = 0


def class_weights(stills: Sequence[Still], classes: int) -> Tensor:
    """float32 `[classes]`, mean 1: the root of ENet's 1 / ln(1.02 + share), so that thin classes count."""
    counts = sum(np.bincount(label.ravel(), minlength=256)[:classes] for _, label in stills)
    weights = 1 / np.sqrt(np.log(1.02 + counts / np.sum(counts)))
    return torch.from_numpy(weights / weights.mean()).float()


def sample_stills(sources: Sequence[tuple[Sequence[Still], int]], recipe: HrRecipe, rng: np.random.Generator) -> Batch:
    """A batch of random views: `count` frames of each `(stills, count)`."""
    images, labels = [], []
    for stills, count in sources:
        for index in rng.integers(0, len(stills), count):
            image, label = stills[index]
            view = random_view(rng, label.shape, recipe.crop, recipe.scales)
            images.append(view.image(image, recipe.crop))
            labels.append(view.label(label, recipe.crop))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    (image,) = jitter([stacked], rng, 0.4)
    return {"image": normalise(image, camvid.MEAN, camvid.STD), "label": torch.from_numpy(np.stack(labels)).long()}


def train_hr(root: Path, folder: Path, recipe: HrRecipe, report: Callable[[str], None] = print) -> Path:
    """Trains on CamVid's `train` in `root` and on synthetic streets; resumes what `folder` holds.

    Returns the path of the weights, `folder/hr.safetensors`.
    """
    torch.manual_seed(recipe.seed)
    real = camvid_stills(root)
    report(f"CamVid: {len(real)} frames; rendering {recipe.street_scenes} streets")
    streets = street_stills(folder / "streets", recipe.street_scenes)
    drawn = round(recipe.batch * recipe.street_share)

    def sample(step: int, rng: np.random.Generator) -> Batch:
        # Real frames alone at first, from `street_from` on both.
        count = drawn if step >= recipe.street_from else 0
        return sample_stills([(real, recipe.batch - count), (streets, count)], recipe, rng)

    classes = len(camvid.CLASSES)
    weights = class_weights(real, classes)
    net = PyramidNet(classes, recipe.channels, recipe.wide)
    net.encoder.load_imagenet_weights()
    net = net.to(memory_format=torch.channels_last).train()

    def loss(batch: Batch) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(batch["image"])
        return {"segmentation": F.cross_entropy(logits.float(), batch["label"], weights, ignore_index=camvid.IGNORE)}

    encoder = list(net.encoder.parameters())
    rest = [p for name, p in net.named_parameters() if not name.startswith("encoder.")]
    groups: list[dict[str, Any]] = [{"params": encoder, "scale": 0.5}, {"params": rest}]
    state = train(
        net,
        groups,
        sample,
        loss,
        Schedule(recipe.steps, recipe.rate),
        folder,
        settings={**asdict(recipe), "data": fingerprint(real)},
        seed=recipe.seed,
        report=report,
    )
    path = folder / "hr.safetensors"
    config = {"classes": classes, **{key: asdict(recipe)[key] for key in ("channels", "wide")}}
    save_checkpoint(state, path, kind="hr", config=config)
    return path
