"""Networks by a short name: "torchvision:lraspp_mobilenet_v3_large", "timm:resnet18", "package.module:function"."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from arseg.errors import InputError

from .checkpoint import load_checkpoint


def network_from(spec: str, device: str | torch.device = "cpu") -> nn.Module:
    """A network in eval mode; random weights where it comes from a library, a file's own where it is a file.

    Args:
        spec: "torchvision:NAME", "timm:NAME", "MODULE:FUNCTION" (called without arguments, found in the current folder,
            too), or a weights file of ours.
        device: where it is made. "meta" holds no values, for counting.

    Raises `InputError` that says what is unknown.
    """
    if spec.endswith(".safetensors") or Path(spec).is_file():
        return load_checkpoint(spec).to(device)
    source, colon, name = spec.partition(":")
    if not colon or not name:
        raise InputError(
            f"model: expected torchvision:NAME, timm:NAME, MODULE:FUNCTION or a .safetensors file, got {spec!r}"
        )
    with torch.device(device):
        made = {"torchvision": _torchvision, "timm": _timm}.get(source, lambda n: _imported(source, n))(name)
    if not isinstance(made, nn.Module):
        raise InputError(f"model: {spec} gave a {type(made).__name__}; expected a torch.nn.Module")
    return made.eval()


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    _known(name, models.list_models(), "torchvision")
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None
    return models.get_model(name, **options)


def _timm(name: str) -> nn.Module:
    import timm

    _known(name, timm.list_models(), "timm")
    return timm.create_model(name, pretrained=False)


def _imported(module: str, name: str) -> Any:
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        function = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(f"model: {module} cannot be imported ({error}); install it, or go to its folder") from error
    except AttributeError as error:
        raise InputError(f"model: {module} has no {name}") from error
    finally:
        sys.path.remove(os.getcwd())
    if isinstance(function, nn.Module):
        return function
    if not callable(function):
        kind = type(function).__name__
        raise InputError(f"model: {module}:{name} is a {kind}; expected a function that makes a module")
    return function()


def _known(name: str, names: Sequence[str], source: str) -> None:
    if name not in names:
        close = get_close_matches(name, names)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"model: {source} has no {name!r}{hint}")
