"""The published training as named presets.

Source: Hu et al., CVPR 2023, and the settings of the authors' published training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from arseg.train.settings import AtLeast0, AtLeast1, Field, Positive

CAMVID_SCALES = (0.5, 0.675, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
CITYSCAPES_SCALES = (0.5, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0)


Side = Annotated[int, Field(ge=32)]


@dataclass(frozen=True)
class PaperHrRecipe:
    """Phase 1 of the paper's networks; the defaults are CamVid's.

    Attributes:
        arch: a name of `arseg.networks.paper.published.ARCHITECTURES`.
        epochs: times that every labelled frame is seen; steps: in its place, where not 0.
        batch: frames a step, over all processes; accumulate: worked on in so many parts, to save memory.
        optimiser: adam, adamw or sgd; lr: its learning rate at the start, falling as a cosine, step by step.
        warmup: steps until `lr` is reached.
        max_grad_norm: the gradient is scaled down to this norm; 0: never.
        crop: (height, width) in pixels.
        scales: of which one is drawn for each frame; flip: fraction that is mirrored; jitter: of colours.
        loss: a name of `arseg.train.losses.LOSSES`; empty: the architecture's own.
        auxiliary: weight of the auxiliary heads' losses (the PSPNets'; BiSeNet's heads count 1 each).
        void: CamVid's class 11, "count" or "ignore".
        normalization: mean and deviation that images are normalised with, "camvid", "imagenet" or "cityscapes-bise".
        backbone: weights of the ResNet to start from: "", "imagenet" (torchvision's, downloaded), or a file.
        precision: "float32", "bfloat16" or "float16" (autocast; float16 on CUDA only).
        ema_decay: of the exponential moving average of the weights, a step; 0: the weights themselves.
        validate_every: epochs between validations, 0 for none.
        workers: processes that load and transform frames; 0: a thread of the training; None: by the cores, see
            `workers.default_workers`.
        log_every, save_every: steps.
    """

    arch: str = "camvid-psp18"
    epochs: AtLeast1 = 100
    steps: int = 0
    batch: AtLeast1 = 8
    accumulate: int = 1
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: int = 0
    max_grad_norm: float = 0.0
    crop: tuple[Side, Side] = (720, 960)
    scales: tuple[Positive, ...] = CAMVID_SCALES
    flip: float = 0.5
    jitter: float = 0.5
    loss: str = ""
    auxiliary: float = 1.0
    void: Literal["count", "ignore"] = "count"
    normalization: Literal["camvid", "imagenet", "cityscapes-bise"] = "camvid"
    backbone: str = ""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    ema_decay: float = 0.0
    validate_every: int = 1
    workers: AtLeast0 | None = None
    log_every: AtLeast1 = 20
    save_every: AtLeast1 = 200
    seed: int = 0


@dataclass(frozen=True)
class PaperArRecipe(PaperHrRecipe):
    """Phase 2 of the paper's networks.

    Attributes:
        scale: of the low-resolution frames.
        window: side of the attention; fusion: one of `arseg.networks.fusion.FUSIONS`.
        similarity: weight of feature similarity.
        plain_epochs: epochs at the start without fusion: the low-resolution network alone, with feature similarity.
        distances: of the frames to their keyframes; empty: all but 0.
        images: "original", frames before compression, as the paper has it; or "decoded".
        start: the low-resolution network starts from the `backbone`, or as a copy of the "teacher".
    """

    scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: int = 7
    fusion: str = "attention"
    similarity: float = 1.0
    plain_epochs: int = 50
    distances: tuple[int, ...] = (11,)
    images: Literal["original", "decoded"] = "original"
    start: Literal["backbone", "teacher"] = "backbone"


_CITYSCAPES = {
    "epochs": 200,
    "optimiser": "sgd",
    "lr": 1e-2,
    "weight_decay": 5e-4,
    "crop": (1024, 512),
    "scales": CITYSCAPES_SCALES,
}
_CITYSCAPES_PSP = {**_CITYSCAPES, "arch": "cityscapes-psp18", "auxiliary": 0.4, "normalization": "imagenet"}
_CITYSCAPES_BISE = {**_CITYSCAPES, "arch": "cityscapes-bise18", "batch": 16, "normalization": "cityscapes-bise"}

HR_RECIPES: Mapping[str, PaperHrRecipe] = {
    "camvid-psp18": PaperHrRecipe(),
    "camvid-bise18": PaperHrRecipe(arch="camvid-bise18"),
    "cityscapes-psp18": PaperHrRecipe(**_CITYSCAPES_PSP, jitter=0.4),  # type: ignore[arg-type]
    "cityscapes-bise18": PaperHrRecipe(**_CITYSCAPES_BISE, jitter=0.4),  # type: ignore[arg-type]
}

AR_RECIPES: Mapping[str, PaperArRecipe] = {
    "camvid-psp18": PaperArRecipe(),
    "camvid-bise18": PaperArRecipe(arch="camvid-bise18"),
    "cityscapes-psp18": PaperArRecipe(**_CITYSCAPES_PSP, plain_epochs=0),  # type: ignore[arg-type]
    "cityscapes-bise18": PaperArRecipe(**_CITYSCAPES_BISE, plain_epochs=0, start="teacher"),  # type: ignore[arg-type]
}
