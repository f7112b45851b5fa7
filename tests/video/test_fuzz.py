"""A few hundred mutants of valid streams, plain and under sanitizers; `make fuzz` reads thousands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from video.fuzz import Seed, check, make_seeds, mutant, run

MUTANTS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def seeds(folder: Path) -> list[Seed]:
    return make_seeds(folder)


def test_the_seeds_are_valid(folder: Path, seeds: list[Seed]) -> None:
    for seed in seeds:
        (folder / seed.name).write_bytes(seed.data)
        for on_error in ("raise", "resync"):
            assert check(folder / seed.name, on_error) == "read to its end", seed.name


@pytest.mark.slow
def test_mutants(folder: Path, seeds: list[Seed]) -> None:
    endings = run(seeds, range(MUTANTS), folder)
    assert sum(endings.values()) == 2 * MUTANTS
    # The mutants are of use: some are read, some are refused at once, some break on the way.
    assert endings["raise: read to its end"] > 20 and endings["raise: ReferenceGapError"] > 20
    assert endings["resync: read to its end"] > 150


def test_mutants_are_the_same_each_time(seeds: list[Seed]) -> None:
    assert all(mutant(seeds, 0, number) == mutant(seeds, 0, number) for number in range(40))
    assert len({mutant(seeds, 0, number)[1] for number in range(40)}) > 35


@pytest.mark.slow
def test_mutants_under_sanitizers() -> None:
    """No read out of range and nothing undefined in csrc/motion: it is built with gcc's sanitizers for this."""
    compiler = os.environ.get("CXX", "g++")
    if sys.platform != "linux" or shutil.which(compiler) is None:
        pytest.skip("needs Linux and g++ (or CXX) to build csrc/motion with sanitizers")
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    if not os.path.isabs(found.stdout.strip()):
        pytest.skip(f"{compiler} has no address sanitizer to build csrc/motion with")
    script = Path(__file__).with_name("sanitized.sh")
    command = ["sh", str(script), sys.executable, "-m", "video.fuzz", "--mutants", str(MUTANTS)]
    done = subprocess.run(command, env=os.environ | {"HEADER_MUTANTS": "3000"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
