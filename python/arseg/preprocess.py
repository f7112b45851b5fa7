"""From a decoded frame to what a network takes."""

from __future__ import annotations

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
    scale = torch.tensor(std, device=image.device).view(1, 3, 1, 1) * 255
    shift = torch.tensor(mean, device=image.device).view(1, 3, 1, 1) * 255
    return ((image - shift) / scale).contiguous(memory_format=torch.channels_last)


def network_input(picture: np.ndarray, size: tuple[int, int], label_set: LabelSet, device: torch.device) -> Tensor:
    """A decoded frame as a network takes it: uint8 `[H, W, 3]` RGB -> float32 `[1, 3, *size]`, normalised."""
    image = as_tensor(picture).permute(2, 0, 1)[None]
    if size != tuple(image.shape[2:]):
        # In bytes, as in training: that is torch's fastest way, but the CPU's alone.
        image = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
    return normalise(image.to(device), label_set.mean, label_set.std)


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
