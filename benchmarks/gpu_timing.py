"""Times of calls on a device: versions in turn, with cold caches, each as a median and its quartiles.

On CUDA a call is captured into a graph where that works, so that what Python takes to launch it is not in the figure,
and timed by events around the replay. Before each call the second-level cache is overwritten. On the CPU (for the tests
of this code) the clock is used.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gpu_models
import torch

Call = Callable[[], Any]
WARMUPS, MOST_ROUNDS, LEAST_ROUNDS = 3, 25, 5


class CpuTimer:
    """The clock. Shows that the rest works; its figures mean nothing."""

    def __init__(self, device: str = "cpu"):
        self.device = torch.device(device)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        yield

    def prepare(self, call: Call) -> tuple[Call, str]:
        for _ in range(WARMUPS):
            call()
        return call, "clock"

    def rounds(self, calls: Mapping[str, Call], count: int) -> dict[str, list[float]]:
        """Seconds of each call, `count` times, in turn."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(count):
            for name, call in calls.items():
                started = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - started)
        return times

    def release(self) -> None:
        """Nothing is kept between rows."""


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

    def __init__(self, device: str = "cuda"):
        self.device = torch.device(device)
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
                begin.record(self.stream)
                call()
                end.record(self.stream)
                pairs[name].append((begin, end))
        torch.cuda.synchronize(self.device)
        return {name: [a.elapsed_time(b) / 1e3 for a, b in each] for name, each in pairs.items()}

    def release(self) -> None:
        """Give memory of the row before back: graphs keep pools of their own."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()


Timer = CpuTimer | CudaTimer


def timer_for(device: str) -> Timer:
    return CudaTimer(device) if torch.device(device).type == "cuda" else CpuTimer(device)


def measure(timer: Timer, calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Times of all calls in turn, as many rounds as fit `seconds`, 5 to 25."""
    first = timer.rounds(calls, 2)
    once = sum(min(times) for times in first.values())
    count = int(seconds / max(once, 1e-9))
    return timer.rounds(calls, max(LEAST_ROUNDS, min(MOST_ROUNDS, count)))


def summary(times: list[float]) -> dict[str, Any]:
    low, middle, high = statistics.quantiles(times, n=4)
    return {"us": round(middle * 1e6, 2), "iqr us": [round(low * 1e6, 2), round(high * 1e6, 2)], "rounds": len(times)}


def best(timer: Timer, call: Call) -> float:
    """Seconds of one call when all goes well: for what a device can do."""
    with timer.session():
        ready, _ = timer.prepare(call)
        return statistics.median(timer.rounds({"call": ready}, 10)["call"])


DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def copy_speed(timer: Timer, megabytes: int) -> float:
    """Bytes a second, read and written, by a kernel: a memcpy of a graph is not the fastest copy of a device."""
    source = torch.empty(megabytes << 18, device=timer.device).normal_()
    target = torch.empty_like(source)
    return 2 * source.nbytes / best(timer, lambda: torch.neg(source, out=target))


def matmul_speed(timer: Timer, dtype: torch.dtype, side: int) -> float:
    """Operations a second of the product of square matrices."""
    a, b, out = torch.randn(3, side, side, device=timer.device).to(dtype).unbind()
    return 2 * side**3 / best(timer, lambda: torch.mm(a, b, out=out))


def ceilings(timer: Timer, megabytes: int = 4096, side: int = 8192) -> gpu_models.Ceilings:
    """What the device does at best: a copy, and matrix products; float32 without TF32."""
    if timer.device.type == "cpu":
        megabytes, side = min(megabytes, 64), min(side, 512)
    torch.backends.cuda.matmul.allow_tf32 = False
    copy = copy_speed(timer, megabytes)
    matmul = {name: matmul_speed(timer, dtype, side) for name, dtype in DTYPES.items()}
    timer.release()
    return gpu_models.Ceilings(copy, matmul)
