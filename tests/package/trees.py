"""Copies of the source tree, so that nothing is written into the checkout, and commands that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("arseg_ext", "python", "csrc", "tests", "tools", "docs", "benchmarks")
FILES = (
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "CMakeLists.txt",
    "Makefile",
    "requirements.txt",
    ".clang-format",
    "LICENSE",
    "NOTICE",
    "README.md",
    "CITATION.cff",
    "mkdocs.yml",
)
NOT_SOURCES = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "*.so", "*.dylib", "__pycache__", "runs", "demo-output"
)


def copy_of_the_sources(folder: Path) -> Path:
    """All that a source archive is made of, in `folder`."""
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_SOURCES)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
