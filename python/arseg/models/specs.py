"""Networks by a line of text, for the command line and for weights files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from arseg.data.info import CAMVID, DataInfo, data_info
from arseg.errors import InputError

from .checkpoint import CheckpointError, load_into, read_checkpoint

Spec = str | dict[str, Any]
"""A line for `build_network`; or, in weights files, kind and config of the network that a weights file held."""

EXPECTED = (
    "expected torchvision:NAME, timm:NAME, module.py:function, package.module:function or a .safetensors file of "
    "`arseg train`"
)


_TORCHVISION_OPTIONS = ("num_classes", "aux_loss", "weights", "weights_backbone")


def is_code(spec: Spec) -> bool:
    """Whether building it runs a function that the line names."""
    return isinstance(spec, str) and not spec.startswith(("torchvision:", "timm:"))


def build_network(spec: Spec, *, weights: bool = True) -> tuple[nn.Module, DataInfo | None]:
    """The network, and what is known of its data.

    - `torchvision:NAME?num_classes=11`: of `torchvision.models.segmentation`, with its pretrained weights unless
      options are given or `weights` is False.
    - `timm:NAME?num_classes=11&channels=64`: `EncoderHead` on timm's encoder.
    - `module.py:function`, `package.module:function`: what the function returns; it is called without arguments.
    - a file of `arseg train hr` or `arseg train ar`: the network of its keyframes.

    Raises `InputError` for a line that leads to no network.
    """
    if isinstance(spec, Mapping):
        from .build import build

        return _keyframe_network(build(spec["kind"], spec["config"]))
    origin, colon, name = spec.partition(":")
    if spec.endswith(".safetensors") or Path(spec).is_file():
        from .checkpoint import load_checkpoint

        return _keyframe_network(load_checkpoint(spec))
    if not colon or not name:
        raise InputError(f"model: {EXPECTED}, got {spec!r}")
    if origin == "torchvision":
        return _torchvision(name, weights)
    if origin == "timm":
        return _timm(name, weights)
    return _of_code(spec, origin, name), None


def portable(spec: Spec) -> Spec:
    """The same without a file: of a weights file, kind and config."""
    if isinstance(spec, str) and Path(spec).is_file():
        kind, config, _ = read_checkpoint(spec)
        return {"kind": kind, "config": config}
    return spec


def load_state(network: nn.Module, path: str | Path) -> None:
    """Loads a state dict from a .safetensors file or one of `torch.save`, with or without `module.` before its keys.

    Raises `CheckpointError` where the file cannot be read or does not fit; nothing but tensors is unpickled.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file; expected a .safetensors or .pth file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # of many kinds
        raise CheckpointError(f"{path}: not a readable weights file ({str(error).splitlines()[0]})") from error
    while isinstance(state, Mapping):
        inner = next((state[key] for key in ("state_dict", "model") if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state dict; expected what `torch.save(model.state_dict(), …)` writes")
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    counters = "num_batches_tracked"  # of batch normalisation in training, which some writers leave out
    load_into(network, {k.removeprefix(prefix): v for k, v in state.items() if not k.endswith(counters)}, path)


def _options(name: str) -> tuple[str, dict[str, Any]]:
    """`NAME?a=1&b=x` -> `NAME`, `{"a": 1, "b": "x"}`."""
    name, _, query = name.partition("?")
    words = {"true": True, "false": False, "none": None}
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        options[key] = int(text) if text.lstrip("-").isdigit() else words.get(text.lower(), text)
    return name, options


def _torchvision(name: str, weights: bool) -> tuple[nn.Module, DataInfo | None]:
    from torchvision.models import get_model_builder, get_model_weights, list_models, segmentation

    name, options = _options(name)
    known = list_models(module=segmentation)
    if name not in known:
        raise InputError(f"model: torchvision has no segmentation network {name!r}; it has {', '.join(known)}")
    unknown = options.keys() - _TORCHVISION_OPTIONS  # which torchvision would leave unsaid
    if unknown:
        raise InputError(f"model: {name} has no option {min(unknown)!r}; it has {', '.join(_TORCHVISION_OPTIONS)}")
    wanted = get_model_weights(name).DEFAULT if weights and not options else None  # type: ignore[attr-defined]
    if not weights:
        options = {key: value for key, value in options.items() if not key.startswith("weights")}
    network = _called(get_model_builder(name), name, {"weights": wanted, "weights_backbone": None, **options})
    names = get_model_weights(name).DEFAULT.meta["categories"]  # type: ignore[attr-defined]
    count = options.get("num_classes", len(names))
    return network, data_info(count, classes=names if count == len(names) else None)


def _timm(name: str, weights: bool) -> tuple[nn.Module, DataInfo | None]:
    from .encoder_head import EncoderHead

    name, options = _options(name)
    if not weights:
        options["pretrained"] = False
    network = _called(EncoderHead, name, {"encoder": name, "pretrained": False, **options})
    return network, data_info(network.classifier.out_channels, mean=network.mean, std=network.std)


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


def _keyframe_network(module: nn.Module) -> tuple[nn.Module, DataInfo]:
    from .arseg_net import ARSegNet

    return (module.high, module.info) if isinstance(module, ARSegNet) else (module, CAMVID)


def _of_code(spec: str, origin: str, name: str) -> nn.Module:
    module = _module_of_file(spec, Path(origin)) if origin.endswith(".py") else _module_of_package(spec, origin)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"model: {origin} has no function {name!r} (in {spec!r})")
    network = function()
    if not isinstance(network, nn.Module):
        raise InputError(f"model: {spec} returned a {type(network).__name__}; expected a torch.nn.Module")
    return network


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
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(f"model: there is no module {name!r} (in {spec!r}); {EXPECTED}") from error
        raise
