"""Lower bounds: every requirement has one, and what we install ourselves is not below it."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from package import floors

ROOT = Path(__file__).resolve().parents[2]


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


@pytest.fixture(scope="module")
def bounds() -> dict[str, str]:
    return floors.floors(floors.requirements((ROOT / "pyproject.toml").read_text(encoding="utf-8")))


def test_every_requirement_has_a_lower_bound_below_what_is_installed(bounds):
    asked = {"torch", "torchvision", "timm", "numpy", "av", "safetensors", "pillow", "typer", "rich", "pybind11"}
    assert asked | {"setuptools", "ninja"} <= set(bounds)
    for name, floor in bounds.items():
        if name in {"setuptools", "ninja", "pybind11"} and not _installed(name):
            continue  # an isolated build brings them
        assert number(importlib.metadata.version(name)) >= number(floor), name


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_the_pins_are_within_the_bounds(bounds):
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _ in pins} >= set(bounds) - {"tomli"}
    for name, pinned in pins:
        if name in bounds:
            assert number(pinned) >= number(bounds[name]), name


def test_torchvision_belongs_to_torch(bounds):
    """A torchvision needs one release of torch: the two bounds are of one pair."""
    torch, torchvision = number(bounds["torch"]), number(bounds["torchvision"])
    assert torchvision[:2] == (0, torch[1] + 15)


@pytest.mark.parametrize("wrong", ["numpy", "numpy<3", "av==17", "rich>=13; sys_platform == 'linux'"])
def test_a_requirement_without_a_bound_is_refused(wrong):
    with pytest.raises(ValueError, match=r"pyproject\.toml: "):
        floors.floors([wrong])


def test_markers_and_two_bounds():
    asked = ["torch>=2.11", "torch>=2.11", "tomli>=2; python_version < '3.11'"]
    assert floors.floors(asked, (3, 10)) == {"torch": "2.11", "tomli": "2"}
    assert floors.floors(asked, (3, 11)) == {"torch": "2.11"}
    with pytest.raises(ValueError, match="numpy has the lower bounds 1 and 2"):
        floors.floors(["numpy>=1", "numpy>=2"])
