"""The recipes of the shipped weights: settings of both phases, whose defaults are for CamVid at 480x360.

What they become for other data is said in `for_data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from arseg.train.settings import AtLeast0, AtLeast1, Field, Positive

Share = Annotated[float, Field(ge=0, le=1)]
Passes = Annotated[float, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Quality = Annotated[float, Field(ge=0, le=51)]
Scale = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class HrRecipe:
    """Phase 1's settings.

    Attributes:
        lr: AdamW's learning rate at the end of the warm-up; the encoder, which has learned before, takes half of it.
        crop: height and width of training views, in pixels.
        scales: range of the views' random magnification, of the frames as they are stored.
        iou_loss_weight: of the soft IoU, beside the cross-entropy.
        pasted: fraction of the labelled frames into which rare things of another one are pasted.
        qualities: x264's crf of the keyframes as which stills are shown, beside the stills as they are.
        street_scenes: synthetic streets that are rendered; street_share: their fraction of a batch.
        channels, wide, encoder: of the network, see `arseg.networks.PyramidNet`.
        height: of the frames to be segmented later: all are resized to it; 0: they stay as they are.
        rows: labelled frames that are higher are shrunk to so many.
        epochs: passes over the labelled frames, which decide how many steps there are; 0: `steps` does.
        rare: names of the classes that are pasted; None: CamVid's, or those with less than a twentieth of the pixels.
        imagenet: whether the encoder starts from the ImageNet weights of its package, where it has one.
        imitation: weight of the loss against the classes of a teacher, where there is one.
    """

    steps: AtLeast1 = 2500
    batch: AtLeast1 = 8
    crop: tuple[AtLeast1, AtLeast1] = (288, 384)
    scales: tuple[Positive, Positive] = (0.75, 1.75)
    lr: Positive = 1e-3
    iou_loss_weight: Weight = 1.0
    pasted: Share = 0.5
    qualities: tuple[Quality, ...] = (22.0, 28.0)
    street_scenes: AtLeast0 = 60
    street_share: Share = 1 / 8
    channels: AtLeast1 = 64
    wide: AtLeast1 = 256
    height: AtLeast0 = 0
    seed: int = 0
    rows: AtLeast1 = 360
    epochs: Passes = 0.0
    rare: tuple[str, ...] | None = None
    imagenet: bool = True
    encoder: str = "efficientnet-lite0"
    imitation: Weight = 1.0


LARGE = HrRecipe(steps=2300, batch=6, crop=(384, 512), scales=(1.1, 2.4), lr=6e-4, height=576, seed=1)
"""Goes on from the weights of a first run; the two made those that the package ships."""


@dataclass(frozen=True)
class ArRecipe:
    """Phase 2's settings; the defaults made the shipped weights, to which `keyframe_detail` was added afterwards.

    Attributes:
        low_steps, low_batch, low_lr: of the first stage, the low-resolution branch alone; 0 steps: without it.
        steps, batch, lr: of the second, on pairs, with the fusion.
        crop: height and width of training views, in pixels.
        scales: range of the views' random magnification, of the frames as they are stored.
        branch_lr_scale: multiplies `lr` for the low-resolution branch in the second stage.
        streets: clips of synthetic streets.
        street_share, video_share: fractions of a batch of pairs; the rest are of labelled stills.
        calibration: batches of unlabelled pairs by which the fusion's gain is found in the end; 0: it stays.
        scale, window, fusion, keyframe_weight, keyframe_detail: of the network, see `ARSegNet`.
        keyframe_residual, residual_tau: of the network, too, as they are before the second stage, which learns them,
            and trains the branch on both frames of a pair; `keyframe_residual` 0: none.
        precision: of the passes; on a CPU without matrix units for bfloat16 "float32" may be faster.
        warp: False: training without motion, as if nothing moved.
        iou_loss_weight: of the soft IoU, beside the cross-entropy.
        similarity, distillation: weights of the losses against the keyframe network's feature and classes.
        distances: of the frames to their keyframes.
        rows: labelled frames that are higher are shrunk to so many.
        epochs: passes over the labelled frames, which decide how many steps each stage has; 0: its `steps` do.
        rare: names of the classes that are pasted in the first stage; None: as in phase 1.
        still_clips: clips of labelled stills at most; of more stills so many, evenly spread, are taken.
        motion: of these clips: "window", a window that drifts and closes in; "layers", with parallax and with things
            that move by themselves besides (see `arseg.data.layers`).
        prepared_share: fraction of the pairs of labelled frames that is real, from a prepared folder or from the frames
            before a labelled one, where there are both.
    """

    low_steps: AtLeast0 = 2400
    low_batch: AtLeast1 = 8
    low_lr: Positive = 6e-4
    steps: AtLeast1 = 2000
    batch: AtLeast1 = 6
    crop: tuple[AtLeast1, AtLeast1] = (384, 512)
    scales: tuple[Positive, Positive] = (1.28, 2.4)
    lr: Positive = 7e-4
    branch_lr_scale: Weight = 0.2
    streets: AtLeast0 = 150
    street_share: Share = 1 / 6
    video_share: Share = 1 / 3
    calibration: AtLeast0 = 20
    scale: Scale = 0.5
    window: AtLeast1 = 7
    fusion: str = "attention"
    warp: bool = True
    keyframe_weight: Weight = 1.0
    keyframe_detail: Weight = 1.0
    keyframe_residual: Weight = 0.0
    residual_tau: Positive = 32.0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    iou_loss_weight: Weight = 1.0
    similarity: Weight = 1.0
    distillation: Weight = 0.5
    distances: tuple[AtLeast1, ...] = tuple(range(1, 12))
    seed: int = 0
    rows: AtLeast1 = 360
    epochs: Passes = 0.0
    rare: tuple[str, ...] | None = None
    still_clips: AtLeast1 = 1500
    motion: Literal["window", "layers"] = "window"
    prepared_share: Share = 0.5


RESIDUAL = ArRecipe(
    low_steps=0,
    steps=1200,
    batch=4,
    crop=(288, 384),
    scales=(0.8, 1.5),
    branch_lr_scale=0.3,
    streets=0,
    street_share=0.0,
    video_share=0.5,
    fusion="none",
    keyframe_weight=0.0,
    keyframe_detail=0.0,
    keyframe_residual=0.74,
    residual_tau=33.6,
    precision="float32",
)
"""For the paper's networks on CamVid at 480x360: no fusion, but the residual, learned from a branch that there is."""


LATER: Mapping[str, Any] = {
    "rows": 360,
    "epochs": 0.0,
    "rare": None,
    "imagenet": True,
    "imitation": 1.0,
    "encoder": "efficientnet-lite0",
    "still_clips": 1500,
    "motion": "window",
    "prepared_share": 0.5,
    "keyframe_residual": 0.0,
    "residual_tau": 32.0,
    "precision": "bfloat16",
}
"""Settings that runs of version 0.2 do not know, and what these did."""


def settings_of(recipe: HrRecipe | ArRecipe) -> dict[str, Any]:
    """The settings that tell a run from others; of `LATER` only those that are another, so that old runs go on."""
    return {key: value for key, value in asdict(recipe).items() if key not in LATER or value != LATER[key]}
