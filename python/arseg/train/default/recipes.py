"""The recipes of the shipped weights: settings of both phases."""

from __future__ import annotations

from dataclasses import dataclass

from arseg.train.settings import AtLeast0, AtLeast1


@dataclass(frozen=True)
class HrRecipe:
    """Phase 1's settings.

    Attributes:
        lr: AdamW's learning rate at the end of the warm-up; the encoder, which has learned before, takes half of it.
        crop: height and width of training views, in pixels.
        scales: range of the views' random magnification, of the frames as they are stored.
        iou_loss_weight: of the soft IoU, beside the cross-entropy.
        pasted: fraction of CamVid's frames into which rare things of another one are pasted.
        qualities: x264's crf of the keyframes as which stills are shown, beside the stills as they are.
        street_scenes: synthetic streets that are rendered; street_share: their fraction of a batch.
        channels, wide: of the network, see `arseg.networks.PyramidNet`.
        height: of the frames to be segmented later: all are resized to it; 0: they stay as they are.
    """

    steps: int = 2500
    batch: int = 8
    crop: tuple[int, int] = (288, 384)
    scales: tuple[float, float] = (0.75, 1.75)
    lr: float = 1e-3
    iou_loss_weight: float = 1.0
    pasted: float = 0.5
    qualities: tuple[float, ...] = (22.0, 28.0)
    street_scenes: int = 60
    street_share: float = 1 / 8
    channels: int = 64
    wide: int = 256
    height: int = 0
    seed: int = 0


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
        warp: False: training without motion, as if nothing moved.
        iou_loss_weight: of the soft IoU, beside the cross-entropy.
        similarity, distillation: weights of the losses against the keyframe network's feature and classes.
        distances: of the frames to their keyframes.
    """

    low_steps: AtLeast0 = 2400
    low_batch: AtLeast1 = 8
    low_lr: float = 6e-4
    steps: int = 2000
    batch: AtLeast1 = 6
    crop: tuple[int, int] = (384, 512)
    scales: tuple[float, float] = (1.28, 2.4)
    lr: float = 7e-4
    branch_lr_scale: float = 0.2
    streets: int = 150
    street_share: float = 1 / 6
    video_share: float = 1 / 3
    calibration: AtLeast0 = 20
    scale: float = 0.5
    window: int = 7
    fusion: str = "attention"
    warp: bool = True
    keyframe_weight: float = 1.0
    keyframe_detail: float = 1.0
    iou_loss_weight: float = 1.0
    similarity: float = 1.0
    distillation: float = 0.5
    distances: tuple[int, ...] = tuple(range(1, 12))
    seed: int = 0
