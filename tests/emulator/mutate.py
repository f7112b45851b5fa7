"""Removes every barrier and every wait for copies of the kernels in turn, and demands that the tests notice.

`PYTHONPATH=tests python -m emulator.mutate [--only TEXT]`, for the sites whose `file:line` holds TEXT. All sites are
compiled at once, each with a switch that is read when the program starts. A removal is noticed where a result is wrong,
the emulator objects or the program does not end; where three schedules notice nothing, ThreadSanitizer is asked.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from emulator.emulator_build import BUILD, HERE, KINDS, ROOT, Rules, kernel_flags, run_ninja

MUTANTS = BUILD / "mutants"
SITE = re.compile(r"__syncthreads\(\)|__syncwarp\([^()]*\)|cp_async_wait<[^<>]*>\(\)")
SWITCH = """#pragma once
#include <cstdlib>
namespace arseg::emulator {
inline const char* const removed_text = std::getenv("ARSEG_EMULATOR_REMOVED");
inline const int removed = removed_text ? std::atoi(removed_text) : -1;
}
"""
SEEDS = ("1", "2", "3")
TIMEOUT = 120.0


@dataclass(frozen=True)
class Site:
    number: int
    path: str
    line: int
    text: str

    @property
    def family(self) -> str:
        return Path(self.path).parent.name

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def write(path: Path, text: str) -> None:
    """Keeps the time of a file that stays as it is, so that nothing is compiled for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def code_of(line: str) -> str:
    return line.split("//")[0]


def make_sources() -> list[Site]:
    """A copy of csrc with a switch at every site; the sites."""
    sites: list[Site] = []
    write(MUTANTS / "removed.h", SWITCH)
    for source in sorted([*ROOT.glob("csrc/*/*.cuh"), *ROOT.glob("csrc/*/*.h")]):
        relative = source.relative_to(ROOT).as_posix()
        lines = source.read_text(encoding="utf-8").splitlines()
        if source.suffix == ".cuh" and source.parent.name != "common":
            for i, line in enumerate(lines):
                code = code_of(line)
                for match in reversed(list(SITE.finditer(code))):
                    number = len(sites)
                    sites.append(Site(number, relative, i + 1, match[0]))
                    switch = f"(::arseg::emulator::removed == {number} ? void() : {match[0]})"
                    code = code[: match.start()] + switch + code[match.end() :]
                lines[i] = code
        write(MUTANTS / relative, "\n".join(lines) + "\n")
    return sites


def build(kind: str) -> Path:
    how = KINDS[kind]
    rules = Rules()
    flags = kernel_flags(MUTANTS / "csrc") + f" {how.flags.replace('-O2', '-O1')} -include {MUTANTS / 'removed.h'}"
    sources = sorted((HERE / "standalone").glob("*.cu"))
    objects = [rules.compile(source, f"{kind}/{source.stem}.o", flags) for source in sources]
    rules.link(f"mutants-{kind}", objects + rules.runtime(kind), f"{how.link_flags} -lpthread")
    write(MUTANTS / f"{kind}.ninja", "\n".join(rules.lines) + "\n")
    run_ninja(MUTANTS, f"mutants-{kind}", rules=f"{kind}.ninja")
    return MUTANTS / f"mutants-{kind}"


def run(program: Path, site: Site | None, family: str, seed: str) -> str:
    """How the program ends: nothing where all is well."""
    environment = {
        **os.environ,
        "ARSEG_EMULATOR_SEED": seed,
        "ARSEG_EMULATOR_THREADS": "1",
        "ARSEG_EMULATOR_REMOVED": str(site.number) if site else "-1",
        "TSAN_OPTIONS": "exitcode=66:halt_on_error=1:symbolize=0",
    }
    environment.pop("ARSEG_EMULATOR_FAILURE", None)
    try:
        command = [str(program), "--first", family]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "no end"
    endings = {0: "", 9: "wrong result", 66: "ThreadSanitizer", 86: "emulator"}
    return endings.get(done.returncode, f"exit code {done.returncode}")


def notice(program: Path, site: Site) -> str:
    for seed in SEEDS:
        ending = run(program, site, site.family, seed)
        if ending:
            return f"{ending}, seed {seed}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only sites whose file:line holds this text")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    sites = [site for site in make_sources() if arguments.only in str(site)]
    started = time.monotonic()
    program = build("plain")
    print(f"{len(sites)} sites, built in {time.monotonic() - started:.0f} s", flush=True)
    for family in sorted({site.family for site in sites}):
        for seed in SEEDS:
            ending = run(program, None, family, seed)
            if ending:
                print(f"{family} fails with nothing removed ({ending}, seed {seed})")
                return 2
    with ThreadPoolExecutor(arguments.jobs) as pool:
        endings = dict(zip(sites, pool.map(lambda site: notice(program, site), sites), strict=True))
        quiet = [site for site in sites if not endings[site]]
        if quiet:
            with_sanitizer = build("tsan")
            endings |= dict(zip(quiet, pool.map(lambda site: notice(with_sanitizer, site), quiet), strict=True))
    for site in sites:
        print(f"{site!s:55} {site.text:20} {endings[site] or 'NOT NOTICED'}")
    noticed = sum(bool(endings[site]) for site in sites)
    print(f"noticed {noticed} of {len(sites)} in {time.monotonic() - started:.0f} s")
    return 0 if noticed == len(sites) else 1


if __name__ == "__main__":
    sys.exit(main())
