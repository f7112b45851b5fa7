"""Weights on disk: safetensors, matrices in half precision, with what is needed to build the network again."""

from __future__ import annotations

import json
import logging
import math
import pickle
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arseg import zoo
from arseg.errors import ArsegError, InputError
from arseg.files import StrPath, replacing
from arseg.networks.state_dict import listed, misfit

from .build import build

_log = logging.getLogger(__name__)

DEFAULT_WEIGHTS = zoo.SHIPPED / zoo.ZOO[zoo.DEFAULT].file
"""The weights that are taken where none are named; their model card lies beside them."""

OURS = "`arseg train`, `arseg adapt` or `arseg convert`"
"""What writes weights files."""

OTHER_NETWORK = "; give the weights of this network, or leave --model out"


class CheckpointError(ArsegError):
    """A weights file that cannot be read, or does not fit the network; the message names the file."""


def save_checkpoint(
    state: Mapping[str, Tensor], path: str | Path, *, kind: str, config: Mapping[str, Any], half: bool = True
) -> None:
    """Writes the tensors (atomically), the large ones as float16; `kind` and `config` go into the file's metadata.

    `kind`, `config`: what `arseg.weights.build.build` takes. `half=False` keeps the tensors' own precision; so do
    vectors (biases, and batch normalisation, whose variances may be beyond float16) and what would not be finite.
    """
    path = Path(path)
    tensors = {
        key: (_halved(value) if half else value).contiguous().clone()
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    with replacing(path) as part:
        mode = stat.S_IMODE(part.stat().st_mode)  # save_file would leave it readable to its owner alone
        save_file(tensors, part, metadata={"kind": kind, "config": json.dumps(dict(config))})
        _in_order(part)
        part.chmod(mode)


def _halved(value: Tensor) -> Tensor:
    if not value.is_floating_point() or value.dim() < 2:
        return value
    found = value.half()
    return found if bool(found.isfinite().all()) else value


def _in_order(path: Path) -> None:
    """Puts the metadata of a file that was just written in order: a checksum is to depend on what it holds alone."""
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # else it was written otherwise than known, and stays
            file.seek(8)
            file.write(text.ljust(length))


def weights_file(source: StrPath) -> Path:
    """`arseg.zoo.weights_file`, whose errors are `CheckpointError`s here."""
    try:
        return zoo.weights_file(source)
    except InputError as error:
        raise CheckpointError(str(error)) from error


def read_checkpoint(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """`(kind, config, tensors)` of a file that `save_checkpoint` wrote; tensors come back as float32.

    `path` may be a name of the zoo, see `arseg.zoo.weights_file`; here and below.
    """
    path = weights_file(path)
    with _opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        kind, config = _metadata(file, path)
    floats = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    return kind, config, floats


def read_config(path: str | Path) -> tuple[str, dict[str, Any]]:
    """`(kind, config)` of a file that `save_checkpoint` wrote, without its tensors."""
    path = weights_file(path)
    with _opened(path) as file:
        return _metadata(file, path)


def tensor_shapes(path: str | Path) -> tuple[str, dict[str, Any], dict[str, tuple[str, int]]]:
    """`(kind, config, tensors)` of such a file; of each tensor the precision as stored, and its number of values."""
    path = weights_file(path)
    with _opened(path) as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        found = {key: (part.get_dtype(), math.prod(part.get_shape())) for key, part in slices.items()}
        return (*_metadata(file, path), found)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder, and none of `arseg export`; expected a .safetensors file of {OURS}"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file; expected a .safetensors file of {OURS}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable .safetensors file ({error}); `arseg convert` makes one of the authors' .pth, "
            "`arseg train` and `arseg adapt` of their networks"
        ) from error


def _metadata(file: Any, path: Path) -> tuple[str, dict[str, Any]]:
    meta = file.metadata() or {}
    if "kind" not in meta or "config" not in meta:
        raise CheckpointError(f"{path}: no AR-Seg metadata in it; expected a file of {OURS}")
    try:
        return meta["kind"], json.loads(meta["config"])
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata cannot be read ({error}); make the file again") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` or `.pth` file, also one under "state_dict" or "model".

    Raises `InputError` where there is none; nothing but tensors is unpickled.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .pth or .safetensors file with a state dict")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a readable .safetensors file ({error})") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{path}: not a .pth file of plain tensors, which alone is read (weights_only=True); save the network's "
            "state_dict() with torch.save"
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{path}: expected a state dict, names and tensors, got {type(found).__name__}")
    return dict(found)


