"""Fixtures shared by every test folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["helpers.texture_fixtures"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the authors' outputs and the data; tests that read it skip where there is none."""
    folder = Path(os.environ.get("ARSEG_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set ARSEG_SHARED to the folder with oracle/ and data/ to run this test")
    return folder
