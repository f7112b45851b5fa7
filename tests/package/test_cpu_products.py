"""benchmarks/cpu_products.py compiles the products as they are, and prints a rate for each."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "cpu_products.py"


@pytest.mark.slow  # compiles the products
@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None or not torch.cpu._is_avx2_supported(),
    reason="needs g++ and a processor with AVX2",
)
def test_prints_a_share_of_each_kind():
    command = [sys.executable, str(SCRIPT), "16x8", "--rounds", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 2, lines
    names, figures = (line.split(" | ") for line in lines)
    assert len(names) == len(figures) == 7
    assert figures[0] == "16 x 8"
    assert all(float(figure) > 0 for figure in figures[1:]), figures
