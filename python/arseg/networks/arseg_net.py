"""AR-Seg around a segmentation network: a high-resolution branch, a low-resolution one, and CReFF between them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg_ext import ops
from arseg_ext._torch_private import has_hooks
from arseg_ext.nn import CReFF

from .base import with_corners
from .fusion import make_fusion
from .keyframe import details, joined, warped_logits
from .motion import dense_motion, resize_motion


def _is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether its weight and bias say all of it."""
    if type(module) is not nn.Conv2d or module.bias is None or has_hooks(module):
        return False
    plain = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1
    return plain and module.padding in ((0, 0), "valid", "same")


class ARSegNet(nn.Module):
    """Keyframes at full resolution; other frames at `scale`, repaired by what the keyframe saw.

    Args:
        high: the network of the keyframes, with `features(image)` and a 1x1 `classifier`, which both branches share.
        channels: channels of its fusion feature.
        scale: resolution of the other frames, 0 < scale <= 1. The resized image is `int(H * scale)` high.
        window: side of the local attention, odd.
        fusion: one of `arseg.networks.fusion.FUSIONS`.
        grid: "aligned"; or "legacy" for the published checkpoints, which see a frame shrunk without a filter, its
            corner pixels in place, and warp along dense motion (`resize_motion`; by "nearest" while training).
        keyframe_weight: of the keyframe's warped logits beside those of the fused feature (see `with_keyframe`), in
            the frame right after the keyframe. 0: the paper's method.
        keyframe_decay: at distance d the weight is that divided by d to this power, for vectors lead astray hop by hop.
        keyframe_detail: how much is added, in the frame right after the keyframe, of what in its warped logits is too
            fine for the low-resolution feature (`keyframe.details`); at distance d that divided by the root of d. 0:
            nothing.

        label_set: what the classes are and how the input is normalised; None: that of `high`, where it has one.

    `high` may say how its scores reach the frame (see `SplitNetwork`): by `upsampling` and `align_corners`.

    Attributes:
        label_set: as above; None where nobody has said it, and then `VideoSegmenter` refuses the network.
        input_height: the height of the frames that the network was trained for; None: any.

    Source: Hu et al., CVPR 2023. The low-resolution branch starts as a copy of the high one.
    """

    label_set: LabelSet | None
    input_height: int | None = None

    def __init__(
        self,
        high: nn.Module,
        *,
        channels: int,
        scale: float = 0.5,
        window: int = 7,
        fusion: str = "attention",
        grid: str = "aligned",
        keyframe_weight: float = 0.0,
        keyframe_decay: float = 1.0,
        keyframe_detail: float = 0.0,
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
        ):
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(f"{name}: expected a number, at least 0, got {value!r}")
        self.high = high
        self.low = copy.deepcopy(high)
        del self.low.classifier
        self.fusion = make_fusion(fusion, channels, window, grid)
        self.scale = scale
        self.grid = grid
        self.keyframe_weight = keyframe_weight
        self.keyframe_decay = keyframe_decay
        self.keyframe_detail = keyframe_detail
        self.label_set = label_set or getattr(high, "label_set", None)

    def known_labels(self) -> LabelSet:
        """`label_set`, checked; raises `InputError` where nobody has said it, or for another number of classes."""
        if self.label_set is not None and not isinstance(self.label_set, LabelSet):
            raise InputError(f"label_set: expected a LabelSet of arseg.labels, got {type(self.label_set).__name__}")
        if self.label_set is None:
            raise InputError(
                "model: nobody has said what its classes are and how its input is normalised; set its attribute "
                "label_set, such as LabelSet.of(19, mean=…, std=…) of arseg.labels"
            )
        count = getattr(self.classifier, "out_channels", None)
        if count is not None and count != len(self.label_set.classes):
            raise InputError(
                f"model: its classifier has {count} classes and its label_set {len(self.label_set.classes)} "
                f"({self.label_set}); give the label set of this network"
            )
        return self.label_set

    @property
    def classifier(self) -> nn.Module:
        """The shared 1x1 classifier `[N, C, h, w] -> [N, classes, h, w]`."""
        return self.high.classifier  # type: ignore[return-value]

    def shrink(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, 3, int(H*scale), int(W*scale)]`, filtered so that fine texture does not alias."""
        size = (max(1, int(image.shape[2] * self.scale)), max(1, int(image.shape[3] * self.scale)))
        if self.grid == "legacy":
            return with_corners(image, size)
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)

    def keyframe(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the reference feature `[N, C, h, w]` that later frames take from."""
        return self.high.features(image)  # type: ignore[operator]

    def low_res(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the feature of the shrunken image, `[N, C, h', w']`."""
        return self.low.features(self.shrink(image))  # type: ignore[operator]

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
        """`classifier(fuse(...))`, `[N, classes, h, w]`, in one pass where the classifier is a 1x1 convolution."""
        classifier = self.classifier
        if isinstance(self.fusion, CReFF) and _is_pointwise(classifier):
            motion, options = self._motion(motion, reference, block, frame_size)
            return self.fusion.logits(reference, low_res, motion, classifier, **options)
        return classifier(self.fuse(low_res, reference, motion, block=block, frame_size=frame_size))

    def with_keyframe(
        self,
        logits: Tensor,
        kept: Tensor,
        motion: Tensor,
        distance: int | Tensor | None,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
        low_size: Sequence[int],
    ) -> Tensor:
        """Weighted mean of a frame's fused logits (1) and its keyframe's, warped (`keyframe_weight / distance**decay`).

        To the fused logits the details of the warped ones are added before (`keyframe_detail / sqrt(distance)`).

        Args:
            logits, kept: the frame's and the keyframe's, `[N, classes, h, w]`.
            motion, block, frame_size: those of `arseg_ext.ops.creff`.
            distance: frames since the keyframe, at least 1; a number, or one of each sample, `[N]`. None will do where
                the keyframe's result does not count.
            low_size: height and width of the low-resolution feature.

        Raises `InputError` where `distance` is missing, or a number below 1.
        """
        if not self.keyframe_weight and not self.keyframe_detail:
            return logits
        if distance is None:
            raise InputError(
                "distance: this network weighs the keyframe's result by the frames since then; give their number"
            )
        if not isinstance(distance, Tensor) and distance < 1:  # a tensor is not waited for
            raise InputError(f"distance: expected at least 1 frame since the keyframe, got {distance}")
        if isinstance(distance, Tensor):
            distance = distance.view(-1, 1, 1, 1)
        warped = warped_logits(kept, motion, block, frame_size)
        if self.keyframe_detail:
            logits = logits + self.keyframe_detail / distance**0.5 * details(warped, logits, low_size)
        return joined(logits, warped, self.keyframe_weight / distance**self.keyframe_decay)

    def classify(self, feature: Tensor, like: Tensor) -> Tensor:
        """A fusion feature -> logits at the size of the image `like`, `[N, classes, H, W]`."""
        return self.enlarge(self.classifier(feature), like)

    def enlarge(self, logits: Tensor, like: Tensor) -> Tensor:
        """Logits at the feature's resolution `[N, classes, h, w]` -> at the size of the image `like`."""
        scores, size, corners = self._upsampled(logits), (like.shape[2], like.shape[3]), self._align_corners
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=corners)

    def labels(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits at the feature's resolution `[N, classes, h, w]` -> class ids at `size`, uint8 `[N, *size]`."""
        step = getattr(self.high, "upsampling", 1)
        if step > 1 and (logits.shape[2] * step, logits.shape[3] * step) == tuple(size):
            return ops.resize_labels(logits, size)  # the upsampling itself
        return ops.resize_labels(self._upsampled(logits), size, align_corners=self._align_corners)

    @property
    def _align_corners(self) -> bool:
        return getattr(self.high, "align_corners", False)

    def _upsampled(self, scores: Tensor) -> Tensor:
        step = getattr(self.high, "upsampling", 1)
        return scores if step == 1 else F.interpolate(scores, scale_factor=float(step), mode="bilinear")

    def step(
        self,
        image: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None = None,
        key_logits: Tensor | None = None,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """A frame that is not a keyframe: its logits at the fusion feature's resolution, `[N, classes, h, w]`.

        Args:
            image: `[N, 3, H, W]` normalised RGB.
            reference: `keyframe(...)` of the keyframe, `[N, C, h, w]`.
            motion, block, frame_size: those of `arseg_ext.ops.creff`.
            distance: frames since the keyframe, at least 1; a number, or one of each sample, `[N]`. It may be left out
                where the keyframe's result does not count (`keyframe_weight` and `keyframe_detail` are 0).
            key_logits: `classifier(reference)`, where the caller has it already.

        Raises `InputError` where the distance is missing, or a number below 1.
        """
        where: dict[str, Any] = {"block": block, "frame_size": frame_size}
        low = self.low_res(image)
        logits = self.fused_logits(low, reference, motion, **where)
        if not self.keyframe_weight and not self.keyframe_detail:
            return logits
        kept = self.classifier(reference) if key_logits is None else key_logits
        return self.with_keyframe(logits, kept, motion, distance, **where, low_size=low.shape[2:])

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
    ) -> Tensor:
        """A frame that is not a keyframe, as `VideoSegmenter` has it: logits at the image's size, `[N, classes, H, W]`.

        Arguments and errors: see `step`.
        """
        return self.enlarge(
            self.step(image, reference, motion, distance, key_logits, block=block, frame_size=frame_size), image
        )

    @torch.no_grad()
    def start_fusion(self, gain: float = 0.3) -> None:
        """A start for training: the attention compares the features themselves, and adds nothing yet.

        Query and key convolutions pass each channel on, times `gain` (at random weights the attention would be blind);
        value weights are zero, so that the fused feature is the upsampled low-resolution one.
        """
        for name, conv in self.fusion.named_children():
            assert isinstance(conv, nn.Conv2d)
            nn.init.zeros_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            if name != "hr_value_conv":
                nn.init.dirac_(conv.weight, groups=conv.groups)
                conv.weight.mul_(1.0 if name == "fusion_conv" else gain)

    @torch.no_grad()
    def start_fusion_for(self, feature: Tensor, *, logit: float = 13.5, value: float = 0.5) -> None:
        """A start for training at the scale of this network's features; `feature` `[N, C, h, w]` is an example of them.

        Queries and keys are centred, and scaled so that a pixel's logit with itself is `logit` in the mean: at 13.5 the
        attention chooses, and is not yet blind to all but one. `value` times what it finds is added.
        """
        feature = feature.float()
        gain = float((logit / feature.var((0, 2, 3)).sum().clamp_min(1e-12)).sqrt())
        self.start_fusion(gain)
        for name, conv in self.fusion.named_children():
            assert isinstance(conv, nn.Conv2d)
            if name in ("lr_query_conv", "hr_key_conv") and conv.bias is not None:
                conv.bias.copy_(-gain * feature.mean((0, 2, 3)))
            if name == "hr_value_conv":
                nn.init.dirac_(conv.weight, groups=conv.groups)
                conv.weight.mul_(value)
