"""Phase 2: the low-resolution branch and CReFF, by feature similarity training (FST) under the frozen keyframe network.

Source: Hu et al., CVPR 2023: segmentation loss + MSE between the fused feature and the one that the
high-resolution network finds in the same frame; the 1x1 classifier is shared and frozen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.data import camvid
from arseg.data.augment import jitter, random_view
from arseg.data.pairs import Clip, cached_clips
from arseg.data.stills import camvid_stills, fingerprint
from arseg.errors import InputError
from arseg.models.arseg_net import ARSegNet
from arseg.models.build import build
from arseg.models.checkpoint import load_into, read_checkpoint, save_checkpoint
from arseg.models.pyramid import normalise

from .loop import Batch, Schedule, train
from .train_hr import class_weights

BLOCK = 4


@dataclass(frozen=True)
class ArRecipe:
    """Phase 2's settings; the defaults made the shipped weights."""

    steps: int = 1500
    batch: int = 6
    crop: tuple[int, int] = (288, 384)
    scales: tuple[float, float] = (0.8, 1.5)
    rate: float = 7e-4
    streets: int = 150
    street_share: float = 1 / 3
    scale: float = 0.5
    window: int = 7
    similarity: float = 1.0
    seed: int = 0


def sample_pairs(sources: Sequence[tuple[Sequence[Clip], int]], recipe: ArRecipe, rng: np.random.Generator) -> Batch:
    """Random views of pairs; `motion` is in the window's own pixels, `frame_size` is that window's size.

    All samples of a batch share one window size, so that their fields stack.
    """
    frame = next(clips[0].key.shape[:2] for clips, _ in sources)
    shape = random_view(rng, frame, recipe.crop, recipe.scales)
    keys, images, labels, motion = [], [], [], []
    for clips, count in sources:
        for index in rng.integers(0, len(clips), count):
            clip = clips[index]
            k = rng.integers(len(clip.distances))
            view = shape.moved(rng, clip.key.shape[:2])
            keys.append(view.image(clip.key, recipe.crop))
            images.append(view.image(clip.images[k], recipe.crop))
            labels.append(view.label(clip.labels[k], recipe.crop))
            motion.append(view.field(clip.vectors[k], BLOCK))
    key, image = jitter([torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) for x in (keys, images)], rng, 0.3)
    return {
        "key": normalise(key, camvid.MEAN, camvid.STD),
        "image": normalise(image, camvid.MEAN, camvid.STD),
        "label": torch.from_numpy(np.stack(labels)).long(),
        "motion": torch.from_numpy(np.stack(motion)),
        "frame_size": (shape.height, shape.width),
    }


def fst_loss(net: ARSegNet, batch: Batch, weights: Tensor, similarity: float) -> dict[str, Tensor]:
    """Segmentation and feature similarity of the fused feature of `batch["image"]`."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            both = net.keyframe(torch.cat([batch["key"], batch["image"]]))
            reference, teacher = both.chunk(2)
        fused = net.fuse(
            net.low_res(batch["image"]), reference, batch["motion"], block=BLOCK, frame_size=batch["frame_size"]
        )
        logits = net.classify(fused, batch["image"])
    return {
        "segmentation": F.cross_entropy(logits.float(), batch["label"], weights, ignore_index=camvid.IGNORE),
        "similarity": similarity * F.mse_loss(fused.float(), teacher.float()),
    }


class _Trained(nn.Module):
    """The part of the network that phase 2 changes, so that only it is kept in the training state."""

    def __init__(self, net: ARSegNet):
        super().__init__()
        self.low, self.fusion = net.low, net.fusion


def train_ar(root: Path, teacher: Path, folder: Path, recipe: ArRecipe, report: Callable[[str], None] = print) -> Path:
    """Trains on top of the phase-1 weights `teacher`; resumes what `folder` holds.

    Returns the path of the weights, `folder/ar.safetensors`.
    """
    torch.manual_seed(recipe.seed)
    kind, config, state = read_checkpoint(teacher)
    if kind != "hr":
        raise InputError(f'{teacher}: expected weights of kind "hr" (from `arseg train hr`), got "{kind}"')
    high = build(kind, config)
    load_into(high, state, teacher)
    net = ARSegNet(high, channels=config["channels"], scale=recipe.scale, window=recipe.window)
    net.start_fusion()
    net = net.to(memory_format=torch.channels_last)
    net.high.eval().requires_grad_(False)
    net.low.train()

    stills = camvid_stills(root)
    weights = class_weights(stills, config["classes"])
    clips: dict[str, list[Clip]] = {"still": [], "street": []}
    total = len(stills) + recipe.streets
    for made, (source, clip) in enumerate(cached_clips(folder / "pairs", stills, recipe.streets, seed=recipe.seed), 1):
        clips[source].append(clip)
        if made % 50 == 0 or made == total:
            report(f"pairs: {made} of {total} clips")
    drawn = round(recipe.batch * recipe.street_share)
    sources = [(clips[source], n) for source, n in (("still", recipe.batch - drawn), ("street", drawn)) if n]

    part = _Trained(net)
    averaged = train(
        part,
        [{"params": list(net.low.parameters())}, {"params": list(net.fusion.parameters())}],
        lambda _, rng: sample_pairs(sources, recipe, rng),
        lambda batch: fst_loss(net, batch, weights, recipe.similarity),
        Schedule(recipe.steps, recipe.rate),
        folder,
        settings={**asdict(recipe), "data": fingerprint(stills), "teacher": zlib.crc32(teacher.read_bytes())},
        seed=recipe.seed,
        report=report,
    )
    full = {**{f"high.{key}": value for key, value in high.state_dict().items()}, **averaged}
    path = folder / "ar.safetensors"
    save_checkpoint(full, path, kind="ar", config={**config, "scale": recipe.scale, "window": recipe.window})
    return path
