"""What users do with the packages, in fresh environments: `make test-packaging`.

* The source archive of arseg, unpacked, makes a wheel without build isolation, and with it: pip then brings torch.
* arseg-ext is made from its own source archive, tagged, and installed with torch alone: it imports, runs an operator
  and says what it is.

Of the CPU operators alone. Some 3 GB are downloaded where pip has not kept them; minutes, not a part of the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "packages"
USE = """
import torch, arseg_ext
maps = torch.rand(1, 16, 9, 12)
out = arseg_ext.local_attention(maps, maps, maps, window=3)
assert out.shape == maps.shape and out.isfinite().all()
import importlib.metadata, importlib.util
assert importlib.util.find_spec("arseg") is None
assert not list(importlib.metadata.entry_points(group="console_scripts", name="arseg"))
"""


def say(sentence: str) -> None:
    print(f"test-packaging: {sentence}", flush=True)


def run(what: str, command: Sequence[str | Path], cwd: Path = BUILD) -> str:
    """Runs it and says how long it took; SystemExit with all that it printed where it fails."""
    start = time.monotonic()
    environment = {**os.environ, "FORCE_CUDA": "0"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"test-packaging: {what} fails:\n{done.stdout}{done.stderr}")
    say(f"{what}: {time.monotonic() - start:.0f} s")
    return done.stdout


def source_archive(tree: Path, name: str) -> Path:
    """The source archive of a tree, unpacked."""
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(BUILD / 'sdist')!r})"
    run(f"source archive of {name}", [sys.executable, "-c", code], cwd=tree)
    (archive,) = BUILD.glob(f"sdist/{re.sub('-', '_', name)}-[0-9]*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(BUILD / "unpacked", filter="data")
    return BUILD / "unpacked" / archive.name.removesuffix(".tar.gz")


def wheel(tree: Path, what: str, folder: str, *options: str) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *options, "-w", BUILD / folder, tree]
    run(f"wheel of {what}", command)
    (made,) = (BUILD / folder).glob("*.whl")
    return made


def main() -> int:
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    run("the tree of arseg-ext", [sys.executable, ROOT / "tools" / "stage_ext.py", BUILD / "ext"], cwd=ROOT)
    ext = wheel(source_archive(BUILD / "ext", "arseg-ext"), "arseg-ext", "plain", "--no-build-isolation")
    run("its tag", [sys.executable, ROOT / "tools" / "manylinux.py", ext.parent, BUILD / "tagged"])
    (tagged,) = (BUILD / "tagged").glob("*.whl")
    say(tagged.name)
    fresh = BUILD / "fresh" / "bin" / "python"
    run("a fresh environment", [sys.executable, "-m", "venv", BUILD / "fresh"])
    run("installing arseg-ext and torch", [fresh, "-m", "pip", "install", "-q", tagged])
    run("arseg-ext checked by pip", [fresh, "-m", "pip", "check"])
    run("arseg-ext used", [fresh, "-c", USE])
    facts = run("arseg_ext.collect_env", [fresh, "-m", "arseg_ext.collect_env"])
    if "operators version" not in facts:
        raise SystemExit(f"test-packaging: arseg_ext.collect_env does not know the operators:\n{facts}")
    tree = source_archive(ROOT, "arseg")
    say(wheel(tree, "arseg without isolation", "without", "--no-build-isolation").name)
    say(wheel(tree, "arseg with isolation", "isolated").name)
    shutil.rmtree(BUILD / "fresh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
