"""Phase 2's first stage: the low-resolution branch alone, on single frames, under the frozen keyframe network.

Source: Hu et al., CVPR 2023, whose first 50 of 100 epochs on CamVid are without the fusion, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.data.pairs import Clip
from arseg.data.stills import Still, compressed
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import enlarged
from arseg.networks.output import enlarge
from arseg.networks.pyramid import PyramidNet
from arseg.train.batches import Batch
from arseg.train.finish import Finish
from arseg.train.loop import train
from arseg.train.losses import weighted_iou_loss
from arseg.train.schedule import Schedule

from .hr import EMA_DECAY
from .network import lr_groups
from .pairs import Clips, places_in_batch
from .recipes import LATER, ArRecipe, HrRecipe
from .stills import Donors, sample_stills

SHARES = {"street": 1 / 8, "video": 1 / 4}
"""Of a batch; the rest are labelled stills."""

# What the stage depends on; another fusion after it does not make it another one.
_SETTINGS = (
    "low_steps",
    "low_batch",
    "low_lr",
    "crop",
    "scales",
    "streets",
    "scale",
    "iou_loss_weight",
    "similarity",
    "distillation",
    "seed",
    "rows",
    "rare",
    "precision",
)

Teacher = Callable[[Tensor], Tensor]
"""Image -> fusion feature, of the frozen keyframe network."""


def imitation_loss(
    net: ARSegNet, feature: Tensor, logits: Tensor, target: Tensor, label: Tensor, weights: Tensor, recipe: ArRecipe
) -> dict[str, Tensor]:
    """A frame's logits against its label; its feature and logits against the teacher's feature `target` (FST).

    Unlabelled frames count in the latter two alone.
    """
    with torch.no_grad(), torch.autocast(target.device.type, torch.bfloat16, recipe.precision == "bfloat16"):
        classes = net.classifier(target).float().softmax(1)
    large = enlarge(net.high, logits.float(), label.shape[-2:])
    similarity = F.mse_loss(feature.float(), target.float())
    if not isinstance(net.high, PyramidNet):
        similarity = similarity / target.float().var().clamp_min(1e-12)  # features of others have any scale
    return {
        **weighted_iou_loss(large, label, weights, iou_loss_weight=recipe.iou_loss_weight),
        "similarity": recipe.similarity * similarity,
        "distillation": recipe.distillation * F.cross_entropy(logits.float(), classes),
    }


def low_loss(net: ARSegNet, teacher: Teacher, batch: Batch, weights: Tensor, recipe: ArRecipe) -> dict[str, Tensor]:
    """`imitation_loss` of what the low-resolution branch finds by itself, enlarged."""
    with torch.autocast(batch["image"].device.type, torch.bfloat16, recipe.precision == "bfloat16"):
        with torch.no_grad():
            target = teacher(batch["image"])
        feature = enlarged(net.low_res(batch["image"]), target)
        logits = net.classifier(feature)
    return imitation_loss(net, feature, logits, target, batch["label"], weights, recipe)


def train_low(
    net: ARSegNet,
    teacher: Teacher,
    stills: Sequence[Still],
    donors: Donors,
    label_set: LabelSet,
    clips: Clips,
    weights: Tensor,
    folder: Path,
    recipe: ArRecipe,
    made_from: Mapping[str, Any],
    **options: Any,
) -> None:
    """Trains `net.low` for `recipe.low_steps`, and leaves it with the average of its weights.

    Args:
        stills: labelled frames, shown as they are and as keyframes of H.264.
        donors: of rare things among the stills, which are pasted.
        label_set: the classes, and how the network's input is normalised.
        clips: those of streets and unlabelled videos lend their frames.
        folder: where the stage's own state and log are.
        made_from: what tells these data and teacher from others.
        options: `report`, `device`, `workers` and `tensorboard` of `loop.train`.
    """
    views = HrRecipe(crop=recipe.crop, scales=recipe.scales)
    versions = [stills, *(compressed(stills, crf) for crf in views.qualities)]
    places = places_in_batch(recipe.low_batch, SHARES, clips)
    sources: list[tuple[Sequence[Sequence[Still]], int]] = [(versions, places.pop("still"))]
    sources += [([_Frames(clips[kind])], count) for kind, count in places.items()]

    def sample(_: int, rng: np.random.Generator) -> Batch:
        return sample_stills(sources, donors, views, rng)

    net.low.load_state_dict(
        train(
            net.low,
            lr_groups(net.low),
            sample,
            lambda batch: low_loss(net, teacher, batch, weights, recipe),
            Schedule(recipe.low_steps, recipe.low_lr, ema_decay=EMA_DECAY),
            folder,
            settings={**_settings(recipe), "shares": SHARES, **made_from},
            seed=recipe.seed,
            finish=Finish.of(label_set),
            **options,
        )
    )


def _settings(recipe: ArRecipe) -> dict[str, Any]:
    found = {name: getattr(recipe, name) for name in _SETTINGS}
    return {name: value for name, value in found.items() if name not in LATER or value != LATER[name]}


class _Frames(Sequence[Still]):
    """The frames of clips with their labels, of clips that may be read when they are asked for."""

    def __init__(self, clips: Sequence[Clip]):
        self._clips = clips
        self._places = [(n, k) for n, clip in enumerate(clips) for k in range(len(clip.images))]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Still: ...
    @overload
    def __getitem__(self, index: slice) -> list[Still]: ...
    def __getitem__(self, index: int | slice) -> Still | list[Still]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number, k = self._places[index]
        clip = self._clips[number]
        return clip.images[k], clip.labels[k]
