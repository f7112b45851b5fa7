"""What every CUDA source keeps to, so that the emulator runs it, a graph captures it, and no launch goes unchecked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
DEVICE = CSRC / "common" / "device.cuh"
KERNELS = sorted(CSRC.glob("*/*.cuh"))
DOORS = sorted(CSRC.glob("*/cuda.cu"))


def code(path: Path) -> str:
    return re.sub(r"//.*", "", path.read_text(encoding="utf-8"))


def found(pattern: str, *but: Path) -> list[str]:
    return [
        f"{path.relative_to(CSRC)}: {match[0]}"
        for path in [*KERNELS, *DOORS]
        if path not in but
        for match in re.finditer(pattern, code(path))
    ]


def test_there_are_sources():
    assert len(DOORS) >= 4 and len(KERNELS) >= 15 and DEVICE in KERNELS


@pytest.mark.parametrize(
    "pattern",
    [
        r"\basm\b",  # PTX
        r"<<<",  # launches, which only ARSEG_LAUNCH checks
        r"__shared__",  # static shared memory, which nobody poisons
        r"\bcuda[A-Z]\w+",  # the runtime: nothing is allocated, copied or waited for
        r"__\w+2\w+_r[nzdu]\b|\bh(?:exp|log|sqrt|rcp)\w*\(|__hfma",  # arithmetic of half types
    ],
)
def test_only_the_device_header_may(pattern):
    assert found(pattern, DEVICE) == []
    assert re.search(pattern, code(DEVICE)) or "hexp" in pattern or "hfma" in pattern


def test_atomics_are_of_integers():
    atomics = found(r"atomic\w+\([^;]*;")
    of_integers = r"atomic\w+\((lists\.heads|longs\.strips|&longs\.counts|&counts)\b"
    assert atomics and all(re.search(of_integers, each) for each in atomics), atomics


def test_the_one_launch_is_checked():
    macro = code(DEVICE).split("#define ARSEG_LAUNCH")[1].split("namespace")[0]
    launch, check = macro.index("<<<"), macro.index("check_launch(cudaGetLastError()")
    assert launch < check and len(re.findall("<<<", code(DEVICE))) == 1


@pytest.mark.parametrize("path", DOORS, ids=lambda path: path.parent.name)
def test_launches_are_on_the_tensors_device_and_its_current_stream(path):
    text = code(path)
    launches = re.findall(r"(?<!arseg::)gpu::launch_\w+(?:<[^>]*>)?\((?:[^;]|\n)*?;", text)
    assert launches
    for launch in launches:
        assert re.search(r"device_?\.stream\(\)\s*\)\s*;$", launch), launch
    # Each operator that launches makes its device the current one first, for as long as it runs.
    for function in re.split(r"\n(?=\S)", text):
        at = function.find("device.stream()")
        assert at < 0 or "const OnDevice device(" in function[:at], function[:200]
    assert "device_.stream()" not in text or "OnDevice device_;" in text
