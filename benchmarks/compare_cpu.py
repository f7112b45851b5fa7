"""The CPU kernels against torch.compile, in turn in one process: rows of the profiler that docs/kernels.md reports.

    python benchmarks/compare_cpu.py [NAME ...] [--rounds 15] [--out results.json] [--one-thread] [--without V] [--list]

Everything is channels_last, on as many threads as torch has. Unless --plain-allocator is given, the script starts
itself again with an allocator that keeps its pages (MALLOC_MMAP_MAX_=0): fresh pages for every result would cost both
sides the same, and hide the difference. The file has the format of `arseg_ext.profiler.results`: `benchmarks/tables.py`
puts its figures into the pages, `python -m arseg_ext.profiler --show FILE --html PAGE` draws it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from arseg_ext.profiler import measure, results, table, timing
from arseg_ext.profiler.measure import Case
from arseg_ext.profiler.problems import MAPS, Problem, standard

BIG, MIDDLE = (64, 720, 960), (64, 360, 480)
WINDOWS = (3, 5, 7, 9, 11, 15)
CHANNELS = (16, 32, 48, 72, 128, 256, 512)
Row = tuple[Case, tuple[str, ...]]


def attention(size: tuple[int, int, int], dtype: str = "float32", window: int = 7) -> Case:
    return Case(replace(standard("local_attention", *size), dtype=dtype, window=(window, window)))


def rows() -> Iterator[Row]:
    """Cases, and the versions beside ours."""
    for dtype in ("float32", "bfloat16"):

        def of(op: str, size: tuple[int, int, int], dtype: str = dtype) -> Problem:
            return replace(standard(op, *size), dtype=dtype)

        for size in MAPS:
            yield Case(of("creff", size)), ("out", "compiled")
        for size in (BIG, MIDDLE):
            yield attention(size, dtype), ("compiled",)
        for op in ("mv_warp", "flow_warp"):
            yield Case(of(op, BIG)), ("copy",)
        # In AR-Seg's training the keyframe's branch is frozen: no gradient to the reference.
        yield Case(replace(of("creff", MIDDLE), frozen=("reference",)), "training"), ("compiled",)
        yield Case(of("creff", MIDDLE), "training"), ("compiled",)
    for window in WINDOWS:
        yield attention(MIDDLE, window=window), ()
    for channels in CHANNELS:
        yield attention((channels, 180, 240)), ()
    for dtype in ("float16", "float64"):
        yield attention(MIDDLE, dtype), ()
    yield Case(standard("creff_labels", *BIG)), ("head",)


def chosen(names: list[str]) -> list[Row]:
    """Rows whose names begin so; one of each name, with all its versions."""
    found: dict[str, Row] = {}
    for case, versions in rows():
        if not names or case.name.startswith(tuple(names)):
            found.setdefault(case.name, (case, versions))
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows, or beginnings of their names; all of them by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON; rows that are there already are kept or replaced")
    parser.add_argument("--plain-allocator", action="store_true")
    parser.add_argument(
        "--one-thread", action="store_true", help="one thread, in processor time: for a machine with other work on it"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        help="a version not to time; torch in bfloat16 takes minutes a call where the processor has no such arithmetic",
    )
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    wanted = chosen(arguments.names)
    if arguments.list:
        print("\n".join(case.name for case, _ in wanted))
        return
    if not arguments.plain_allocator and any(os.environ.get(k) != v for k, v in results.ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **results.ALLOCATOR})
    if arguments.one_thread:
        torch.set_num_threads(1)
    timer = timing.CpuTimer(processor_time=arguments.one_thread)
    report = results.new(results.facts(["cpu"]))
    ceilings = measure.ceilings_of(timer, [case.problem.dtype for case, _ in wanted])
    report["ceilings"]["cpu"] = measure.described(ceilings)
    print("\n".join([table.facts_text(report), *table.ceilings_text(report), table.header()]), flush=True)
    if arguments.out and arguments.out.exists():
        report["rows"] = results.read(arguments.out)["rows"]
    for case, versions in wanted:
        names = tuple(name for name in versions if name not in arguments.without)
        row = measure.run(case, timer, measure.Settings(names=names, rounds=arguments.rounds, host=False))
        measure.judge(row, ceilings)
        print(table.row_text(row), flush=True)
        if "wrong" in row:
            raise SystemExit(f"{case.name}: {row['wrong']}")
        results.put(report, row)
        if arguments.out:
            results.write(arguments.out, report)
        measure.clean(timer)


if __name__ == "__main__":
    main()
