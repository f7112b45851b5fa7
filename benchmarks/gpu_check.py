"""Everything that needs a GPU, in one command: `make gpu-check`, at most 8 minutes, without network.

Builds the extension in place for the GPU that is there, holds the primitives and the operators to the CPU, runs them
under compute-sanitizer, and times them beside plain PyTorch. The report is one JSON, complete as far as the check came;
a phase that fails is told and the next one runs. Exit code 1 where one failed. Without a CUDA device: one line, exit
code 0. docs/cuda.md says what is in the report.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # what formats results needs no build, and none may be there yet
import gpu_table  # noqa: E402
from gpu_phases import (  # noqa: E402
    Phase,
    Report,
    keep_last_good,
    last_good,
    read_json,
    read_sanitizer,
    read_tests,
    run_phases,
    write_json,
)

BENCHMARKS = ROOT / "benchmarks"
SECONDS = 460.0
# An H200 took 118 s for the tests and 119 for racecheck, beside other work; all of these run side by side.
TOGETHER_SECONDS = 220.0
CLIP = ROOT / "build" / "clip.npz"  # of gpu_pipeline.py --record, where somebody made one
PATHS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "python")])}


def tool(name: str) -> str | None:
    """A program of the CUDA toolkit, on the PATH or where CUDA is installed."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [Path(home) / "bin" / name for home in homes if home]
    return shutil.which(name) or next((str(place) for place in places if place.exists()), None)


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[-1].strip() if done.returncode == 0 and done.stdout.strip() else ""


