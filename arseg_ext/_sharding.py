"""DTensor: every operator runs on maps sharded over the batch, each process on its own images.

The rules are registered when `torch.distributed.tensor` has been imported, by whomever: to import it takes longer than
everything else that `import arseg_ext` does.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch

from arseg_ext import _torch_private, _vmap
from arseg_ext._after_import import call_after_import

MODULE = "torch.distributed.tensor"


def _rule(op: Any, *args: Any, **kwargs: Any) -> list[tuple[list[Any], list[Any]]]:
    """Placements of results and arguments: all replicated, or maps sharded over the batch and weights replicated."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    tensors = [isinstance(argument.type, torch.TensorType) for argument in op._schema.arguments]
    names = [argument.name for argument in op._schema.arguments]
    given = range(len(args))
    results = len(op._schema.returns)
    options: list[Any] = [None] * len(kwargs)  # no operator with a rule has a tensor among its keywords
    whole = [Replicate() if tensors[i] else None for i in given]
    images = [None if not tensors[i] else Replicate() if names[i] in _vmap.SHARED else Shard(0) for i in given]
    first: list[Any] = [Shard(0)]
    # Beside a map, gradients of weights are sums over the images.
    sharded = first + [Partial()] * (results - 1) if op._opname in _vmap.EACH else first * results
    return [([Replicate()] * results, whole + options), (sharded, images + options)]


def _register_rules() -> None:
    from torch.distributed.tensor.experimental import register_sharding

    schemas, schema_info = _torch_private.sharding_schemas()
    for name in (*_vmap.FOLDED, *_vmap.EACH):
        op = getattr(torch.ops.arseg, name).default
        register_sharding(op)(functools.partial(_rule, op))
        # register_sharding takes integers alone for what a shape may depend on; here it is lists too.
        arguments = op._schema.arguments
        plain = [i for i, each in enumerate(arguments) if not isinstance(each.type, torch.TensorType)]
        keywords = [each.name for each in arguments if each.kwarg_only]
        schemas[op] = schema_info(min(plain, default=100), keywords or None, needs_pytree=True)


def _register_or_warn() -> None:
    """A torch whose private parts have moved must not fail to import its own module."""
    try:
        _register_rules()
    except (ImportError, AttributeError, TypeError) as error:
        warnings.warn(
            f"arseg_ext: operators do not take DTensors with torch {torch.__version__}: {error}", stacklevel=2
        )


def register() -> None:
    if torch.distributed.is_available():
        call_after_import(MODULE, _register_or_warn)
