"""Weights and inputs that are made from names, so that no file has to hold them, and what the authors' networks gave.

`fixtures/oracle_networks.npz` was sampled from a run of the authors' code on the CPU (torch 2.14, float32, eval mode),
with the weights and inputs below: 64x96 pixels, low-resolution frames at 0.5, motion in blocks of 8 pixels.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = Path(__file__).parent.parent / "fixtures" / "oracle_networks.npz"
SIZE = (64, 96)
COUNT = 300
"""Values that are kept of each tensor."""


def generator(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))


def weight(key: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The value of one entry of a state dict: by its last name noise of a size that keeps activations in bounds."""
    leaf, shape = key.rsplit(".", 1)[-1], tuple(shape)
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=dtype)
    noise = np.asarray(generator(key).standard_normal(shape))
    if leaf == "running_mean" or leaf == "bias":
        value = 0.1 * noise
    elif leaf == "running_var":
        value = 1 + 0.2 * np.abs(noise)
    elif shape == (1,):  # PReLU
        value = np.full(shape, 0.25)
    elif len(shape) == 1:
        value = 1 + 0.1 * noise
    else:
        value = noise * math.sqrt(1.5 / math.prod(shape[1:]))
        if "lr_query_conv" in key or "hr_key_conv" in key:
            value = value * 0.5  # an unsaturated softmax
    return torch.from_numpy(value).to(dtype)


def image(name: str) -> Tensor:
    """`[1, 3, 64, 96]`, smooth."""
    noise = torch.from_numpy(generator(name).standard_normal((1, 3, *SIZE))).float()
    return F.avg_pool2d(F.pad(noise, (2, 2, 2, 2), mode="reflect"), 5, 1) * 4


def blocks(name: str) -> Tensor:
    """Motion of whole pixels, int16 `[1, 8, 12, 2]`, quarter pixels, blocks of 8."""
    pixels = generator(name).randint(-12, 13, (SIZE[0] // 8, SIZE[1] // 8, 2))
    return torch.from_numpy(pixels[None] * 4).to(torch.int16)


def labels(classes: int) -> Tensor:
    """int64 `[1, 64, 96]`, the first rows unlabelled."""
    found = torch.randint(0, classes, (1, *SIZE), generator=torch.Generator().manual_seed(1))
    found[:, :4] = 255
    return found


def state_dict(described: dict[str, Any], prefix: str = "module.") -> dict[str, Tensor]:
    """From `keys`, a list of (key, shape, dtype), and `alias_of`, second names -> first names."""
    return {
        prefix + key: weight(described["alias_of"].get(key, key), shape, getattr(torch, dtype.removeprefix("torch.")))
        for key, shape, dtype in described["keys"]
    }


def positions(name: str, numel: int) -> np.ndarray:
    """Which values of the flattened tensor `name` are kept."""
    return generator(name).permutation(numel)[:COUNT]


class Samples:
    """What the authors' network `arch` gave."""

    def __init__(self, arch: str):
        self.arch = arch
        with np.load(SAMPLES) as file:
            self.record = json.loads(str(file[f"{arch}/record"]))
            self.values = {k.split("/")[1]: file[k] for k in file.files if k.startswith(f"{arch}/")}

    def error(self, name: str, found: Tensor) -> float:
        """Relative error of `found` at the places that are kept of the authors' `name`."""
        assert list(found.shape) == self.record["shapes"][name], f"{name}: {list(found.shape)}"
        mine = found.detach().flatten()[torch.from_numpy(positions(f"{self.arch}/{name}", found.numel()))]
        theirs = torch.from_numpy(self.values[name])
        return float((mine - theirs).norm() / theirs.norm())
