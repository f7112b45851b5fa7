"""Which images a network takes, found by trying; other ones are resized to the nearest of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError

Size = tuple[int, int]

MULTIPLES = (1, 2, 4, 8, 14, 16, 28, 32, 64, 128)
"""Tried in this order: strides of encoders, and the patches of transformers."""


@dataclass(frozen=True)
class Sizes:
    """Rule for the images that a network takes.

    Attributes:
        multiple: that both sides are of.
        square: whether both must be the same.
        only: (height, width) of the one size that it takes; None: all that the other two allow.
    """

    multiple: int = 1
    square: bool = False
    only: Size | None = None

    def nearest(self, size: Size) -> Size:
        """The size that an image of `size` (height, width) is seen at: as many pixels, about."""
        if self.only is not None:
            return self.only
        height, width = size
        if self.square:
            height = width = round((height * width) ** 0.5)
        step = self.multiple
        return max(step, round(height / step) * step), max(step, round(width / step) * step)

    def fit(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` -> the same at `nearest`: all of it, stretched where the shape differs."""
        size = self.nearest((image.shape[2], image.shape[3]))
        if size == (image.shape[2], image.shape[3]):
            return image
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)

    def __str__(self) -> str:
        """Such as "any", "multiples of 32", "squares of multiples of 16", "512x512 alone" (height x width)."""
        if self.only is not None:
            return f"{self.only[0]}x{self.only[1]} alone"
        steps = f"multiples of {self.multiple}" if self.multiple > 1 else "any"
        return (f"squares of {steps}" if self.multiple > 1 else "squares") if self.square else steps

    def to_json(self) -> dict[str, Any]:
        """For the metadata of a weights file."""
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any] | None) -> Sizes:
        """The inverse of `to_json`; None, as in files of earlier versions: any."""
        if record is None:
            return Sizes()
        only = record["only"]
        return Sizes(record["multiple"], record["square"], None if only is None else (only[0], only[1]))


def find_sizes(network: nn.Module, size: Size) -> Sizes:
    """The widest rule with which the network runs on images of about `size`, or on its own `image_size`, and sees all.

    A network of patches that leaves out what is too little for another patch would give a map of less than the image.

    Raises `InputError`, the network's own words about an image of `size`, where none is found.
    """
    for sizes in _rules(network, size):
        if all(_fault(network, tried) is None for tried in _examples(sizes, size)) and _sees_all(network, sizes, size):
            return sizes
    fault = _fault(network, size)
    raise InputError(f"model: does not run on a {size[0]}x{size[1]} image: {fault}")


def _rules(network: nn.Module, size: Size) -> Iterator[Sizes]:
    for square in (False, True):
        yield from (Sizes(multiple, square) for multiple in MULTIPLES)
    own = getattr(getattr(network, "config", None), "image_size", None) or getattr(network, "image_size", None)
    for only in (own, size):
        if isinstance(only, int) and only > 0:
            yield Sizes(only=(only, only))
        elif isinstance(only, (tuple, list)) and len(only) == 2:
            yield Sizes(only=(int(only[0]), int(only[1])))


def _examples(sizes: Sizes, size: Size) -> list[Size]:
    """Sizes near `size` that tell this rule from narrower ones: odd multiples, and two sides unlike each other."""
    if sizes.only is not None:
        return [sizes.only]
    step = sizes.multiple
    height, width = (step * (2 * round((side / step - 1) / 2) + 1) for side in size)
    height, width = max(step, height), max(step, width)
    if sizes.square:
        height = width
    elif height == width:
        width += 2 * step
    return [(height, width), (height + step, height + step if sizes.square else width)]


def random_image(network: nn.Module, size: Size) -> Tensor:
    """`[1, 3, *size]`, always the same one, where the network is."""
    parameter = next(network.parameters(), torch.zeros(()))
    if parameter.is_meta:
        return torch.empty(1, 3, *size, device="meta", dtype=parameter.dtype)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, *size, generator=generator).to(parameter.device, parameter.dtype)


@torch.no_grad()
def _sees_all(network: nn.Module, sizes: Sizes, size: Size) -> bool:
    """Whether the output is a map of the whole image.

    It has the image's shape, and the last row and the last column count, or at least no less than those in the middle:
    with random weights what is in the image may not reach the output at all.
    """
    image = random_image(network, _examples(sizes, size)[0])
    if sizes.only is not None:
        return True
    whole = _tensors(network(image))
    shares = [(x.shape[2] / image.shape[2], x.shape[3] / image.shape[3]) for x in whole if x.dim() == 4]
    if any(abs(rows - columns) * image.shape[2] > 1 for rows, columns in shares):
        return False  # a map of more or of less than the image
    if image.is_meta:
        return True

    def counts(part: Tensor) -> bool:
        kept = part.clone()
        part.add_(1e4)
        changed = not all(map(torch.equal, whole, _tensors(network(image))))
        part.copy_(kept)
        return changed

    height, width = image.shape[2] // 2, image.shape[3] // 2
    pairs = (
        (image[..., -1:, :], image[..., height : height + 1, :]),
        (image[..., -1:], image[..., width : width + 1]),
    )
    return all(counts(last) or not counts(middle) for last, middle in pairs)


def _tensors(output: Any) -> list[Tensor]:
    output = getattr(output, "logits", output)
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    return [tensor for value in values for tensor in _tensors(value)]


@torch.no_grad()
def _fault(network: nn.Module, size: Size) -> str | None:
    """What the network says of an image of that size; None where it runs."""
    image = random_image(network, size)
    try:
        network(image)
    except InputError:
        raise
    except Exception as error:
        return first_line(error)
    return None


def first_line(error: Exception) -> str:
    """Of its message, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
