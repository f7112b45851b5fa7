"""Times of calls on a device: versions in turn, each as a median and its quartiles.

On CUDA a call is captured into a graph where that works, so that what Python takes to launch it is not in the figure,
and timed by events around the replay; before each call the second-level cache is overwritten. On the CPU it is the
clock. What the host takes until a call returns is a figure of its own: `host_times`.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Call = Callable[[], Any]
Range = Callable[[str], contextlib.AbstractContextManager[Any]]
WARMUPS, LEAST_ROUNDS, MOST_ROUNDS = 3, 5, 50


def no_range(name: str) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()


class CpuTimer:
    """The clock.

    `processor_time`: what all threads of this process were at work for, which other processes hardly change. It is the
    time of a call where torch has one thread.
    """

    def __init__(self, device: str | torch.device = "cpu", ranges: Range = no_range, processor_time: bool = False):
        self.device = torch.device(device)
        self.ranges = ranges
        self.timed_by = "processor time" if processor_time else "clock"
        self.now = time.process_time if processor_time else time.perf_counter

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        yield

    def prepare(self, call: Call) -> tuple[Call, str]:
        """The call that is timed, warmed up, and what it is timed by."""
        for _ in range(WARMUPS):
            call()
        return call, self.timed_by

    def rounds(self, calls: Mapping[str, Call], count: int) -> dict[str, list[float]]:
        """Seconds of each call, `count` times, in turn."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(count):
            for name, call in calls.items():
                with self.ranges(name):
                    started = self.now()
                    call()
                    times[name].append(self.now() - started)
        return times

    def host_times(self, call: Call, count: int = 30) -> list[float]:
        """Seconds of a call, the shortest of three each: for maps so small that only the host counts."""
        call()
        return [min(_seconds(call) for _ in range(3)) for _ in range(count)]

    def peak_memory(self, call: Call) -> int | None:
        """Bytes that the process holds at most during a call beyond what it held before, to some 100 KB; None where
        Linux's /proc is not there. Pages that the allocator kept are given back first, and count again."""
        status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            reset.write_text("5", encoding="ascii")  # the high-water mark begins anew
            before = _resident(status, "VmRSS")
            result = call()
            peak = _resident(status, "VmHWM")
            del result
        except (OSError, AttributeError, ValueError):
            return None
        return max(peak - before, 0)

    def release(self) -> None:
        """Nothing is kept between rows."""


