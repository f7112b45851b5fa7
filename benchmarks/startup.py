"""How long commands take from their start to their end: a whole `arseg segment` beside `import torch` alone.

Every round runs each once, so that what else the machine does falls on all; medians are printed. CPU time (user and
system) says less than a watch where threads work together, and does not depend on other programs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ON_TOP = """
import torch, time
start, cpu = time.perf_counter(), time.process_time()
import arseg_ext, arseg_ext.ops
print(time.perf_counter() - start, time.process_time() - cpu)
"""


def two_frames(path: Path, side: int = 64) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, width=side, height=side, pix_fmt="yuv420p")
        for grey in (90, 110):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((side, side, 3), grey, np.uint8))))
        file.mux(stream.encode(None))


def timed(arguments: list[str], folder: Path) -> tuple[float, float, str]:
    """Seconds by the watch and of the processor from the start of Python to its end, and what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), str(ROOT)])}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    cases = {
        "import torch": ["-c", "import torch"],
        "arseg segment, 2 frames of 64x64": ["-m", "arseg.cli", "segment", "in.mp4", "-o", "out.mp4"],
        "arseg --help": ["-m", "arseg.cli", "--help"],
        "import arseg_ext.ops after torch": ["-c", ON_TOP],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        two_frames(folder / "in.mp4")
        for arguments in cases.values():
            timed(arguments, folder)  # files into the cache
        found: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, arguments in cases.items():
                wall, cpu, printed = timed(arguments, folder)
                if arguments[-1] is ON_TOP:
                    wall, cpu = map(float, printed.split())
                found[case].append((wall, cpu))
    base = found["import torch"]
    columns = " ".join(f"{name:>8s}" for name in ("seconds", "least", "CPU s", "least"))
    print(f"{f'medians of {rounds}':34s} {columns}   × import torch")
    for case, times in found.items():
        walls, cpus = zip(*times, strict=True)
        ratio = statistics.median(wall / torch for wall, (torch, _) in zip(walls, base, strict=True))
        ratio_cpu = statistics.median(cpu / torch for cpu, (_, torch) in zip(cpus, base, strict=True))
        figures = (statistics.median(walls), min(walls), statistics.median(cpus), min(cpus))
        print(f"{case:34s} {' '.join(f'{x:8.3f}' for x in figures)}   {ratio:.2f}, CPU {ratio_cpu:.2f}")


if __name__ == "__main__":
    main()
