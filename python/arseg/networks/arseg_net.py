"""AR-Seg around a segmentation network: a high-resolution branch, a low-resolution one, and CReFF between them."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg_ext._torch_private import has_hooks
from arseg_ext.nn import CReFF

from .base import SplitNetwork
from .executor import Executor, digest_of, needed, one_each
from .fusion import make_fusion, start_fusion, start_fusion_for
from .keyframe import with_keyframe
from .motion import dense_motion, resize_motion
from .trust import KeyframeSignals, trusted


def _halved(image: Tensor, network: nn.Module) -> Tensor:
    """The image in a network's 16-bit type, where it has one: pixels are resized and normalised in 32 bits before."""
    kind = next((parameter.dtype for parameter in network.parameters()), image.dtype)
    return image.to(kind) if kind in (torch.bfloat16, torch.float16) else image


def _is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether its weight and bias say all of it."""
    if type(module) is not nn.Conv2d or module.bias is None or has_hooks(module):
        return False
    plain = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1
    return plain and module.padding in ((0, 0), "valid", "same")


class StepOutputs(NamedTuple):
    """What training needs of frames that are not keyframes.

    Attributes:
        logits: as `ARSegNet.step` gives them, `[N, num_classes, h, w]`.
        feature: the fused one, `[N, C, h, w]`, for feature similarity.
        auxiliary: one tensor for each auxiliary head of the low-resolution branch, of the shrunken image; empty
            without heads.
    """

    logits: Tensor
    feature: Tensor
    auxiliary: tuple[Tensor, ...]


class ARSegNet(nn.Module, Executor):
    """Keyframes at full resolution; other frames at `scale`, repaired by what the keyframe saw.

    Args:
        high: the network of the keyframes, a `SegmentationNetwork`; both branches share its `classifier`.
        channels: channels of its fusion feature.
        scale: resolution of the other frames, 0 < scale <= 1. The resized image is `int(H * scale)` high.
        window: side of the local attention, odd.
        fusion: one of `arseg.networks.fusion.FUSIONS`, or a module that takes what they take.
        low: the network of the other frames; None: a copy of `high`.
        grid: "aligned"; or "legacy" for the published checkpoints, which see a frame shrunk without a filter, its
            corner pixels in place, and warp along dense motion (`resize_motion`; by "nearest" while training).
        keyframe_weight: of the keyframe's warped logits beside those of the fused feature (see `step`), in
            the frame right after the keyframe. 0: the paper's method.
        keyframe_decay: at distance d the weight is that divided by d to this power, for vectors lead astray hop by hop.
        keyframe_detail: how much is added, in the frame right after the keyframe, of what in its warped logits is too
            fine for the low-resolution feature (`keyframe.details`); at distance d that divided by the root of d. 0:
            nothing.
        keyframe_tau: the weight is that times exp(-e / this), where e is by how much the warped keyframe's luma is off,
            0..255 (see `arseg.networks.trust`); None: the same weight everywhere.
        keyframe_residual: what is added, times this, of what the low-resolution branch got wrong on the keyframe,
            warped. 0: nothing. It costs a pass of the branch on each keyframe.
        residual_tau: that times exp(-e / this); None: everywhere alike. Both are tensors while training learns them.
        label_set: what the classes are and how the input is normalised; None: that of `high`, where it has one.

    `high` may say how its scores reach the frame (see `SegmentationNetwork`): by `upsampling`, `upsampling_corners` and
    `align_corners`.

    Attributes:
        label_set: as above; None where nobody has said it, and then `VideoSegmenter` refuses the network.
        input_height: the height of the frames that the network was trained for; None: any.

    Source: Hu et al., CVPR 2023. The low-resolution branch starts as a copy of the high one.
    """

    def __init__(
        self,
        high: nn.Module,
        *,
        channels: int,
        scale: float = 0.5,
        window: int = 7,
        fusion: str | nn.Module = "attention",
        low: nn.Module | None = None,
        grid: str = "aligned",
        keyframe_weight: float = 0.0,
        keyframe_decay: float = 1.0,
        keyframe_detail: float = 0.0,
        keyframe_tau: float | None = None,
        keyframe_residual: float = 0.0,
        residual_tau: float | None = None,
        label_set: LabelSet | None = None,
    ):
        super().__init__()
        if grid not in ("aligned", "legacy"):
            raise InputError(f"grid: expected aligned or legacy, got {grid!r}")
        if not isinstance(scale, (int, float)) or not 0 < scale <= 1:
            raise InputError(f"scale: expected a factor in (0, 1], got {scale}")
        for name, value in (
            ("keyframe_weight", keyframe_weight),
            ("keyframe_decay", keyframe_decay),
            ("keyframe_detail", keyframe_detail),
            ("keyframe_residual", keyframe_residual),
        ):
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(f"{name}: expected a number, at least 0, got {value!r}")
        for name, tau in (("keyframe_tau", keyframe_tau), ("residual_tau", residual_tau)):
            if tau is not None and (not isinstance(tau, (int, float)) or not 0 < tau < float("inf")):
                raise InputError(f"{name}: expected a number above 0, or None, got {tau!r}")
        self.high = high
        if low is None:
            low = copy.deepcopy(high)
            del low.classifier
        self.low = low
        self.fusion = make_fusion(fusion, channels, window, grid) if isinstance(fusion, str) else fusion
        self.scale = scale
        self.grid = grid
        self.keyframe_weight = keyframe_weight
        self.keyframe_decay = keyframe_decay
        self.keyframe_detail = keyframe_detail
        self.keyframe_tau = keyframe_tau
        self.keyframe_residual = keyframe_residual
        self.residual_tau = residual_tau
        self.label_set = label_set or getattr(high, "label_set", None)

    @property
    def classifier(self) -> nn.Module:  # type: ignore[override]
        """The shared 1x1 classifier `[N, C, h, w] -> [N, num_classes, h, w]`."""
        return self.high.classifier  # type: ignore[return-value]

    @property
    def scores(self) -> nn.Module:  # type: ignore[override]
        """The network that says how its scores reach the frame."""
        return self.high

    def state_digest(self) -> str:
        return digest_of(self.state_dict())

    def keyframe(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the reference feature `[N, C, h, w]` that later frames take from."""
        return self.high.features(_halved(image, self.high))  # type: ignore[operator]

    def step_outputs(
        self,
        image: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None = None,
        key_logits: Tensor | None = None,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
        signals: KeyframeSignals | None = None,
    ) -> StepOutputs:
        """`step`, with what training needs besides. The logits come from the feature, so they may round differently."""
        where: dict[str, Any] = {"block": block, "frame_size": frame_size}
        low, auxiliary = self._branch(image)
        feature = self.fuse(low, one_each("reference", reference, image.shape[0]), motion, **where)
        seen = low, reference, motion, distance, key_logits, self.frame_luma(image), signals
        return StepOutputs(self._with_keyframe(self.classifier(feature), *seen, **where), feature, auxiliary)

    def forward(
        self,
        image: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None = None,
        key_logits: Tensor | None = None,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
        signals: KeyframeSignals | None = None,
    ) -> Tensor:
        """Frames that are not keyframes, as `VideoSegmenter` has them: logits at the image's size.

        Returns `[N, num_classes, H, W]`.

        Arguments and errors: see `step`.
        """
        where: dict[str, Any] = {"block": block, "frame_size": frame_size, "signals": signals}
        return self.enlarge(self.step(image, reference, motion, distance, key_logits, **where), image)

    def join(
        self,
        low_res: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None,
        key_logits: Tensor | None,
        *,
        luma: Tensor | None,
        signals: KeyframeSignals | None,
        block: int | None,
        frame_size: tuple[int, int] | None,
    ) -> Tensor:
        where: dict[str, Any] = {"block": block, "frame_size": frame_size}
        logits = self.fused_logits(low_res, one_each("reference", reference, low_res.shape[0]), motion, **where)
        seen = low_res, reference, motion, distance, key_logits, luma, signals
        return self._with_keyframe(logits, *seen, **where)

    def _with_keyframe(
        self,
        logits: Tensor,
        low_res: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None,
        key_logits: Tensor | None,
        luma: Tensor | None,
        signals: KeyframeSignals | None,
        **where: Any,
    ) -> Tensor:
        """The frames' own logits, and what they take from the keyframe's result."""
        if not self.takes_key_logits:
            return logits
        if key_logits is None:
            key_logits = self.classifier(reference)
        key_logits = one_each("key_logits", key_logits, logits.shape[0])
        how: dict[str, Any] = {"weight": self.keyframe_weight, "decay": self.keyframe_decay, **where}
        if self.takes_signals:
            assert luma is not None
            signals = KeyframeSignals(*(one_each("signals", x, logits.shape[0]) for x in needed(signals).tensors()))
            counts = self.keyframe_tau, self.keyframe_residual, self.residual_tau
            how |= trusted(luma, signals, motion, logits, *counts, **where)
        how |= {"detail": self.keyframe_detail, "low_size": low_res.shape[2:]}
        return with_keyframe(logits, key_logits, motion, distance, **how)

    def _branch(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`low_res`, and the outputs of the branch's auxiliary heads."""
        if not isinstance(self.low, SplitNetwork) or self.low.auxiliary is None:
            return self.low_res(image), ()
        small = self.shrink(image)
        feature, maps = self.low.encode(small)
        return feature, self.low.auxiliary_outputs(maps, (small.shape[2], small.shape[3]))

    def low_res(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the feature of the shrunken image, `[N, C, h', w']`."""
        return self.low.features(_halved(self.shrink(image), self.low))  # type: ignore[operator]

    def fuse(
        self,
        low_res: Tensor,
        reference: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """CReFF: low-resolution feature `[N, C, h', w']` + reference `[N, C, h, w]` -> `[N, C, h, w]`.

        `motion`, `block`, `frame_size` are those of `arseg_ext.ops.creff`.
        """
        motion, options = self._motion(motion, reference, block, frame_size)
        return self.fusion(reference, low_res, motion, **options)

    def _motion(
        self, motion: Tensor, reference: Tensor, block: int | None, frame_size: tuple[int, int] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """The motion as the fusion takes it; the published networks' own resizing needs it dense."""
        if self.grid == "aligned" or motion.is_floating_point() or block is None or frame_size is None:
            return motion, {"block": block, "frame_size": frame_size}
        flow = dense_motion(motion, block, frame_size)
        return resize_motion(flow, reference.shape[2:], "nearest" if self.training else "bilinear"), {}

    def fused_logits(
        self,
        low_res: Tensor,
        reference: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """`classifier(fuse(...))`, `[N, num_classes, h, w]`, in one pass where the classifier is a 1x1 convolution."""
        if not (isinstance(self.fusion, CReFF) and _is_pointwise(self.classifier)):
            return self.classifier(self.fuse(low_res, reference, motion, block=block, frame_size=frame_size))
        motion, options = self._motion(motion, reference, block, frame_size)
        return self.fusion.logits(reference, low_res, motion, self.classifier, **options)

    def classify(self, feature: Tensor, size_of: Tensor) -> Tensor:
        """A fusion feature -> logits at the size of the image `size_of`, `[N, num_classes, H, W]`."""
        return self.enlarge(self.classifier(feature), size_of)

    def start_fusion(self, gain: float = 0.3) -> None:
        """A start for training: the attention compares the features themselves, and adds nothing yet.

        Query and key convolutions pass each channel on, times `gain` (at random weights the attention would be blind);
        value weights are zero, so that the fused feature is the upsampled low-resolution one.
        """
        start_fusion(self.fusion, gain)

    def start_fusion_for(self, feature: Tensor, *, logit: float = 13.5, value: float = 0.5) -> None:
        """A start for training at the scale of this network's features; `feature` `[N, C, h, w]` is an example of them.

        Queries and keys are centred, and scaled so that a pixel's logit with itself is `logit` in the mean: at 13.5 the
        attention chooses, and is not yet blind to all but one. `value` times what it finds is added.
        """
        start_fusion_for(self.fusion, feature, logit=logit, value=value)
