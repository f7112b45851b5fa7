"""What each mode makes of a frame: the one place where the method and what it is compared with are side by side."""

from __future__ import annotations

from torch import Tensor

from arseg.networks.executor import Executor
from arseg.networks.keyframe import warped_logits
from arseg.networks.trust import KeyframeSignals

from .modes import Mode


def see(
    net: Executor,
    mode: Mode,
    image: Tensor | None,
    reference: Tensor | None,
    key_logits: Tensor | None,
    motion: Tensor | None,
    distance: int | Tensor = 0,
    *,
    block: int,
    frame_size: tuple[int, int],
    signals: KeyframeSignals | None = None,
) -> Tensor:
    """Logits of N frames at the fusion feature's resolution, `[N, classes, h, w]`.

    Args:
        image: `[N, 3, H, W]` normalised RGB; None where `mode` looks at none ("warp" and "keep").
        reference, key_logits: of the frames' keyframe, `[1, C, h, w]` and `[1, classes, h, w]`; None where `mode`
            takes nothing from it ("hr" and "lr"). Without `motion`, of each of N keyframes.
        motion: int16 `[N, h / block, w / block, 2]`, see `arseg_ext.ops.mv_warp`; None for keyframes themselves.
        distance, block, frame_size, signals: see `ARSegNet.step`.
    """
    if mode == "hr":
        assert image is not None
        return net.classifier(net.keyframe(image))
    if mode == "lr":
        assert image is not None
        return net.classifier(net.keyframe(net.shrink(image)))
    assert key_logits is not None
    if motion is None:
        return key_logits
    if mode == "keep":
        return key_logits.expand(len(motion), -1, -1, -1)
    if mode == "ar":
        assert image is not None and reference is not None
        seen = image, reference, motion, distance, key_logits
        return net.step(*seen, block=block, frame_size=frame_size, signals=signals)
    return warped_logits(key_logits.expand(len(motion), -1, -1, -1), motion, block, frame_size)
