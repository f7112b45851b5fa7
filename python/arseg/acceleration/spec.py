"""Networks by a line of text, for the command line and for weights files.

- `torchvision:NAME`: torchvision's network of that name; `torchvision:NAME?num_classes=11&aux_loss=true` with options
  of its builder.
- `timm:NAME`: timm's encoder of that name with the head of `EncoderHead`; `timm:NAME?num_classes=11&channels=64` with
  options of `EncoderHead`. (timm's whole classifiers are functions of a module: `timm.models:NAME`.)
- `module.py:function`, `package.module:function`: what the function returns, or a network of that name; the function is
  called without arguments, packages are found in the current folder, too.
- a `.safetensors` file of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import nn

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.weights.files import load_checkpoint, read_checkpoint

Spec = str | dict[str, Any]
"""A line for `network_from`; or, in weights files, kind and config of the network that a weights file held."""

EXPECTED = (
    "expected torchvision:NAME, timm:NAME, module.py:function, package.module:function or a .safetensors file of "
    "`arseg train`"
)
_LIBRARIES = ("torchvision:", "timm:")
_TORCHVISION_OPTIONS = ("num_classes", "aux_loss", "weights", "weights_backbone")


def is_code(spec: Spec | os.PathLike[str]) -> bool:
    """Whether building it runs a function that the line names."""
    return isinstance(spec, str) and not spec.startswith(_LIBRARIES)


def network_from(
    spec: Spec | os.PathLike[str], device: str | torch.device = "cpu", *, pretrained: bool = False
) -> nn.Module:
    """A network in eval mode; where its classes and normalisation are known, `label_set` says them.

    Args:
        spec: see above.
        device: where it is made. "meta" holds no values, for counting.
        pretrained: fetch torchvision's weights for a line without options, and timm's where the line asks for them
            (`pretrained=true`); else both have random ones. Files have their own either way.

    Raises `InputError` for a line that leads to no network.
    """
    if isinstance(spec, Mapping):
        from arseg.weights.build import build

        return build(spec["kind"], spec["config"]).to(device).eval()
    if not isinstance(spec, (str, os.PathLike)):
        raise InputError(f"model: {EXPECTED}, got {type(spec).__name__}")
    spec = os.fspath(spec)
    origin, colon, name = spec.partition(":")
    if spec.endswith(".safetensors") or Path(spec).is_file():
        return load_checkpoint(spec).to(device)
    if not colon or not name:
        raise InputError(f"model: {EXPECTED}, got {spec!r}")
    with torch.device(device):
        if origin == "torchvision":
            network = _torchvision(name, pretrained)
        elif origin == "timm":
            network = _timm(name, pretrained)
        else:
            network = _of_code(spec, origin, name)
    return network.eval()


def portable(spec: Spec | os.PathLike[str]) -> Spec:
    """The same without a file: of a weights file, kind and config."""
    if isinstance(spec, os.PathLike):
        spec = os.fspath(spec)
    if isinstance(spec, str) and Path(spec).is_file():
        kind, config, _ = read_checkpoint(spec)
        return {"kind": kind, "config": config}
    return spec


def _options(name: str) -> tuple[str, dict[str, Any]]:
    """`NAME?a=1&b=x` -> `NAME`, `{"a": 1, "b": "x"}`."""
    name, _, query = name.partition("?")
    words = {"true": True, "false": False, "none": None}
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        options[key] = int(text) if text.lstrip("-").isdigit() else words.get(text.lower(), text)
    return name, options


def _torchvision(name: str, pretrained: bool) -> nn.Module:
    from torchvision.models import get_model_builder, get_model_weights, list_models, segmentation

    name, options = _options(name)
    _known(name, list_models(), "torchvision")
    parameters = inspect.signature(get_model_builder(name)).parameters
    has = [key for key in _TORCHVISION_OPTIONS if key in parameters or key == "num_classes"]
    unknown = options.keys() - set(has)  # which torchvision would leave unsaid
    if unknown:
        raise InputError(f"model: {name} has no option {min(unknown)!r}; it has {', '.join(has)}")
    wanted = get_model_weights(name).DEFAULT if pretrained and not options else None  # type: ignore[attr-defined]
    if not pretrained:
        options = {key: value for key, value in options.items() if not key.startswith("weights")}
    backbone = {"weights_backbone": None} if "weights_backbone" in has else {}
    network = _called(get_model_builder(name), name, {"weights": wanted, **backbone, **options})
    if name in list_models(module=segmentation):
        names = get_model_weights(name).DEFAULT.meta["categories"]  # type: ignore[attr-defined]
        count = options.get("num_classes", len(names))
        network.label_set = LabelSet.of(count, classes=names if count == len(names) else None)
    return network


def _timm(name: str, pretrained: bool) -> nn.Module:
    import timm

    from arseg.networks.encoder_head import EncoderHead

    name, options = _options(name)
    if not timm.is_model(name):
        _known(name, timm.list_models(), "timm")
    if not pretrained:
        options["pretrained"] = False
    network = _called(EncoderHead, name, {"encoder": name, "pretrained": False, **options})
    network.label_set = LabelSet.of(network.classifier.out_channels, mean=network.mean, std=network.std)
    return network


def _known(name: str, names: Sequence[str], source: str) -> None:
    if name not in names:
        close = get_close_matches(name, names)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"model: {source} has no {name!r}{hint}")


def _called(builder: Any, name: str, options: Mapping[str, Any]) -> Any:
    try:
        return builder(**options)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"model: {name} cannot be built: {str(error).strip().splitlines()[0]}") from error
    except OSError as error:
        raise InputError(
            f"model: the pretrained weights of {name} cannot be fetched ({error}); give options such as "
            f"?num_classes=21 to build it without them"
        ) from error


def _of_code(spec: str, origin: str, name: str) -> nn.Module:
    module = _module_of_file(spec, Path(origin)) if origin.endswith(".py") else _module_of_package(spec, origin)
    found = getattr(module, name, None)
    if isinstance(found, nn.Module):
        return found
    if found is None:
        raise InputError(f"model: {origin} has no function {name!r} (in {spec!r})")
    if not callable(found):
        kind = type(found).__name__
        raise InputError(f"model: {spec} is a {kind}; expected a function that makes a torch.nn.Module")
    network = _without_arguments(found, spec)()
    if not isinstance(network, nn.Module):
        raise InputError(f"model: {spec} returned a {type(network).__name__}; expected a torch.nn.Module")
    return network


def _without_arguments(function: Any, spec: str) -> Any:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some built-in ones
        return function
    try:
        signature.bind()
    except TypeError as error:
        raise InputError(f"model: {spec} wants arguments ({error}); expected a function without") from error
    return function


def _module_of_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"model: {path}: no such file (in {spec!r}); {EXPECTED}")
    found = importlib.util.spec_from_file_location(f"_arseg_model_{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses and pickles look their module up
    found.loader.exec_module(module)
    return module


def _module_of_package(spec: str, name: str) -> ModuleType:
    here = os.getcwd()
    sys.path.insert(0, here)  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"model: {name} cannot be imported ({error}; in {spec!r}); install it, or go to its folder"
        ) from error
    finally:
        sys.path.remove(here)
