"""Memory that a process keeps for its next frame."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from arseg.memory import TUNED

PROGRAM = """
import resource
import numpy as np
from arseg.memory import keep_pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(2**22)  # 32 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before, keeps = faults(), keep_pages()
faults()
print(before, keeps, faults())
"""


def run(**environment: str) -> tuple[int, bool, int]:
    """Page faults of four large arrays before `keep_pages` and after it, and what it returned."""
    plain = {name: value for name, value in os.environ.items() if name not in TUNED}
    command = [sys.executable, "-c", PROGRAM]
    said = subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=True).stdout
    before, keeps, after = said.split()
    return int(before), keeps == "True", int(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keeps pages of glibc's allocator alone")
def test_keeps_pages_of_large_arrays() -> None:
    before, keeps, after = run()
    # Of 2 MiB each at least, were they huge ones.
    assert before >= 4 * 16
    assert keeps
    assert after < 16


def test_leaves_the_allocator_to_who_has_tuned_it() -> None:
    _, keeps, _ = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert not keeps
