"""Fixtures shared by every test folder, and the same random numbers for each test."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

try:
    from hypothesis import settings
except ImportError:  # machines with a GPU may lack it; the tests that need it skip
    pass
else:
    # No limit of seconds for an example, and the same examples each time.
    settings.register_profile("arseg", deadline=None, derandomize=True)
    settings.load_profile("arseg")

pytest_plugins = ["helpers.texture_fixtures"]

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Sets up what all tests of a process share."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:  # of pytest-xdist: they share the processor, and so do the processes that tests start
        threads = max(1, torch.get_num_threads() // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    # A shell starts what runs in its background with Ctrl-C ignored; tests of Ctrl-C need it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Each test draws the same numbers, whatever ran before it. Fixtures of a wider scope seed for themselves."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the authors' outputs and the data; tests that read it skip where there is none."""
    folder = Path(os.environ.get("ARSEG_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set ARSEG_SHARED to the folder with oracle/ and data/ to run this test")
    return folder
