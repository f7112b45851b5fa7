"""Random views of labelled images: crop, scale, flip, colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arseg.labels import IGNORED
from arseg.preprocess import resized


@dataclass(frozen=True)
class View:
    """A window of a frame, resized to the training crop and perhaps mirrored.

    The window lies on multiples of 4 pixels, so that a field of motion vectors at 4 pixels is cut without rounding.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def image(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 `[H, W, 3]` -> uint8 `[size[0], size[1], 3]`, bilinear."""
        return self._resize(image, size, Image.Resampling.BILINEAR)

    def label(self, label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 `[H, W]` -> uint8 `size`, nearest."""
        return self._resize(label, size, Image.Resampling.NEAREST)

    def field(self, vectors: np.ndarray, block: int = 4) -> np.ndarray:
        """int16 `[Hb, Wb, 2]` -> the window's part; a mirror turns the sign of x. Still in the frame's pixels."""
        rows = slice(self.top // block, -(-(self.top + self.height) // block))
        columns = slice(self.left // block, -(-(self.left + self.width) // block))
        part = vectors[rows, columns]
        return np.ascontiguousarray(part[:, ::-1] * np.array([-1, 1], np.int16) if self.flip else part)

    def moved(self, rng: np.random.Generator, frame: tuple[int, int]) -> View:
        """A window of the same size elsewhere in the frame, mirrored or not anew."""
        top = int(rng.integers((frame[0] - self.height) // 4 + 1)) * 4
        left = int(rng.integers((frame[1] - self.width) // 4 + 1)) * 4
        return View(top, left, self.height, self.width, bool(rng.random() < 0.5))

    def _resize(self, array: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
        part = array[self.top : self.top + self.height, self.left : self.left + self.width]
        out = np.array(resized(part, size, how))  # to be drawn on
        return np.ascontiguousarray(out[:, ::-1]) if self.flip else out


def random_view(
    rng: np.random.Generator, frame: tuple[int, int], crop: tuple[int, int], scales: tuple[float, float]
) -> View:
    """A window of `crop / scale` pixels for a random scale; where the frame is smaller, the largest that fits."""
    smallest = max(crop[0] / frame[0], crop[1] / frame[1])
    scale = np.exp(rng.uniform(*np.log(np.maximum(scales, smallest))))
    height, width = (int(side / scale) // 4 * 4 for side in crop)
    return View(0, 0, height, width, flip=False).moved(rng, frame)


def jitter(images: Sequence[Tensor], rng: np.random.Generator, strength: float) -> list[Tensor]:
    """Random brightness, contrast and saturation, the same for the frames of one sample.

    Args:
        images: batches of the same samples, uint8 `[N, 3, H, W]` each (keyframes and current frames, say).
        strength: largest relative change of each, 0 for none.
    """
    return jittered(images, jitter_draws(rng, images[0].shape[0], strength))


def jitter_draws(rng: np.random.Generator, count: int, strength: float) -> Tensor:
    """float32 `[count, 3]`: the factors of brightness, contrast and saturation of so many samples."""
    drawn = rng.uniform(1 - strength, 1 + strength, (3, count)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(drawn.T))


def jittered(images: Sequence[Tensor], factors: Tensor) -> list[Tensor]:
    """Batches of the same samples, uint8 `[N, 3, H, W]` each, changed by `jitter_draws`: float32 in 0..255.

    On a GPU the results are the CPU's but for rounding.
    """
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    mean = _mean(images[0])
    shift = mean * brightness
    out = []
    for image in images:
        # Plane by plane, which is three times as fast on a CPU as over the three values of each pixel.
        x = image.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        grey = (x[:, :1] + x[:, 1:2]).add_(x[:, 2:]).div_(3)
        x.sub_(grey).mul_(saturation).add_(grey)
        out.append(x.sub_(mean).mul_(contrast).add_(shift).clamp_(0, 255))
    return out


def _mean(image: Tensor) -> Tensor:
    """float32 `[N, 1, 1, 1]`, rounded once: the same on every device and with any number of threads.

    Sums of a row's bytes are whole numbers that float32 holds, and sums of those ones that float64 holds.
    """
    rows = image.permute(0, 2, 3, 1).flatten(2).sum(2, dtype=torch.float32)
    return (rows.sum(1, dtype=torch.float64) / image[0].numel()).float().view(-1, 1, 1, 1)


def paste(
    image: np.ndarray, label: np.ndarray, donor: tuple[np.ndarray, np.ndarray], classes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of the donor's `classes`, laid over an image at the place where they were in the donor.

    Args:
        image, label: uint8 `[H, W, 3]` and `[H, W]`; they are not changed.
        donor: another image with its label; one of another size is brought to the most of it that fits, in the middle.

    Source: class-wise mixing of labelled images, as in ClassMix (Olsson et al., WACV 2021).
    """
    other, ids = donor if donor[1].shape == label.shape else _fitted(*donor, label.shape)
    taken = np.isin(ids, classes)
    return np.where(taken[..., None], other, image), np.where(taken, ids, label)


def _fitted(image: np.ndarray, label: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A labelled image within a frame of `size`, as large as it can be; around it there is no label."""
    scale = min(size[0] / label.shape[0], size[1] / label.shape[1])
    height, width = (max(1, min(side, round(old * scale))) for side, old in zip(size, label.shape, strict=True))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    picture, ids = np.zeros((*size, 3), np.uint8), np.full(size, IGNORED, np.uint8)
    picture[top : top + height, left : left + width] = resized(image, (height, width))
    ids[top : top + height, left : left + width] = resized(label, (height, width), Image.Resampling.NEAREST)
    return picture, ids
