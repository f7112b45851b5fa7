"""From a decoded frame to what a network takes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from arseg.labels import LabelSet

WIDEST = 8.0
"""Width to height of the widest frames that are seen at the height asked for."""


def input_size(frame: tuple[int, int], height: int | None) -> tuple[int, int]:
    """(height, width) at which a network sees a frame of that size; `height` None: as it is.

    A frame more than 8 times as wide as high gets fewer rows: as many pixels as one of 8:1 has at that height.

    A width that changes anyhow becomes a multiple of 8, so that the last cell of a map of stride 4 is a whole one, at
    half that resolution, too: a map is stretched over the frame and read along its vectors as if all its cells were.
    """
    if height is None or height == frame[0]:
        return frame
    shape = frame[1] / frame[0]
    if shape > WIDEST:
        height = max(8, int(height * (WIDEST / shape) ** 0.5))
    return height, max(8, 8 * round(shape * height / 8))


def normalise(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 `[N, 3, H, W]` -> float32, `(image / 255 - mean) / std`, channels last in memory."""
    count, _, height, width = image.shape
    # A whole row at a time: torch is slow where its innermost loop has three turns.
    shift, scale = (x.repeat(width) for x in _constants(tuple(mean), tuple(std), image.device))
    rows = (image.permute(0, 2, 3, 1).reshape(count, height, width * 3) - shift).div_(scale).contiguous()
    # By way of one dimension, so that the stride of the first is what it is for several images: for one it could be
    # any, and torch took some for another layout.
    return rows.flatten().view(count, height, width, 3).permute(0, 3, 1, 2)


def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What is taken off 8-bit values, and what divides them, `[3]`."""
    # To another device they are copied, which waits for it, and no CUDA graph can hold: once, then.
    return _copied(mean, std, device) if device.type == "cuda" else _made(mean, std, device)


def _made(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    shift, scale = (torch.tensor(values, device=device) * 255 for values in (mean, std))
    return shift, scale


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # training takes them, too
def _copied(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    return _made(mean, std, device)


def network_input(picture: np.ndarray, size: tuple[int, int], label_set: LabelSet, device: torch.device) -> Tensor:
    """A decoded frame as a network takes it: uint8 `[H, W, 3]` RGB -> float32 `[1, 3, *size]`, normalised."""
    return network_inputs(as_tensor(picture)[None].to(device), size, label_set)


def network_inputs(pixels: Tensor, size: tuple[int, int], label_set: LabelSet) -> Tensor:
    """Decoded frames as a network takes them, on their device: uint8 `[N, H, W, 3]` -> float32 `[N, 3, *size]`."""
    image = pixels.permute(0, 3, 1, 2)
    if size != tuple(image.shape[2:]):
        image = shrunk_bytes(image, size)
    return normalise(image, label_set.mean, label_set.std)


def shrunk_bytes(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 `[N, 3, H, W]` at `size`, filtered where it shrinks, in whole steps of 8 bits as in training.

    Bytes are rounded between both passes, too: on a GPU up to a fifth of them are one step off.
    """
    if image.device.type != "cpu":
        return shrunk(image.float(), size).round_()
    return shrunk(image, size)  # in bytes: torch's fastest way, but the CPU's alone


def shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`[N, C, H, W]` at `size`, filtered where it shrinks."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor on the array's memory, or on a copy where that is read-only, as a decoder's may be: torch writes."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def resized(
    picture: np.ndarray,
    size: tuple[int, int],
    how: Image.Resampling = Image.Resampling.BILINEAR,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """A uint8 picture `[H, W, 3]` or label map `[H, W]` at `size` = (height, width), filtered where it shrinks.

    `box`: left, top, right, bottom of the part of it that is taken; it sees the pixels beside the part.
    """
    if box is None and picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), how, box=box))
