"""Fused operators of AR-Seg for PyTorch.

The names below are loaded on first use; `import arseg_ext` alone neither imports torch nor compiles anything.
To call `torch.ops.arseg.*` directly, call `arseg_ext.load()` first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from arseg_ext._version import __version__

if TYPE_CHECKING:
    from arseg_ext._loader import LibraryError, build_config, load
    from arseg_ext.nn import CReFF, LocalAttention, MVWarp
    from arseg_ext.ops import (
        creff,
        creff_labels,
        creff_logits,
        flow_warp,
        local_attention,
        mv_warp,
        resize_labels,
    )

_HOME = {
    "LibraryError": "_loader",
    "build_config": "_loader",
    "load": "_loader",
    "creff": "ops",
    "creff_labels": "ops",
    "creff_logits": "ops",
    "flow_warp": "ops",
    "local_attention": "ops",
    "mv_warp": "ops",
    "resize_labels": "ops",
    "CReFF": "nn",
    "LocalAttention": "nn",
    "MVWarp": "nn",
}
_MODULES = ("collect_env", "nn", "ops", "oracle", "reference")

__all__ = [
    "CReFF",
    "LibraryError",
    "LocalAttention",
    "MVWarp",
    "__version__",
    "build_config",
    "creff",
    "creff_labels",
    "creff_logits",
    "flow_warp",
    "load",
    "local_attention",
    "mv_warp",
    "resize_labels",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"arseg_ext.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'arseg_ext' has no attribute {name!r}")
    value = getattr(import_module(f"arseg_ext.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