def device_facts(torch: Any) -> dict[str, Any]:
    about = torch.cuda.get_device_properties(0)
    compiler = tool("nvcc")
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "memory GiB": round(about.total_memory / 2**30, 1),
        "L2 MiB": round(getattr(about, "L2_cache_size", 0) / 2**20, 1),
        "devices": torch.cuda.device_count(),
        "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"),
        "clocks": first_line("nvidia-smi", "--query-gpu=clocks.max.sm,clocks.max.mem", "--format=csv", "--id=0"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "nvcc": first_line(compiler, "--version") if compiler else "",
        "python": sys.version.split()[0],
        "commit": first_line("git", "describe", "--always", "--dirty"),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def pytest_phase(name: str, seconds: float, work: Path, *arguments: str, **more: Any) -> Phase:
    report = work / f"{name.replace(' ', '-')}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", f"--junitxml={report}"]
    if importlib.util.find_spec("xdist"):  # opcheck's first call takes long in each process: they stay in one
        command += ["-n", str(min(8, (os.cpu_count() or 2) // 2)), "--dist", "loadgroup"]
    return Phase(name, [*command, *arguments], seconds, read_tests(report), together=True, **more)


def sanitizer_phase(name: str, seconds: float) -> Phase:
    program = tool("compute-sanitizer")
    command = [program or "compute-sanitizer", "--tool", name, "--error-exitcode", "9", "--report-api-errors", "no"]
    # Our kernels alone, by their names in the library: namespace arseg.
    command += ["--kernel-regex", "kns=_ZN5arseg", sys.executable, str(BENCHMARKS / "gpu_small.py")]
    # Each tensor in memory of its own, so that one read past its end is seen.
    environment = {**PATHS, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    missing = "" if program else "compute-sanitizer is not installed"
    more: dict[str, Any] = {"needs": ("build",), "missing": missing, "together": True}
    return Phase(name, command, seconds, read_sanitizer, environment, **more)


def profile_phase(work: Path) -> Phase:
    program = tool("ncu")
    command = [program or "ncu", "--set", "full", "--clock-control", "none"]
    command += ["--kernel-name-base", "mangled", "--kernel-name", "regex:^_ZN5arseg"]
    command += ["--force-overwrite", "--export", str(work / "profile"), sys.executable]
    command += [str(BENCHMARKS / "gpu_small.py"), "--large"]
    missing = "" if program else "ncu is not installed"
    return Phase("profile", command, 120, environment=PATHS, needs=("build",), missing=missing)


def phases(capability: str, work: Path, profile: bool, *, built: bool = False, compiled: bool = True) -> list[Phase]:
    library = [sys.executable, "setup.py", "build_ext", "--inplace"]
    if built:
        library = [
            sys.executable,
            "-c",
            "import arseg_ext; assert arseg_ext.build_config()['with_cuda'], 'no CUDA in it'",
        ]
    build = {"TORCH_CUDA_ARCH_LIST": capability, "FORCE_CUDA": "1", "MAX_JOBS": str(os.cpu_count() or 1)}
    cached = {**PATHS, "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor")}
    bench = [sys.executable, str(BENCHMARKS / "gpu_bench.py")]
    together = "graph or stream or device"
    needs = ("build",)
    found = [
        Phase("build", library, 200, environment={**PATHS, **build}),
        Phase("compile ahead", [*bench, "--compile-ahead"], SECONDS, environment=cached, needs=needs, background=True),
        pytest_phase("primitives", TOGETHER_SECONDS, work, "tests/ops/test_device_primitives.py"),
        pytest_phase(
            "graphs streams devices", TOGETHER_SECONDS, work, "tests/ops/test_cuda.py", "-k", together, needs=needs
        ),
        pytest_phase(
            "operators",
            TOGETHER_SECONDS,
            work,
            "tests/ops",
            "--ignore=tests/ops/test_device_primitives.py",
            "-k",
            f"not ({together})",
            needs=needs,
        ),
        sanitizer_phase("memcheck", TOGETHER_SECONDS),
        sanitizer_phase("racecheck", TOGETHER_SECONDS),
    ]
    if not compiled:
        found = [phase for phase in found if not phase.background]
        bench += ["--no-compile"]
    if profile:
        found.append(profile_phase(work))
    bench += ["--out", str(work / "bench.json")]
    pipeline = [sys.executable, str(BENCHMARKS / "gpu_pipeline.py"), "--out", str(work / "pipeline.json")]
    pipeline += ["--clip", str(CLIP)] if CLIP.exists() else []
    return [
        *found,
        Phase(
            "benchmarks",
            bench,
            SECONDS,
            read_json(work / "bench.json"),
            cached,
            needs=needs,
            time_argument="--seconds",
            alone=True,
            at_least=130,
        ),
        Phase(
            "pipeline",
            pipeline,
            110,
            read_json(work / "pipeline.json"),
            PATHS,
            needs=needs,
            time_argument="--seconds",
            alone=True,
            at_least=70,
        ),
    ]


def results_path(device: str) -> Path:
    return BENCHMARKS / "results" / f"gpu-{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def check(steps: Sequence[Phase], report: Report, out: Path, seconds: float, work: Path) -> int:
    """Run the phases, write the report after each, and print the table; the exit code."""
    started = time.monotonic()
    earlier = last_good(json.loads(out.read_text(encoding="utf-8"))) if out.exists() else {}

    def save() -> None:
        keep_last_good(report, earlier)
        report["seconds"] = round(time.monotonic() - started, 1)
        report["targets on an H100"] = list(gpu_table.targets(report))
        write_json(out, report)

    passed = run_phases(steps, report, seconds, save, work, ROOT)
    print("\n".join(gpu_table.summary(report)))
    print(f"report: {out}")
    return 0 if passed else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the report; benchmarks/results/gpu-<device>.json by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything (%(default)s)")
    parser.add_argument("--profile", action="store_true", help="one call of each kernel under ncu besides")
    parser.add_argument("--no-build", action="store_true", help="take the extension that is there")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile and flex_attention")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        print(f"gpu-check: there is no torch in {sys.executable}; name another: make gpu-check PYTHON=python3.12")
        return 1
    if not torch.cuda.is_available():
        print("gpu-check: not run, torch finds no CUDA device here")
        return 0
    work = ROOT / "build" / "gpu-check"
    work.mkdir(parents=True, exist_ok=True)
    for left in work.iterdir():
        if left.is_file():  # of an earlier run; what torch.compile keeps stays
            left.unlink()
    device = device_facts(torch)
    report: Report = {"device": device, "phases": {}}
    out = arguments.out or results_path(device["name"])
    options = {"built": arguments.no_build, "compiled": not arguments.no_compile}
    steps = phases(device["capability"], work, arguments.profile, **options)
    return check(steps, report, out, arguments.seconds, work)


if __name__ == "__main__":
    sys.exit(main())
