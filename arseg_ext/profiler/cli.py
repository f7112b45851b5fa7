"""`python -m arseg_ext.profiler`: its options, and what they choose."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from arseg_ext.profiler import compare as comparing
from arseg_ext.profiler import results, table
from arseg_ext.profiler.problems import DIRECTIONS, DTYPES, LAYOUTS, OPERATORS
from arseg_ext.profiler.selection import DEFAULT_SHAPE, UsageError, baseline_names, cases, check_device, dry_run

if TYPE_CHECKING:
    from arseg_ext.profiler.measure import Case

DESCRIPTION = """\
Measure the operators of arseg_ext beside other ways to compute the same, in one run and in turn.

Each version's result is compared with plain PyTorch in float32 before it is timed. A time is a median with its
quartiles. GFLOP/s and GB/s count what the result needs: two operations a multiply-accumulate, each input read and each
result written once. Shares are of a matrix product and a copy measured in the same run; maps that stay in a cache can
have more than all of a copy's. On CUDA a call is timed as a graph by events, with a cold second-level cache, and "host"
is the time until an eager call returns. On the CPU a time is the clock's, and "host" is a call's on a map of one pixel.

  python -m arseg_ext.profiler                                  every operator at 256x90x120
  python -m arseg_ext.profiler creff --shape 64x720x960 --dtype float32 bfloat16 --direction forward backward
  python -m arseg_ext.profiler local_attention --device cuda --kernels --html page.html --json new.json
  python -m arseg_ext.profiler creff --baselines none --json new.json --compare old.json
  ARSEG_CAPTURE=calls python my_program.py; python -m arseg_ext.profiler --replay calls
  arseg profile video.mp4 -- creff_labels --html page.html      on a video's own motion fields
"""
EPILOG = """\
exit status: 0; 1 where ours is slower than in --compare by more than noise, or where its result is wrong; 2 for a wrong
argument or file.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class DeviceError(RuntimeError):
    """An error on a CUDA device, after which this process cannot use it."""


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="python -m arseg_ext.profiler",
        usage="python -m arseg_ext.profiler [OPERATOR ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("operators", nargs="*", metavar="OPERATOR", help=f"some of {', '.join(OPERATORS)}; all of them by default")

    group = made.add_argument_group("what is called")
    add = group.add_argument
    add("--shape", nargs="+", default=None, metavar="[N x]C x H x W", help=f"maps such as {DEFAULT_SHAPE}, the default "
        "(of resize_labels the logits), or 'standard' or 'small' for a list")  # fmt: skip
    add("--dtype", nargs="+", default=None, metavar="DTYPE", help=f"some of {', '.join(DTYPES)}; float32 by default")
    add("--device", nargs="+", default=None, help="devices of torch; cpu by default")
    add(
        "--direction",
        nargs="+",
        choices=DIRECTIONS,
        default=["forward"],
        help="training is forward and backward in one",
    )
    add("--frozen", nargs="+", default=[], metavar="ARGUMENT", help="arguments for which a backward makes no gradient")
    add("--layout", choices=LAYOUTS, help="how maps are stored; channels_last by default")
    add("--window", metavar="N or HxW", help="of attention; 7 by default")
    add("--outside", choices=("zero", "masked"), help="keys outside the map; zero by default")
    add("--grid", choices=("aligned", "legacy"), help="of warps; aligned by default")
    add("--motion", choices=("blocks", "flow"), help="of creff; blocks by default")
    add("--block", type=int, choices=(4, 8, 16), help="side of a block in video pixels; 16 by default")
    add("--frame", metavar="HxW", help="the video's size; by default that of the map, or as the standard shape has it")
    add("--low", metavar="HxW", help="size of the low-resolution map; by default half the map")
    add("--classes", type=int, help="of the classifier; 12 by default")
    add("--inputs", nargs="+", default=[], metavar="FILE.npz", help="arrays named as arguments (and 'shape', of the "
        "first map), such as a video's motion; what a file lacks is random")  # fmt: skip
    add("--replay", metavar="FOLDER", help="calls that ARSEG_CAPTURE=FOLDER saved in a program of yours")
    add("--seed", type=int, default=0, help="of random inputs")

    group = made.add_argument_group("how it is measured")
    add = group.add_argument
    add("--baselines", nargs="+", default=None, metavar="NAME", help="versions beside ours, where they are installed: "
        "eager, compiled, flex, natten, localAttention (all by default); chain, head, out, copy; or none")  # fmt: skip
    add("--seconds", type=float, default=2.0, help="for the rounds of a row, 5 to 50 of them; 2 by default")
    add("--rounds", type=int, help="rounds of a row, whatever they take")
    add("--threads", type=int, help="of torch on the CPU")
    add("--unchecked", action="store_true", help="do not compare results before they are timed")
    add("--keep-pages", action="store_true", help="begin anew with an allocator that keeps its pages (glibc): fresh "
        "pages for every result cost all versions the same and hide the difference")  # fmt: skip
    add("--nvtx", action="store_true", help="NVTX ranges around timed calls, for Nsight Systems (also ARSEG_NVTX=1, in "
        "any program); nothing without CUDA")  # fmt: skip
    add("--dry-run", action="store_true", help="print what would be measured, and its cost")

    group = made.add_argument_group("what becomes of it")
    add = group.add_argument
    add("--kernels", action="store_true", help="torch.profiler's table of kernels (CUDA) or operators (CPU) of a call")
    add("--json", metavar="FILE", help="write the results")
    add("--html", metavar="FILE", help="write a page with roofline and bars, complete in itself")
    add("--compare", metavar="OLD.json", help="tell what changed by more than noise since these results")
    add("--threshold", type=float, default=3.0, metavar="PERCENT", help="change of the median that is worth telling; 3")
    add("--show", metavar="FILE.json", help="measure nothing; take these results for table, --html and --compare")
    return made


