"""What every CUDA source keeps to, so that the emulator runs it, a graph captures it, and no launch goes unchecked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
DEVICE = CSRC / "common" / "device.cuh"
KERNELS = sorted(CSRC.glob("*/*.cuh"))
LAUNCHERS = sorted(CSRC.glob("*/cuda.cu"))


def code(path: Path) -> str:
    return re.sub(r"//.*", "", path.read_text(encoding="utf-8"))


def found(pattern: str, *but: Path) -> list[str]:
    return [
        f"{path.relative_to(CSRC)}: {match[0]}"
        for path in [*KERNELS, *LAUNCHERS]
        if path not in but
        for match in re.finditer(pattern, code(path))
    ]


def test_there_are_sources():
    assert len(LAUNCHERS) >= 4 and len(KERNELS) >= 15 and DEVICE in KERNELS


ONLY_IN_THE_DEVICE_HEADER = {
    r"\basm\b": 'asm volatile("ex2.approx.ftz.f32 %0, %1;")',  # PTX
    r"<<<": "kernel<<<grid, block>>>(a);",  # launches, which only ARSEG_LAUNCH checks
    r"__shared__": "__shared__ float sums[32];",  # static shared memory, which nobody poisons
    r"\bcuda[A-Z]\w+": "cudaMalloc(&memory, 16);",  # the runtime: nothing is allocated, copied or waited for
    r"__\w+2\w+_r[nzdu]\b": "__float2half_rn(x)",  # conversions, which from_float is for
}
NOWHERE = {
    r"\bh(?:exp|log|sqrt|rcp)\w*\(": "h2exp(x) + hexp(x)",  # arithmetic of half types
    r"__h(?:fma|add|mul|sub)\w*\(": "__hfma(a, b, c)",
    r"\b65535\b|[^\w.](?:256|128)\b(?!\])": "dim3 block(256);",  # sizes, which the traits of params.h are for
}


@pytest.mark.parametrize("pattern", ONLY_IN_THE_DEVICE_HEADER)
def test_only_the_device_header_may(pattern):
    assert re.search(pattern, ONLY_IN_THE_DEVICE_HEADER[pattern])
    assert found(pattern, DEVICE) == []
    assert re.search(pattern, code(DEVICE))  # else it belongs to NOWHERE


@pytest.mark.parametrize("pattern", NOWHERE)
def test_no_source_may(pattern):
    assert re.search(pattern, NOWHERE[pattern])
    assert found(pattern) == []


def test_atomics_are_of_integers():
    atomics = found(r"atomic\w+\([^;]*;")
    of_integers = r"atomic\w+\((lists\.heads|longs\.strips|&longs\.counts|&counts)\b"
    assert atomics and all(re.search(of_integers, each) for each in atomics), atomics


def test_the_one_launch_is_checked():
    macro = code(DEVICE).split("#define ARSEG_LAUNCH")[1].split("namespace")[0]
    launch, check = macro.index("<<<"), macro.index("check_launch(cudaGetLastError()")
    assert launch < check and len(re.findall("<<<", code(DEVICE))) == 1


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.parent.name)
def test_launches_are_on_the_tensors_device_and_its_current_stream(path):
    text = code(path)
    launches = re.findall(r"(?<!arseg::)gpu::launch_\w+(?:<[^>]*>)?\((?:[^;]|\n)*?;", text)
    assert launches
    for launch in launches:
        assert re.search(r"device_?\.stream\(\)\s*\)\s*;$", launch), launch
    # Each operator that launches makes its device the current one first, for as long as it runs.
    for function in re.split(r"\n(?=\S)", text):
        at = function.find("device.stream()")
        assert at < 0 or "const DeviceGuard device(" in function[:at], function[:200]
    assert "device_.stream()" not in text or "DeviceGuard device_;" in text
