"""The memory format of a result: that of the map it is made of, as empty_map in csrc/cpu/tensors.h."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(tensor: Tensor) -> bool:
    """Whether torch takes a map, or the one image of all its batch, for channels_last, as csrc/cpu/tensors.h."""
    if tensor.stride(1) == 0:
        return False
    least = 0
    one_image = tensor.stride(0) == 0 and tensor.shape[0] > 1  # in this order: a batch may be of any size
    for dim in (1, 3, 2) if one_image else (1, 3, 2, 0):
        size, stride = tensor.shape[dim], tensor.stride(dim)
        if dim == 0 and not isinstance(size, int):  # nothing may be asked of it
            return not (stride < least or least == tensor.stride(1))
        if size == 0 or stride < least or (dim == 0 and least == tensor.stride(1)):
            return False
        least = stride * size if size > 1 else stride
    return True


def layout_of(map: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(map) else torch.contiguous_format


def in_layout_of(map: Tensor, like: Tensor) -> Tensor:
    """`map` itself where it has the memory format of `like` already."""
    return map.contiguous(memory_format=layout_of(like))
