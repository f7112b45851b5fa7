"""Real inputs of the operators: saved as they come by (`ARSEG_CAPTURE=folder`), and read again (`--replay folder`).

A call is saved once for each operator and signature: shapes, dtypes, strides, devices, options and which arguments want
a gradient. Files are of torch.save and hold tensors and plain values alone. Calls that are traced by torch.compile or
torch.export, or captured into a CUDA graph, are not seen.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg_ext.profiler import hooks
from arseg_ext.profiler.problems import OPERATORS, Inputs

FORMAT, VERSION = "arseg capture", 1


class CaptureError(ValueError):
    """A folder or file that holds no captured call."""


@dataclass(frozen=True)
class Captured:
    """A call as it was: inputs on the CPU with the strides they had, and where it ran."""

    op: str
    inputs: Inputs
    wanted: tuple[str, ...]
    device: str
    path: Path


def install(folder: str | Path) -> None:
    """Save what every function of `arseg_ext.ops` is called with, once for each signature."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"ARSEG_CAPTURE: {folder} cannot be made ({error.strerror}); name a folder to write to") from None
    seen: set[str] = set()

    def around(name: str, function: hooks.Function) -> hooks.Function:
        defaults = {key: each.default for key, each in inspect.signature(function).parameters.items()}
        options = {
            key: defaults[key] for key in OPERATORS[name].options if defaults[key] is not inspect.Parameter.empty
        }

        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)  # first: what is refused is not worth keeping
            try:
                _save(target, name, args, {**options, **kwargs}, seen)
            except Exception as error:  # measuring must not end the program that is measured
                seen.add(name)
                warnings.warn(f"ARSEG_CAPTURE: {name} was not saved ({error})", stacklevel=2)
            return result

        return call

    hooks.wrap(around)


def _save(folder: Path, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], seen: set[str]) -> None:
    operator = OPERATORS[op]
    given = {**kwargs, **dict(zip((*operator.tensors, *operator.options), args, strict=False))}
    tensors = {name: given[name] for name in operator.tensors}
    options = {name: _plain(name, given[name]) for name in operator.options if given.get(name) is not None}
    plain = all(type(each) in (Tensor, torch.nn.Parameter) for each in tensors.values())
    if not plain or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return
    wanted = [name for name, each in tensors.items() if each.requires_grad] if torch.is_grad_enabled() else []
    signature = repr(
        [(name, tuple(t.shape), t.stride(), str(t.dtype), str(t.device)) for name, t in tensors.items()]
        + [options, wanted]
    )
    name = f"{op}-{hashlib.sha256(signature.encode()).hexdigest()[:12]}.pt"
    if name in seen:
        return
    seen.add(name)
    if (folder / name).exists():
        return
    saved = {
        "format": FORMAT,
        "version": VERSION,
        "op": op,
        "tensors": {each: tensor.detach().cpu().clone() for each, tensor in tensors.items()},
        "strides": {each: list(tensor.stride()) for each, tensor in tensors.items()},
        "options": options,
        "wanted": wanted,
        "device": str(tensors[operator.tensors[0]].device),
    }
    partial = folder / f"{name}.{os.getpid()}.part"
    torch.save(saved, partial)
    os.replace(partial, folder / name)


def _plain(name: str, value: Any) -> Any:
    if name == "window" and isinstance(value, int):
        value = (value, value)
    return [int(each) for each in value] if isinstance(value, (tuple, list, torch.Size)) else value


def read(path: Path) -> Captured:
    try:
        saved = torch.load(path, weights_only=True)
        if saved["format"] != FORMAT or saved["version"] != VERSION:
            raise KeyError("format")
        tensors = {name: _strided(each, saved["strides"][name]) for name, each in saved["tensors"].items()}
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in saved["options"].items()}
        return Captured(saved["op"], Inputs(tensors, options), tuple(saved["wanted"]), saved["device"], path)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception:
        raise CaptureError(f"{path}: expected a call saved by ARSEG_CAPTURE, got something else") from None


def _strided(tensor: Tensor, stride: list[int]) -> Tensor:
    """As it lay, where its elements have places of their own."""
    if list(tensor.stride()) == stride or any(step == 0 for step in stride):
        return tensor
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)


def read_all(folder: str | Path) -> list[Captured]:
    """Every captured call of a folder, by name."""
    paths = sorted(Path(folder).glob("*.pt"))
    if not paths:
        raise CaptureError(f"--replay: {folder} holds no calls; make some with ARSEG_CAPTURE={folder} python ...")
    return [read(path) for path in paths]
