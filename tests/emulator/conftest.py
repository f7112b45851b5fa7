"""The operators with their CUDA kernels, for tensors on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from emulator.emulator_build import load

SEEDS = ("1", "2", "3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder builds or emulates."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def library() -> Any:
    return load()


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def emulated(library: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each test under three schedules: a launch asks the environment for its seed."""
    monkeypatch.setenv("ARSEG_EMULATOR_SEED", request.param)
    return library
