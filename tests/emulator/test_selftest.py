"""The emulator notices every kind of fault it is there for, and nothing in sound kernels."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from emulator.emulator_build import KINDS, build

SOUND = (
    "sound",
    "sound_exit",
    "sound_copies",
    "sound_product",
    "sound_tf32",
    "sound_conversions",
    "sound_counters",
    "thrown",
)
WRONG, EMULATOR, SANITIZER = 9, 86, 66
# Each fault and who notices it, however the threads are scheduled.
FAULTS = {
    "no_syncthreads": {"plain": WRONG, "tsan": SANITIZER},
    "no_syncwarp": {"plain": WRONG, "tsan": SANITIZER},
    "shuffle_for_syncwarp": {"tsan": SANITIZER},
    "blocks_share_a_sum": {"tsan": SANITIZER},
    "divergent_barrier": {"plain": EMULATOR},
    "deadlock": {"plain": EMULATOR},
    "mask_without_caller": {"plain": EMULATOR},
    "mask_of_exited": {"plain": EMULATOR},
    "divergent_warp": {"plain": EMULATOR},
    "behind_shared": {"plain": EMULATOR, "asan": SANITIZER},
    "behind_global": {"asan": SANITIZER},
    "misaligned": {"asan": SANITIZER},
    "unwritten_shared": {"plain": WRONG},
    "exit_with_copies": {"plain": EMULATOR},
    "no_wait": {"plain": WRONG},
    "wait_without_barrier": {"plain": WRONG, "tsan": SANITIZER},
    "copy_misaligned": {"plain": EMULATOR},
    "copy_behind_shared": {"plain": EMULATOR},
    "matrices_behind_shared": {"plain": EMULATOR},
    "too_much_shared": {"plain": EMULATOR},
    "too_many_threads": {"plain": EMULATOR},
    "empty_grid": {"plain": EMULATOR},
}
SEEDS = ("1", "2", "3")


def run(program: Path, case: str, seed: str) -> subprocess.CompletedProcess[str]:
    leaks = "0" if case == "thrown" else "1"  # a thread that cannot go on keeps what it had
    environment = {
        **os.environ,
        "ARSEG_EMULATOR_SEED": seed,
        "ASAN_OPTIONS": f"exitcode={SANITIZER}:detect_leaks={leaks}",
        "UBSAN_OPTIONS": f"exitcode={SANITIZER}",
        "TSAN_OPTIONS": f"exitcode={SANITIZER}",
    }
    environment.pop("ARSEG_EMULATOR_FAILURE", None)
    return subprocess.run([str(program), case], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    return dict(zip(KINDS, build(*(f"selftest-{kind}" for kind in KINDS)), strict=True))


@pytest.mark.parametrize("case", SOUND)
def test_sound_kernels_pass(programs, case):
    for kind, program in programs.items():
        if (case, kind) == ("thrown", "tsan"):
            continue  # ThreadSanitizer has no way to leave a fiber for good
        for seed in SEEDS:
            done = run(program, case, seed)
            assert done.returncode == 0, (kind, seed, done.stdout + done.stderr)


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_noticed(programs, case):
    for kind, code in FAULTS[case].items():
        for seed in SEEDS:
            done = run(programs[kind], case, seed)
            assert done.returncode == code, (kind, seed, done.stdout + done.stderr)
            if code == EMULATOR:
                assert "selftest.cu:" in done.stderr and f"ARSEG_EMULATOR_SEED={seed}" in done.stderr
