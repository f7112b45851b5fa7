"""What runs AR-Seg: keyframes, a low-resolution branch and the fusion, as modules or as exported packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from arseg.errors import InputError
from arseg.labels import LabelSet

from .fusion import enlarged
from .layers import resize
from .output import enlarge, labels
from .trust import KeyframeSignals, luma

NUMBERS = (
    "scale",
    "grid",
    "keyframe_weight",
    "keyframe_decay",
    "keyframe_detail",
    "keyframe_tau",
    "keyframe_residual",
    "residual_tau",
)
"""Attributes that say how keyframe and branch are joined, see `ARSegNet`."""


class Executor:
    """What the engine asks of a network, eager or exported.

    Subclasses have the attributes of `NUMBERS`, and define `keyframe`, `classifier`, `low_res`, `join`, `state_digest`.

    Attributes:
        label_set: what the classes are and how the input is normalised; None where nobody has said it.
        input_height: the height of the frames that the network was trained for; None: any.
        scores: what says how its scores reach the frame (see `arseg.networks.output`).
    """

    label_set: LabelSet | None
    input_height: int | None = None
    scale: float
    grid: str
    keyframe_weight: float
    keyframe_decay: float
    keyframe_detail: float
    keyframe_tau: float | None
    keyframe_residual: float | Tensor
    residual_tau: float | Tensor | None
    scores: object
    classifier: Callable[[Tensor], Tensor]
    """`[N, C, h, w]`, a fusion feature -> logits `[N, num_classes, h, w]`."""

    def keyframe(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the reference feature `[N, C, h, w]` that later frames take from."""
        raise NotImplementedError

    def low_res(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the feature of the shrunken image, `[N, C, h', w']`."""
        raise NotImplementedError

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
        """The fusion, and what is taken from the keyframe's own result: logits `[N, num_classes, h, w]`.

        Args:
            low_res: `low_res(image)` of the frames.
            luma: `luma(image)` of the frames, where `takes_signals`.

        The others are those of `step`.
        """
        raise NotImplementedError

    def state_digest(self) -> str:
        """Of the weights, in hexadecimal; two networks that have the same give the same results."""
        raise NotImplementedError

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

    # A keyframe ---------------------------------------------------------------------------------------------------

    def keyframe_signals(self, image: Tensor, reference: Tensor, key_logits: Tensor) -> KeyframeSignals | None:
        """What `step` asks for of a keyframe besides; None where this network takes no more than feature and logits.

        Args:
            image: the keyframe's, `[N, 3, H, W]` normalised RGB.
            reference: `keyframe(image)`, `[N, C, h, w]`.
            key_logits: `classifier(reference)`, `[N, num_classes, h', w']`.
        """
        if not self.takes_signals:
            return None
        residual = None
        if self.keyframe_residual:
            residual = key_logits - self.classifier(enlarged(self.low_res(image), reference))
        return KeyframeSignals(self.luma(image), residual)

    @property
    def takes_signals(self) -> bool:
        """Whether frames compare their picture with the keyframe's."""
        return bool(self.keyframe_residual) or bool(self.keyframe_weight and self.keyframe_tau is not None)

    @property
    def takes_key_logits(self) -> bool:
        """Whether frames take from the keyframe's own result."""
        return bool(self.keyframe_weight or self.keyframe_detail or self.keyframe_residual)

    # A frame that is not a keyframe -------------------------------------------------------------------------------

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
        signals: KeyframeSignals | None = None,
    ) -> Tensor:
        """Frames that are not keyframes: their logits at the fusion feature's resolution, `[N, num_classes, h, w]`.

        Args:
            image: `[N, 3, H, W]` normalised RGB.
            reference: `keyframe(...)`: of the keyframe that all N frames follow, `[1, C, h, w]`, or one of each,
                `[N, C, h, w]`.
            motion, block, frame_size: those of `arseg_ext.ops.creff`, one field of each frame.
            distance: frames since the keyframe, at least 1; a number, or one of each frame, `[N]`. It may be left out
                where the keyframe's result does not count (`keyframe_weight` and `keyframe_detail` are 0).
            key_logits: `classifier(reference)`, where the caller has it already.
            signals: `keyframe_signals(...)` of the keyframe, where that is not None.

        Raises `InputError` where the distance is missing or a number below 1, for another number of references, or
        where `signals` are missing.
        """
        how: dict[str, Any] = {"luma": self.frame_luma(image), "signals": signals}
        seen = self.low_res(image), reference, motion, distance, key_logits
        return self.join(*seen, block=block, frame_size=frame_size, **how)

    def frame_luma(self, image: Tensor) -> Tensor | None:
        """`luma` where `join` asks for it."""
        return self.luma(image) if self.takes_signals else None

    # Pictures -----------------------------------------------------------------------------------------------------

    def shrink(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> `[N, 3, int(H*scale), int(W*scale)]`, filtered so that fine texture does not alias."""
        size = self.shrunk_size((image.shape[2], image.shape[3]))
        if self.grid == "legacy":
            return resize(image, size, align_corners=True)
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)

    def shrunk_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of `shrink(image)` for an image of `size`."""
        return max(1, int(size[0] * self.scale)), max(1, int(size[1] * self.scale))

    def luma(self, image: Tensor) -> Tensor:
        """Normalised RGB `[N, 3, H, W]` -> luma, float32 `[N, 1, H, W]` in 0..255."""
        label_set = self.known_labels()
        return luma(image, label_set.mean, label_set.std)

    # To the frame -------------------------------------------------------------------------------------------------

    def enlarge(self, logits: Tensor, size_of: Tensor) -> Tensor:
        """Logits at the feature's resolution `[N, num_classes, h, w]` -> at the size of the image `size_of`."""
        return enlarge(self.scores, logits, size_of.shape[2:])

    def labels(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits at the feature's resolution `[N, num_classes, h, w]` -> class ids at `size`, uint8 `[N, *size]`."""
        return labels(self.scores, logits, size)


def one_each(name: str, x: Tensor, count: int) -> Tensor:
    """`x` `[1, ...]`, what `count` frames have in common, or one of each, as one of each."""
    there = x.shape[0]  # not len(), which torch.export takes for a constant
    if there not in (1, count):
        raise InputError(f"{name}: expected that of one keyframe, or one of each of the {count} images, got {there}")
    return x if there == count else x.expand(count, -1, -1, -1)


def needed(signals: KeyframeSignals | None) -> KeyframeSignals:
    """`signals`, or `InputError` where there are none."""
    if signals is None:
        raise InputError(
            "signals: this network trusts its keyframe as far as its picture, warped, looks like the frame; give "
            "keyframe_signals(image, reference, key_logits) of the keyframe"
        )
    return signals


def digest_of(state: dict[str, Tensor]) -> str:
    """SHA-256 of names and values, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