def measure_all(chosen: list[Case], arguments: argparse.Namespace, names: Sequence[str]) -> results.Report:
    import torch

    from arseg_ext.profiler import measure, nvtx, timing

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    devices = list(dict.fromkeys(case.problem.device for case in chosen))
    for device in devices:
        check_device(device)
    ranges = nvtx.span if arguments.nvtx else timing.no_range
    timers = {device: timing.timer_for(device, ranges) for device in devices}
    settings = measure.Settings(
        names=names,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        check=not arguments.unchecked,
        kernels=arguments.kernels,
        seed=arguments.seed,
    )
    report = results.new(results.facts(devices))
    print(table.facts_text(report), flush=True)
    ceilings = {}
    for device, timer in timers.items():
        dtypes = [case.problem.dtype for case in chosen if case.problem.device == device]
        ceilings[device] = found = measure.ceilings_of(timer, dtypes)
        report["ceilings"][device] = measure.described(found)
    print("\n".join(table.ceilings_text(report)))
    print(table.header(), flush=True)
    for case in chosen:
        try:
            row = measure.run(case, timers[case.problem.device], settings)
        except RuntimeError as error:  # it does not fit the memory, say
            row = measure.failed(case, error)
        measure.judge(row, ceilings[case.problem.device])
        report["rows"].append(row)
        print(table.row_text(row), flush=True)
        if arguments.json:
            results.write(arguments.json, report)
        try:
            measure.clean(timers[case.problem.device])
        except RuntimeError as error:
            told = str(error).strip().splitlines()[0]
            raise DeviceError(f"{case.name} broke the device, and the rows after it were not run ({told})") from None
    return report


def finish(report: results.Report, arguments: argparse.Namespace) -> int:
    """Writes and tells what was asked for; the exit status."""
    status = 0
    wrong = [f"{row['name']}: {row['wrong']}" for row in report["rows"] if "wrong" in row]
    for each in wrong:
        print(f"WRONG  {each}")
        status = 1
    changes = None
    if arguments.compare:
        then = results.read(arguments.compare)
        changes = comparing.compare(then, report, arguments.threshold / 100)
        for sentence in comparing.machines(then, report):
            print(sentence)
        if not changes:
            print(f"--compare: {arguments.compare} has none of these rows")
        for change in changes:
            print(change)
        status = max(status, int(any(change.verdict == "slower" for change in changes)))
    if arguments.html:
        from arseg_ext.profiler import page

        Path(arguments.html).write_text(page.html(report, changes or []), encoding="utf-8")
        print(f"page: {arguments.html}")
    if arguments.json and not arguments.show:
        results.write(arguments.json, report)
        print(f"results: {arguments.json}")
    return status


def run(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    if arguments.compare:
        results.read(arguments.compare)  # before an hour of measuring
    if arguments.show:
        report = results.read(arguments.show)
        print(table.facts_text(report))
        print("\n".join([*table.ceilings_text(report), table.header(), *map(table.row_text, report["rows"])]))
        return finish(report, arguments)
    if arguments.keep_pages and any(os.environ.get(k) != v for k, v in results.ALLOCATOR.items()):
        command = [sys.executable, "-m", "arseg_ext.profiler", *argv]
        sys.stdout.flush()
        os.execve(sys.executable, command, {**os.environ, **results.ALLOCATOR})
    names = baseline_names(arguments.baselines)
    chosen = cases(arguments)
    if arguments.dry_run:
        print(dry_run(chosen, names))
        return 0
    return finish(measure_all(chosen, arguments, names), arguments)


def main(argv: Sequence[str] | None = None) -> int:
    from arseg_ext.profiler.capture import CaptureError
    from arseg_ext.profiler.inputs import InputsError

    try:
        return run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, InputsError, CaptureError, results.ResultsError, DeviceError, ImportError, OSError) as error:
        print(f"profiler: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
