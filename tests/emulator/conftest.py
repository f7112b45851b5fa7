"""The operators with their CUDA kernels, for tensors on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_build import load


@pytest.fixture(scope="session")
def emulated() -> Any:
    return load()
