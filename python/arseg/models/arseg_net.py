"""AR-Seg around a segmentation network: a high-resolution branch, a low-resolution one, and CReFF between them."""

from __future__ import annotations

import copy
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.data.info import CAMVID, DataInfo
from arseg.errors import InputError
from arseg_ext.nn import CReFF

from .pyramid import resize_to


def _is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    if type(module) is not nn.Conv2d or module.bias is None or module._forward_hooks:
        return False
    return module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1


class ARSegNet(nn.Module):
    """Keyframes at full resolution; other frames at `scale`, repaired by what the keyframe saw.

    Args:
        high: the network of the keyframes, with `features(image)` and a 1x1 `classifier`, which both branches share.
        channels: channels of its fusion feature.
        scale: resolution of the other frames, 0 < scale <= 1. The resized image is `int(H * scale)` high.
        window: side of the local attention, odd.

    Source: Hu et al., CVPR 2023. The low-resolution branch starts as a copy of the high one.
    """

    info: DataInfo = CAMVID  # normalisation and classes
    align_corners = False  # of the resizing of logits to the frame

    def __init__(self, high: nn.Module, *, channels: int, scale: float = 0.5, window: int = 7):
        super().__init__()
        if not 0 < scale <= 1:
            raise InputError(f"scale: expected a factor in (0, 1], got {scale}")
        self.high = high
        self.low = copy.deepcopy(high)
        del self.low.classifier
        self.fusion = CReFF(channels, window=window)
        self.scale = scale

    @property
    def classifier(self) -> nn.Module:
        """The shared 1x1 classifier `[N, C, h, w] -> [N, classes, h, w]`."""
        return self.high.classifier  # type: ignore[return-value]

    def shrink(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, 3, int(H*scale), int(W*scale)]`, filtered so that fine texture does not alias."""
        size = [max(1, int(side * self.scale)) for side in image.shape[-2:]]
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
        return self.fusion(reference, low_res, motion, block=block, frame_size=frame_size)

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
        if _is_pointwise(classifier):
            return self.fusion.logits(reference, low_res, motion, classifier, block=block, frame_size=frame_size)
        return classifier(self.fuse(low_res, reference, motion, block=block, frame_size=frame_size))

    def classify(self, feature: Tensor, like: Tensor) -> Tensor:
        """A fusion feature -> logits at the size of the image `like`, `[N, classes, H, W]`."""
        return resize_to(self.classifier(feature), like)

    def forward(
        self,
        image: Tensor,
        reference: Tensor,
        motion: Tensor,
        *,
        block: int | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """A frame that is not a keyframe: image `[N, 3, H, W]` and reference feature -> logits `[N, classes, H, W]`."""
        fused = self.fuse(self.low_res(image), reference, motion, block=block, frame_size=frame_size)
        return self.classify(fused, image)

    @torch.no_grad()
    def start_fusion(self, gain: float = 0.3) -> None:
        """A start for training: the attention compares the features themselves, and adds nothing yet.

        Query and key convolutions pass each channel on, times `gain` (at random weights the attention would be blind);
        value weights are zero, so that the fused feature is the upsampled low-resolution one.
        """
        for conv in (self.fusion.lr_query_conv, self.fusion.hr_key_conv, self.fusion.hr_value_conv):
            nn.init.zeros_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        self.fusion.lr_query_conv.weight[:, :, 1, 1] = gain
        self.fusion.hr_key_conv.weight[:, :, 1, 1] = gain
