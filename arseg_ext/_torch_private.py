"""The names that torch does not promise to keep, each with what holds where a later torch has them no more."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad

# A scope in which the dispatcher passes over autograd's kernels; outside of Python kernels there is no public one.
below_autograd: Any = getattr(torch._C, "_AutoDispatchBelowAutograd", contextlib.nullcontext)

# The dispatch keys that come after autograd's.
AFTER_AUTOGRAD: Any = torch._C._after_autograd_keyset

# Functions of one level of torch.func. A kernel of autograd's key works for one level: those of the others come to it
# by the dispatcher, and not by autograd.Function, which would go through all of them at once.
SingleLevelFunction: Any = torch.autograd.function._SingleLevelFunction

_level_functions: Any = getattr(torch._C, "_functorch", None)


def inductor() -> Any:
    """Where `aoti_compile_and_package` and `aoti_load_package` are: torch documents them under this name alone."""
    import torch._inductor

    return torch._inductor


def without_overhead(overload: Any) -> Any:
    """What calling an OpOverload calls."""
    return getattr(overload, "_op", overload)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling `module`, or its gradient, runs more than `forward`; False where torch keeps hooks elsewhere."""
    kinds = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    return any(getattr(module, f"_{kind}", None) for kind in kinds)  # there is no public way to ask


def in_forward_mode() -> bool:
    """Whether there may be tensors with a tangent."""
    return forward_ad._current_level >= 0


# Whether a transform of torch.func is at work.
in_transform: Any = torch._C._are_functorch_transforms_active


@contextlib.contextmanager
def derivatives_of_outer_levels() -> Any:
    """A scope with derivatives on; a function's forward has them off, for all levels."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield


@contextlib.contextmanager
def single_level() -> Any:
    """A scope in which a SingleLevelFunction may be applied."""
    before = _level_functions.get_single_level_autograd_function_allowed()
    _level_functions.set_single_level_autograd_function_allowed(True)
    try:
        yield
    finally:
        _level_functions.set_single_level_autograd_function_allowed(before)


def convolves(dtype: torch.dtype) -> bool:
    """Whether torch's convolutions on the CPU have kernels for bfloat16 or float16; False where it does not say."""
    name = "_is_mkldnn_bf16_supported" if dtype == torch.bfloat16 else "_is_mkldnn_fp16_supported"
    try:
        return bool(getattr(torch.ops.mkldnn, name)())
    except (AttributeError, RuntimeError):
        return False


def keep_compiled_graphs() -> None:
    """Lets compiled code run its backward several times on one graph; where a torch has no such setting, it may."""
    with contextlib.suppress(ImportError):
        from torch._functorch import config

        config.donated_buffer = False


def sharding_schemas() -> tuple[dict[Any, Any], Any]:
    """What DTensor's cache looks at in the arguments of each operator, and the class that says it."""
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._op_schema import RuntimeSchemaInfo

    return DTensor._op_dispatcher.sharding_propagator.op_to_schema_info, RuntimeSchemaInfo


# oneDNN's convolution with an activation as it writes, as torch's compiler calls it; None in a torch without it.
mkldnn_convolution: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