def licence_of(path: str | Path, config: Mapping[str, Any] | None = None) -> str | None:
    """What a weights file says of the terms of its use; None where it says nothing, or is none of ours.

    `config`: that of the file, where it has been read.
    """
    try:
        config = read_config(path)[1] if config is None else config
        return (config.get("made") or zoo.record_of(weights_file(path)) or {}).get("licence")
    except CheckpointError:
        return None


def load_state(network: nn.Module, path: str | Path, advice: str = "") -> None:
    """Loads a network's own state, as `read_state_dict` finds it, with or without `module.` before its keys.

    `advice`: at the end of the sentence for one that does not fit.

    Raises `InputError` where the file cannot be read, `CheckpointError` where it does not fit.
    """
    state = read_state_dict(Path(path))
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state dict; expected what `torch.save(model.state_dict(), …)` writes")
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    counters = "num_batches_tracked"  # of batch normalisation in training, which some writers leave out
    own = {k.removeprefix(prefix): v for k, v in state.items() if not k.endswith(counters)}
    load_into(network, own, path, advice)


def check_fit(module: nn.Module, state: Mapping[str, Tensor], path: str | Path, advice: str = "") -> None:
    """Raises `CheckpointError` that names keys; batch normalisation's step counters may be missing."""
    found = misfit(state, module.state_dict(), most=2 if advice else 8)
    if found is not None:
        raise CheckpointError(f"{path}: the weights do not fit the network: {found}{advice}")


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: str | Path, advice: str = "") -> None:
    """Strict but for batch normalisation's step counters; a misfit is one sentence that names keys, and has the advice.

    So is a variance of batch normalisation that is not finite: its channel would be silent.
    """
    check_fit(module, state, path, advice)
    silent = [key for key, value in state.items() if key.endswith("running_var") and not value.isfinite().all()]
    if silent:
        raise CheckpointError(
            f"{path}: {listed(silent)}: expected finite variances; versions before this one wrote those above 65504 as "
            "infinite; write the file anew, from the run or the file that it was made of"
        )
    module.load_state_dict(dict(state), strict=False)


@contextmanager
def building(path: str | Path) -> Iterator[None]:
    """What cannot be built of a file's metadata is a `CheckpointError` that names the file."""
    try:
        yield
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: its metadata describes no network we know: {reason}") from error


def load_checkpoint(path: str | Path = zoo.DEFAULT, model: nn.Module | str | None = None) -> nn.Module:
    """The network in a weights file, or of a name of the zoo such as "lite0", in eval mode.

    Args:
        model: the network that the weights are of, or its line, where it is code of yours: a weights file alone shall
            not make code run.

    An `ARSegNet` (kinds "ar" and "accelerated"), its high-resolution network ("hr"), or a `FusedNetwork` ("fused"). Its
    attribute `label_set` says what its classes are and how its input is normalised. The licence that the file names is
    logged (`logging`, level INFO; `arseg segment -v`).

    Raises `CheckpointError` where the file is missing, unreadable, or holds another network's weights.
    """
    kind, config, state = read_checkpoint(path)
    with building(path):
        module = build(kind, config, model)
    load_into(module, state, path, "" if model is None else OTHER_NETWORK)
    if licence := licence_of(path, config):
        _log.info("%s: %s", path, licence)
    return module.eval().to(memory_format=torch.channels_last)
