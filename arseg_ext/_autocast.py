"""Autocast: attention runs in the autocast dtype; warps are not touched, so coordinates keep their precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}
_libraries: list[torch.library.Library] = []  # a Library unregisters when it is deleted


def _attention_for(device: str) -> object:
    key = getattr(torch._C.DispatchKey, _DEVICES[device])

    def local_attention(
        query: Tensor,
        key_map: Tensor,
        value: Tensor,
        *,
        window: Sequence[int],
        outside: str = "zero",
        scale: float = 1.0,
    ) -> Tensor:
        dtype = torch.get_autocast_dtype(device)
        # float64 is left alone, as torch's own policy does.
        cast = [
            tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor
            for tensor in (query, key_map, value)
        ]
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            return torch.ops.arseg.local_attention(*cast, window=window, outside=outside, scale=scale)

    return local_attention


def register() -> None:
    for device, key in _DEVICES.items():
        library = torch.library.Library("arseg", "IMPL", key)
        library.impl("local_attention", _attention_for(device))
        _libraries.append(library)