def _seconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _resident(status: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise ValueError(name)
    return int(found[1]) << 10


@dataclass(frozen=True)
class Replay:
    """A captured call. What the call reads stays with it: the graph has addresses, and keeps nothing but its own."""

    graph: Any
    call: Call
    result: Any

    def __call__(self) -> Any:
        self.graph.replay()
        return self.result


class CudaTimer:
    """CUDA events around replays of graphs, on a stream of its own; everything else of a row runs on it too."""

    def __init__(self, device: str | torch.device = "cuda", ranges: Range = no_range):
        self.device = torch.device(device)
        self.ranges = ranges
        torch.cuda.set_device(self.device if self.device.index is not None else torch.cuda.current_device())
        self.stream = torch.cuda.Stream(self.device)
        cache = getattr(torch.cuda.get_device_properties(self.device), "L2_cache_size", 0)
        self.flushed = torch.empty(max(4 * cache, 256 << 20), dtype=torch.int8, device=self.device)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        torch.cuda.synchronize(self.device)
        with torch.cuda.stream(self.stream):
            yield
        torch.cuda.synchronize(self.device)

    def prepare(self, call: Call) -> tuple[Call, str]:
        """Warm it up, and capture it; where it cannot be captured, it is called as it is."""
        for _ in range(WARMUPS):
            call()
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                result = call()
        except RuntimeError as error:
            torch.cuda.synchronize(self.device)
            return call, f"events: not captured, {str(error).splitlines()[0][:120]}"
        replay = Replay(graph, call, result)
        replay()
        return replay, "graph"

    def rounds(self, calls: Mapping[str, Call], count: int) -> dict[str, list[float]]:
        """Seconds of each call, `count` times, in turn."""
        pairs: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in calls}
        for _ in range(count):
            for name, call in calls.items():
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                self.flushed.zero_()
                with self.ranges(name):
                    begin.record(self.stream)
                    call()
                    end.record(self.stream)
                pairs[name].append((begin, end))
        torch.cuda.synchronize(self.device)
        return {name: [a.elapsed_time(b) / 1e3 for a, b in each] for name, each in pairs.items()}

    def host_times(self, call: Call, count: int = 30) -> list[float]:
        """Seconds until an eager call returns; the device is idle before each, so that none waits for a queue."""
        times = []
        for _ in range(count + 1):
            torch.cuda.synchronize(self.device)
            times.append(_seconds(call))
        torch.cuda.synchronize(self.device)
        return times[1:]

    def peak_memory(self, call: Call) -> int | None:
        """Bytes that torch's allocator has in use at most during a call beyond those before it."""
        torch.cuda.synchronize(self.device)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        result = call()
        torch.cuda.synchronize(self.device)
        peak = torch.cuda.max_memory_allocated(self.device)
        del result
        return peak - before

    def release(self) -> None:
        """Give memory of the row before back: graphs keep pools of their own."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()


Timer = CpuTimer | CudaTimer


def timer_for(device: str, ranges: Range = no_range) -> Timer:
    return CudaTimer(device, ranges) if torch.device(device).type == "cuda" else CpuTimer(device, ranges)


def measure(timer: Timer, calls: Mapping[str, Call], seconds: float, rounds: int | None = None) -> dict[str, Any]:
    """Times of all calls in turn: as many rounds as fit `seconds`, 5 to 50, or `rounds`."""
    if not calls:
        return {}
    once = sum(min(times) for times in timer.rounds(calls, 2).values())
    fitting = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(seconds / max(once, 1e-9))))
    return timer.rounds(calls, rounds or fitting)


def quartiles(times: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(times) < 2:
        return times[0], times[0], times[0]
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, middle, high


# --- what the device can do ------------------------------------------------------------------------------------------


def _best(timer: Timer, call: Call, count: int = 10) -> float:
    """Seconds of a call when all goes well."""
    with timer.session():
        ready, _ = timer.prepare(call)
        times = timer.rounds({"ceiling": ready}, count)["ceiling"]
        return min(times) if timer.device.type == "cpu" else statistics.median(times)


def copy_speed(timer: Timer, megabytes: int | None = None) -> float:
    """Bytes a second, read and written, of the faster of a copy and a kernel: which one it is differs by device."""
    if megabytes is None:
        megabytes = 256
        if timer.device.type == "cuda":
            megabytes = min(4096, torch.cuda.get_device_properties(timer.device).total_memory >> 23)
    source = torch.empty(megabytes << 18, device=timer.device).normal_()
    target = torch.empty_like(source)
    fastest = min(_best(timer, lambda: torch.neg(source, out=target)), _best(timer, lambda: target.copy_(source)))
    return 2 * source.nbytes / fastest


def matmul_speed(timer: Timer, dtype: torch.dtype, side: int | None = None) -> float:
    """Operations a second of the product of square matrices; float32 without TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    if side is None:
        side = 8192 if timer.device.type == "cuda" else 2048
        if timer.device.type == "cpu" and _product_seconds(timer, dtype, 256) * 8**3 > 1.0:
            side = 512  # a dtype that this processor has no instructions for
        if timer.device.type == "cuda" and dtype == torch.float64:
            side = 4096
    return 2 * side**3 / _product_seconds(timer, dtype, side)


def _product_seconds(timer: Timer, dtype: torch.dtype, side: int) -> float:
    a, b, out = torch.randn(3, side, side, device=timer.device).to(dtype).unbind()
    return _best(timer, lambda: torch.mm(a, b, out=out))
