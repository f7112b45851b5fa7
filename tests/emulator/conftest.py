"""The operators with their CUDA kernels, for tensors on the CPU."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def emulated() -> Any:
    path = Path(__file__).with_name("build.py")
    spec = importlib.util.spec_from_file_location("arseg_emulator_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.load()
