"""What the options of the profiler choose: cases, their problems and inputs, versions beside ours."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arseg_ext.profiler.problems import DTYPES, OPERATORS, SMALL, STANDARD, Inputs, Problem, standard

if TYPE_CHECKING:
    from arseg_ext.profiler.measure import Case

DEFAULT_SHAPE = "256x90x120"
_SHORT = {short: name for name, short in DTYPES.items()}


class UsageError(ValueError):
    """A wrong argument, in one sentence."""


def _sizes(option: str, text: str, counts: Sequence[int], example: str) -> tuple[int, ...]:
    parts = re.split(r"[x,]", text.lower())
    if len(parts) not in counts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"{option}: expected sizes such as {example}, got {text!r}")
    return tuple(int(part) for part in parts)


def _dtypes(given: Sequence[str] | None) -> list[str]:
    found = [_SHORT.get(name, name) for name in given or ["float32"]]
    for name in found:
        if name not in DTYPES:
            raise UsageError(f"--dtype: expected some of {', '.join(DTYPES)}, got {name!r}")
    return found


def _operators(given: Sequence[str]) -> list[str]:
    for name in given:
        if name not in OPERATORS:
            raise UsageError(f"operator: expected some of {', '.join(OPERATORS)}, got {name!r}")
    return list(dict.fromkeys(given))


def baseline_names(given: Sequence[str] | None) -> tuple[str, ...]:
    from arseg_ext.profiler.baselines import BASELINES, DEFAULT

    if given is None:
        return DEFAULT
    names = [name for text in given for name in text.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"--baselines: expected some of {', '.join(BASELINES)}, or none, got {name!r}")
    return tuple(names)


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of a problem that options name."""
    changes: dict[str, Any] = {"frozen": tuple(arguments.frozen)}
    for name in ("layout", "outside", "grid", "motion", "block", "classes"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    if arguments.window is not None:
        window = _sizes("--window", arguments.window, (1, 2), "7 or 3x5")
        changes["window"] = (window[0], window[-1])
    if arguments.frame is not None:
        changes["frame_size"] = _sizes("--frame", arguments.frame, (2,), "720x960")
    if arguments.low is not None:
        changes["low_size"] = _sizes("--low", arguments.low, (2,), "45x60")
    known = {name for operator in OPERATORS.values() for name in operator.tensors}
    for name in arguments.frozen:
        if name not in known:
            raise UsageError(f"--frozen: expected arguments of an operator, got {name!r}")
    return changes


def _problems(operators: list[str], shapes: Sequence[str] | None) -> list[Problem]:
    found: list[Problem] = []
    for text in shapes or [DEFAULT_SHAPE]:
        if text in ("standard", "small"):
            found += [each for each in (STANDARD if text == "standard" else SMALL) if each.op in operators]
            continue
        size = _sizes("--shape", text, (3, 4), DEFAULT_SHAPE)
        batch, (channels, height, width) = size[0] if len(size) == 4 else 1, size[-3:]
        for op in operators:
            if op == "resize_labels" and shapes is None:
                channels = 12
            problem = standard(op, channels, height, width)
            found.append(dataclasses.replace(problem, shape=(batch, channels, height, width)))
    return found


def cases(arguments: argparse.Namespace) -> list[Case]:
    """What is measured, in order."""
    from arseg_ext.profiler.measure import Case

    if arguments.inputs and arguments.replay:
        raise UsageError("--inputs, --replay: give one of them")
    operators, changes = _operators(arguments.operators), _changes(arguments)
    devices = arguments.device or ["cpu"]
    found: list[Case] = []
    if arguments.replay:
        found = _replayed(arguments, operators)
    elif arguments.inputs:
        found = _from_files(arguments, operators, changes, devices)
    else:
        for problem in _problems(operators or list(OPERATORS), arguments.shape):
            for dtype in _dtypes(arguments.dtype):
                for device in devices:
                    found.append(Case(dataclasses.replace(problem, dtype=dtype, device=device, **changes)))
    chosen = [
        dataclasses.replace(case, direction=direction)
        for case in found
        for direction in arguments.direction
        if direction == "forward" or case.problem.wanted
    ]
    if not chosen:
        what = ", ".join(operators) if operators else "what was chosen"
        raise UsageError(f"--direction: {what} has no gradient, so that there is nothing to measure")
    return chosen


def _from_files(
    arguments: argparse.Namespace, operators: list[str], changes: dict[str, Any], devices: list[str]
) -> list[Case]:
    from arseg_ext.profiler import inputs
    from arseg_ext.profiler.measure import Case

    found = []
    for path in arguments.inputs:
        arrays = inputs.read_npz(path)
        for op in operators or inputs.operators_of(arrays):
            templates = _problems([op], arguments.shape)
            template = dataclasses.replace(templates[0], **changes)
            problem, given = inputs.problem_from(arrays, path, template, arguments.shape is not None)
            dtypes = _dtypes(arguments.dtype) if arguments.dtype else [problem.dtype]
            found += [_given(Case, problem, given, dtype, device) for dtype in dtypes for device in devices]
    return found


def _replayed(arguments: argparse.Namespace, operators: list[str]) -> list[Case]:
    from arseg_ext.profiler import capture
    from arseg_ext.profiler.measure import Case
    from arseg_ext.profiler.problems import problem_of

    found = []
    for each in capture.read_all(arguments.replay):
        if operators and each.op not in operators:
            continue
        problem = problem_of(each.op, each.inputs.tensors, each.inputs.options)
        frozen = tuple(name for name in problem.differentiable if name not in each.wanted) if each.wanted else ()
        problem = dataclasses.replace(problem, frozen=frozen)
        problem = dataclasses.replace(problem, label=f"{each.op} {_size(problem)} of {each.path.stem}")
        dtypes = _dtypes(arguments.dtype) if arguments.dtype else [problem.dtype]
        for device in arguments.device or [each.device if _usable(each.device) else "cpu"]:
            found += [_given(Case, problem, each.inputs, dtype, device) for dtype in dtypes]
    if not found:
        raise UsageError(f"--replay: {arguments.replay} holds no call of {', '.join(operators)}")
    return found


def _size(problem: Problem) -> str:
    return "x".join(str(each) for each in problem.shape)


def _given(make: Any, problem: Problem, given: Inputs, dtype: str, device: str) -> Case:
    check_device(device)
    cast = given if dtype == problem.dtype else given.to(dtype)
    moved = Inputs({name: each.detach().to(device) for name, each in cast.tensors.items()}, given.options)
    return make(dataclasses.replace(problem, dtype=dtype, device=device), given=moved)


def _usable(device: str) -> bool:
    import torch

    return not device.startswith("cuda") or torch.cuda.is_available()


def check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, got {device!r}") from None
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device: {device} is not there (torch.cuda.is_available() is False); take cpu")


def dry_run(chosen: list[Case], names: Sequence[str]) -> str:
    lines = [f"versions: ours{''.join(f', {name}' for name in names)} (where installed and able)"]
    for case in chosen:
        problem = case.problem
        moved = problem.bytes_read(case.direction) + problem.bytes_written(case.direction)
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in problem.shapes.items())
        lines.append(f"{case.name}: {problem.flops(case.direction) / 1e9:.4g} GFLOP, {moved / 1e6:.4g} MB; {shapes}")
    return "\n".join(lines)
