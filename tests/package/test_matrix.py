"""The table of tools/matrix.py holds the versions that the package promises."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from package import floors

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("matrix", ROOT / "tools" / "matrix.py")
assert spec and spec.loader
matrix = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)

PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_table_has_the_oldest_and_the_newest_torch():
    oldest = floors.floors(floors.requirements(PROJECT))["torch"]
    (newest,) = re.findall(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert matrix.OLDEST.startswith(f"{oldest}.") and newest == matrix.NEWEST
    assert {torch.partition("+")[0] for _, torch in matrix.CELLS} == {matrix.OLDEST, matrix.MIDDLE, matrix.NEWEST}


def test_the_table_has_the_oldest_python_with_both():
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', PROJECT)
    assert {(oldest, matrix.OLDEST), (oldest, matrix.NEWEST)} <= set(matrix.CELLS)


def test_a_torchvision_belongs_to_each_torch():
    for torch, torchvision in matrix.TORCHVISION.items():
        assert int(torchvision.split(".")[1]) == int(torch.split(".")[1]) + 15


def test_only_cuda_is_taken_out_of_what_torch_asks_for():
    asked = "Requires-Dist: filelock\nRequires-Dist: nvidia-nccl-cu13==2.28.9; x\nRequires-Dist: cuda-toolkit[cublas]\n"
    assert matrix.TORCH_CUDA.sub("", asked + "Requires-Dist: sympy>=1\n") == (
        "Requires-Dist: filelock\nRequires-Dist: sympy>=1\n"
    )


def test_a_python_that_is_not_here_is_told():
    with pytest.raises(matrix.NotHere, match=r"there is no python3\.99 here"):
        matrix.interpreter("3.99")


def test_a_cell_that_is_not_in_the_table_is_told():
    command = [sys.executable, ROOT / "tools" / "matrix.py", "--wheel", "x.whl", "2.7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "no cell is named 2.7: 3.11-2.13.0+cpu, " in done.stderr
