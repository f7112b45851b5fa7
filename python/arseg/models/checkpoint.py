"""Weights on disk: safetensors, half precision, with what is needed to build the network again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from arseg.errors import ArsegError

DEFAULT_WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "lite0-camvid.safetensors"
"""The weights that the package ships; their model card lies beside them."""


class CheckpointError(ArsegError):
    """A weights file that cannot be read, or does not fit the network; the message names the file."""


def save_checkpoint(
    state: Mapping[str, Tensor], path: str | Path, *, kind: str, config: Mapping[str, Any], half: bool = True
) -> None:
    """Writes the tensors (atomically), floating ones as float16 if `half`; `kind` and `config` become metadata."""
    path = Path(path)
    tensors = {
        key: (value.half() if half and value.is_floating_point() else value).contiguous().clone()
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    part = path.with_name(f".{path.name}.part")
    save_file(tensors, part, metadata={"kind": kind, "config": json.dumps(dict(config))})
    os.replace(part, path)


def read_checkpoint(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """`(kind, config, tensors)` of a file that `save_checkpoint` wrote; tensors come back as float32."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file; expected a .safetensors file made by `arseg train`")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable .safetensors file ({error})") from error
    if "kind" not in meta or "config" not in meta:
        raise CheckpointError(f"{path}: no AR-Seg metadata in it; expected a file made by `arseg train`")
    floats = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    try:
        config = json.loads(meta["config"])
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata cannot be read ({error}); make the file again") from error
    return meta["kind"], config, floats


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Strict but for batch normalisation's step counters; a misfit is one sentence that names keys."""
    own = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or unknown or shapes:
        found = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", sorted(shapes)))
            if keys
        ]
        raise CheckpointError(f"{path}: the weights do not fit the network: {'; '.join(found)}")
    module.load_state_dict(dict(state), strict=False)


def load_checkpoint(path: str | Path = DEFAULT_WEIGHTS) -> nn.Module:
    """The network in a weights file, in eval mode: a `PyramidNet` (kind "hr") or an `ARSegNet` (other kinds).

    Raises `CheckpointError` where the file is missing, unreadable, or holds another network's weights.
    """
    from .accelerated import KIND, AcceleratedNet
    from .build import build

    kind, config, state = read_checkpoint(path)
    if kind == KIND:
        return AcceleratedNet.load(path).to(memory_format=torch.channels_last)
    try:
        module = build(kind, config)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: its metadata describes no network we know: {reason}") from error
    load_into(module, state, path)
    return module.eval().to(memory_format=torch.channels_last)
