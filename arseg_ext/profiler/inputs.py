"""Inputs of a problem out of an .npz file: arrays named as the arguments of the operator; the rest is made.

Besides arguments, sizes of maps that are not there themselves may stand in the file: `shape` [N, C, H, W] of the first,
`low_size` [h, w] of the low-resolution one; and `classes`, of the classifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from arseg_ext.profiler.problems import OPERATORS, Inputs, Problem, layout_of, problem_of


class InputsError(ValueError):
    """A file that no operator can be called with, with its name and the reason."""


Arrays = dict[str, Any]
SIZES = ("shape", "low_size", "classes")


def read_npz(path: str | Path) -> Arrays:
    """Tensors and plain numbers, words and tuples by name."""
    try:
        import numpy
    except ImportError:
        raise InputsError("--inputs: reading .npz needs numpy; pip install numpy") from None
    try:
        with numpy.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise InputsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:
        raise InputsError(f"{path}: expected an .npz of numeric arrays, got something else") from None
    names = {name for operator in OPERATORS.values() for name in operator.tensors}
    known = names | {name for operator in OPERATORS.values() for name in operator.options} | set(SIZES)
    if unknown := sorted(set(arrays) - known):
        raise InputsError(f"{path}: {unknown[0]} is no argument of an operator; expected some of {_words(known)}")
    return {name: torch.from_numpy(each) if name in names else _plain(each) for name, each in arrays.items()}


def _words(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _plain(array: Any) -> Any:
    value = array.tolist()
    return tuple(value) if isinstance(value, list) else value


def operators_of(arrays: Mapping[str, Any]) -> list[str]:
    """The operators that take a tensor of the file."""
    return [op for op, operator in OPERATORS.items() if set(arrays) & set(operator.tensors)]


def problem_from(arrays: Arrays, path: str | Path, template: Problem, shape_given: bool) -> tuple[Problem, Inputs]:
    """The problem of `template.op` that the file describes; `template` has what it does not.

    The shape of the first map is that of the map itself, or of `shape` in the file, or the template's where
    `shape_given`. Tensors that the file lacks are made by the problem.
    """
    operator = OPERATORS[template.op]
    tensors = {name: arrays[name] for name in operator.tensors if name in arrays}
    if not tensors:
        raise InputsError(f"{path}: holds no argument of {template.op}; expected some of {', '.join(operator.tensors)}")
    first = operator.tensors[0]
    size = tuple(tensors[first].shape) if first in tensors else arrays.get("shape")
    if size is None and shape_given:
        size = template.shape
    if size is None or len(size) != 4:
        raise InputsError(
            f"{path}: expected {first} or shape [N, C, H, W] in it, or --shape; got {_words(set(arrays))}"
        )
    changes: dict[str, Any] = {"shape": tuple(int(each) for each in size)}
    changes |= {name: arrays[name] for name in (*operator.options, *SIZES[1:]) if name in arrays}
    if isinstance(changes.get("window"), int):
        changes["window"] = (changes["window"],) * 2
    if "low_res" in tensors:
        changes["low_size"] = tuple(tensors["low_res"].shape[2:])
    if "motion" in tensors:
        changes["motion"] = "flow" if tensors["motion"].is_floating_point() else "blocks"
    if "classifier_weight" in tensors:
        changes["classes"] = tensors["classifier_weight"].shape[0]
    if "value" in tensors:
        changes["value_channels"] = tensors["value"].shape[1]
    problem = dataclasses.replace(template, **changes)
    made = problem.inputs("cpu")
    for name, tensor in tensors.items():
        expected = problem.shapes[name]
        if name == "classifier_weight" and tensor.dim() == 4:
            expected = (*expected, 1, 1)
        if tensor.dim() != len(expected) or (name != "motion" and tuple(tensor.shape) != expected):
            raise InputsError(f"{path}: {name} must be {list(expected)} for {problem.name}, got {list(tensor.shape)}")
        tensors[name] = tensor
    inputs = Inputs({name: tensors.get(name, each) for name, each in made.tensors.items()}, made.options)
    label = f"{problem.op} {'x'.join(str(each) for each in problem.shape)} of {Path(path).stem}"
    found = problem_of(problem.op, inputs.tensors, inputs.options, label)
    return dataclasses.replace(found, layout=layout_of(inputs.tensors[first]), frozen=template.frozen), inputs
