"""Where a network comes from: a line of text, for the command line and for weights files.

- `NAME`, `NAME?num_classes=11`: a network of `arseg.networks.NETWORKS`, such as pyramid or camvid-psp18.
- `torchvision:NAME`: torchvision's network of that name; `torchvision:NAME?num_classes=11&aux_loss=true` with options
  of its builder.
- `transformers:FOLDER`: what `save_pretrained` of transformers wrote there; `transformers:NAME`, a checkpoint of the
  Hugging Face Hub; `transformers:segformer?num_classes=11&depths=[1,1,1,1]`, a type with options of its config.
- `smp:Unet?encoder_name=resnet34&num_classes=11`: an architecture of segmentation_models_pytorch with its options, or
  `smp:FOLDER`, what its `save_pretrained` wrote there.
- `timm:NAME`: timm's encoder of that name with the head of `EncoderHead`; `timm:NAME?num_classes=11&channels=64` with
  options of `EncoderHead`. (timm's whole classifiers are functions of a module: `timm.models:NAME`.)
- `module.py:function`, `package.module:function`: what the function returns, or a network of that name; the function is
  called without arguments, packages are found in the current folder, too.
- a `.safetensors` file of ours, or its name in the zoo (`arseg.zoo.ZOO`), such as lite0.

What is neither a file nor in the table is code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from arseg.errors import InputError
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.registry import NETWORKS, make_network
from arseg.registry import module_of_file
from arseg.weights.build import FUSION, build
from arseg.weights.files import load_checkpoint, read_checkpoint
from arseg.zoo import ZOO

Source = str | dict[str, Any]
"""A line of text; or, in weights files, kind and config of the network that a weights file held."""

EXPECTED = (
    "expected torchvision:NAME, timm:NAME, transformers:FOLDER, smp:NAME, module.py:function, package.module:function, "
    "a .safetensors file of `arseg train`, or a name of the zoo or of arseg.networks"
)


def is_code(source: Source | os.PathLike[str]) -> bool:
    """Whether building it runs a function that the line names."""
    return isinstance(source, str) and not _in_table(source)


def is_weights(line: str) -> bool:
    """Whether it means a weights file of ours, and not how to build a network."""
    return line in ZOO or _is_file(line) or (line.endswith(".safetensors") and not _in_table(line))


def _in_table(line: str) -> bool:
    return line.partition("?")[0].partition(":")[0] in NETWORKS


def network_from(
    source: Source | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
) -> nn.Module:
    """A network in eval mode; where its classes and normalisation are known, `label_set` says them.

    Args:
        source: see above.
        device: where it is made. "meta" holds no values, for counting.
        pretrained: fetch torchvision's weights for a line without options, those of a checkpoint's name on the Hugging
            Face Hub, and others where the line asks for them (`pretrained=true`); else a name must be on this machine,
            and the rest has random weights. Files and folders have their own either way.
        num_classes: build it with so many; None: as many as the line says. A function of yours is given them where it
            has an argument of that name.

    Raises `InputError` for a line that leads to no network.
    """
    if isinstance(source, Mapping):
        return build(source["kind"], source["config"]).to(device).eval()
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"model: {EXPECTED}, got {type(source).__name__}")
    line = os.fspath(source)
    if is_weights(line):
        return load_checkpoint(line).to(device)
    origin, colon, name = line.partition(":")
    with torch.device(device):
        if _in_table(line):
            network = make_network(line, fetch=pretrained, num_classes=num_classes)
        elif colon and name:
            network = _of_code(line, origin, name, num_classes)
        else:
            raise InputError(f"model: {EXPECTED}, got {line!r}")
    return network.eval()


def _is_file(line: str) -> bool:
    try:
        return Path(line).is_file()
    except OSError:  # too long for a name
        return False


def portable(source: Source | os.PathLike[str]) -> Source:
    """The same without a file: of a weights file, kind and config."""
    if isinstance(source, Mapping):
        return source
    line = os.fspath(source)
    if line in ZOO or _is_file(line):
        kind, config, _ = read_checkpoint(line)
        return {"kind": kind, "config": config}
    return line


def anywhere(line: str) -> str:
    """The same line with the whole names of the files and folders in it."""
    if line in ZOO:
        return line
    if _is_file(line):
        return os.path.abspath(line)
    origin, colon, rest = line.partition(":")
    name, mark, options = rest.partition("?")
    if origin.endswith(".py"):
        return os.path.abspath(origin) + colon + rest
    saved = origin == "transformers" and os.path.isfile(os.path.join(name, "config.json"))
    return origin + colon + os.path.abspath(name) + mark + options if saved else line


def made_from(
    network: nn.Module, source: Source | os.PathLike[str] | None, num_classes: int | None = None
) -> dict[str, Any] | None:
    """The config with which weights of kind "hr" build the network again that `network_from` made of `source`.

    None where no line says it, as for a module of the user's.
    """
    own = getattr(network.high if isinstance(network, ARSegNet) else network, "made_from", None)
    if own is not None or source is None:
        return own
    config = config_of(portable(source))
    return config if num_classes is None else {**config, "num_classes": num_classes}


def own_source(network: nn.Module) -> Source | None:
    """What a network of a library says of how to build it again, where its line alone would not do."""
    config = getattr(network, "made_from", None)
    return None if config is None or isinstance(network, ARSegNet) else {"kind": "hr", "config": config}


def config_of(source: Source) -> dict[str, Any]:
    """What `arseg.weights.build` makes the same network of, kind "hr"; of a pair, the keyframes' network."""
    if isinstance(source, Mapping):
        return {key: value for key, value in source["config"].items() if key not in FUSION}
    return {"network": source}


def _of_code(spec: str, origin: str, name: str, num_classes: int | None) -> nn.Module:
    module = _module_of_file(spec, Path(origin)) if origin.endswith(".py") else _module_of_package(spec, origin)
    found = getattr(module, name, None)
    if isinstance(found, nn.Module):
        return found
    if found is None:
        raise InputError(f"model: {origin} has no function {name!r} (in {spec!r})")
    if not callable(found):
        kind = type(found).__name__
        raise InputError(f"model: {spec} is a {kind}; expected a function that makes a torch.nn.Module")
    takes = num_classes is not None and "num_classes" in _parameters(found)
    network = found(num_classes=num_classes) if takes else _without_arguments(found, spec)()
    if not isinstance(network, nn.Module):
        raise InputError(f"model: {spec} returned a {type(network).__name__}; expected a torch.nn.Module")
    return network


def _parameters(function: Any) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # of some built-in ones
        return ()


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
    return module_of_file(path, "_arseg_model")


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
