"""What a build asks of the compiler on each processor."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "csrc"))
import surroundings  # noqa: E402


@pytest.mark.parametrize(
    "machine, expected",
    [
        ("x86_64", ["-march=x86-64", "-mtune=generic"]),
        ("AMD64", ["-march=x86-64", "-mtune=generic"]),  # Windows' name
        ("aarch64", []),
        ("arm64", []),  # macOS' name
        ("ppc64le", []),
    ],
)
def test_flags_belong_to_the_machine(monkeypatch, machine, expected):
    """Only on x86 is there an oldest processor to name: the compilers' own is the oldest of 64-bit Arm."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert [flag for flag in surroundings.compile_flags() if flag.startswith("-m")] == expected
    assert "-fno-fast-math" in surroundings.compile_flags()


@pytest.mark.parametrize(
    "machine, compiler", [("x86_64", "x86_64-linux-gnu-g++"), ("aarch64", "aarch64-linux-gnu-g++")]
)
def test_the_compiler_of_the_machine_takes_them(tmp_path, machine, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source = tmp_path / "x.cpp"
    source.write_text("int x;")
    command = [compiler, *surroundings.compile_flags(machine), "-Werror", "-c", source, "-o", tmp_path / "x.o"]
    subprocess.run(command, check=True)
