"""Kinds of files that a part of a network is exported to, and how each is run.

A script adds one: `FORMATS.register("mine", Format(…))`.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.extras import needs
from arseg.registry import Registry
from arseg_ext._torch_private import inductor

Part = Callable[..., Tensor]
"""A part that runs: tensors in, one out; the batch of the first may be any that it was exported for."""

Dynamic = Sequence[dict[int, Any]]
"""Of each input, the dimensions that may be of any length."""


@dataclass(frozen=True)
class Traced:
    """A part before it is written.

    Attributes:
        module: takes `inputs`, in eval mode.
        inputs: examples.
        names: of the inputs.
        output: name of the output.
        dynamic: dimensions of any length.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    names: tuple[str, ...]
    output: str
    dynamic: Dynamic

    def program(self) -> Any:
        """What torch.export makes of it."""
        with torch.no_grad():
            return torch.export.export(self.module, self.inputs, dynamic_shapes=(tuple(self.dynamic),))


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        ending: of the files' names.
        write: a part to a file.
        load: a part from a file, on a device.
        check: raises what says what is missing to write such files for a device and a precision.
        fusion: the format of the fusion; None: this one.
    """

    ending: str
    write: Callable[[Traced, Path], None]
    load: Callable[[Path, torch.device], Part]
    check: Callable[[torch.device, str], None] = lambda device, precision: None
    fusion: str | None = None


FORMATS: Registry[Format] = Registry("format")
"""By name: "aoti" (AOTInductor), "onnx" (its fusion a "program") and "program" (torch.export)."""


# --- AOTInductor ---


def _has_compiler(device: torch.device, precision: str) -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise InputError(
            f"format aoti: compiles, and there is no {compiler}; install it, name another in CXX, or choose onnx"
        )


def _write_aoti(part: Traced, path: Path) -> None:
    with quietly():
        inductor().aoti_compile_and_package(part.program(), package_path=str(path))


def _load_aoti(path: Path, device: torch.device) -> Part:
    with quietly():
        package: Any = inductor().aoti_load_package(str(path))

    def run(*inputs: Tensor) -> Tensor:
        (found,) = _as_one(package(*inputs))
        return found

    return run


# --- torch.export ---


def _write_program(part: Traced, path: Path) -> None:
    with quietly():
        torch.export.save(part.program(), path)


def _load_program(path: Path, device: torch.device) -> Part:
    module: Any = torch.export.load(path).module()

    def run(*inputs: Tensor) -> Tensor:
        (found,) = _as_one(module(*inputs))
        return found

    return run


def _as_one(result: Any) -> Sequence[Tensor]:
    return [result] if isinstance(result, Tensor) else result


# --- ONNX ---


def _onnx_there(device: torch.device, precision: str) -> None:
    if precision != "float32":
        raise InputError(f"precision: expected float32 for ONNX, whose arrays here have no {precision}")
    with needs("export", "ONNX"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    _runtime(device)


def _runtime(device: torch.device) -> Any:
    with needs("export", "ONNX"):
        import onnxruntime
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device.type]
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"device: onnxruntime as installed does not run on {device}; install onnxruntime-gpu")
    return onnxruntime


def _write_onnx(part: Traced, path: Path) -> None:
    with quietly():
        torch.onnx.export(
            part.module,
            part.inputs,
            str(path),
            dynamo=True,
            dynamic_shapes=(tuple(part.dynamic),),
            input_names=list(part.names),
            output_names=[part.output],
            external_data=False,
            verbose=False,
        )


def _load_onnx(path: Path, device: torch.device) -> Part:
    onnxruntime = _runtime(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        given = {name: x.contiguous().cpu().numpy() for name, x in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0]).to(device)

    return run


FORMATS.register("aoti", Format(".pt2", _write_aoti, _load_aoti, _has_compiler))
FORMATS.register("onnx", Format(".onnx", _write_onnx, _load_onnx, _onnx_there, fusion="program"))
FORMATS.register("program", Format(".pt2", _write_program, _load_program))


@contextmanager
def quietly() -> Iterator[None]:
    """Without what exporters say of themselves."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def laid_out(x: Tensor) -> Tensor:
    """A tensor in the memory layout that parts take: maps of floats channels last, all else contiguous."""
    maps = x.dim() == 4 and x.is_floating_point()
    return x.contiguous(memory_format=torch.channels_last if maps else torch.contiguous_format)
