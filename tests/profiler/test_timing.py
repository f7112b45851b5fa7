"""Times of calls, and what a device can do."""

from __future__ import annotations

import contextlib
import weakref
from types import SimpleNamespace

import pytest
import torch

from arseg_ext.profiler import measure, timing
from arseg_ext.profiler.measure import Ceilings
from arseg_ext.profiler.problems import standard


def test_a_captured_call_keeps_what_it_reads():
    class Graph:
        def replay(self):
            replayed.append(True)

    class Arguments:
        pass

    replayed, arguments = [], Arguments()
    alive = weakref.ref(arguments)
    replay = timing.Replay(Graph(), lambda kept=arguments: kept, "result")
    del arguments
    assert replay() == "result" and replayed == [True] and alive() is not None


def test_the_clock_measures_versions_in_turn():
    order = []
    timer = timing.CpuTimer()
    times = timing.measure(timer, {name: lambda name=name: order.append(name) for name in "ab"}, 0.0)
    assert order == ["a", "b"] * (2 + timing.LEAST_ROUNDS)
    assert all(len(each) == timing.LEAST_ROUNDS for each in times.values())
    assert timing.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2, 3, 4) and timing.quartiles([7.0]) == (7, 7, 7)
    assert timing.measure(timer, {}, 1.0) == {}


def test_memory_of_a_call():
    peak = timing.CpuTimer().peak_memory(lambda: torch.zeros(64 << 20, dtype=torch.uint8).add_(1))
    if peak is None:
        pytest.skip("no /proc to read the memory from")
    assert 60e6 < peak < 80e6


def test_ceilings_and_shares_of_them():
    timer = timing.CpuTimer()
    assert timing.copy_speed(timer, 1) > 0 and timing.matmul_speed(timer, torch.float32, 32) > 0
    problem = standard("creff", 64, 720, 960)
    row = measure.failed(measure.Case(problem), ValueError("not timed"))
    row["versions"] = {"ours": {"us": 200.0}, "copy": {"us": 100.0}, "flex": {"failure": "none"}}
    measure.judge(row, Ceilings(3e12, {"float32": 1e15}))
    ours, copy, flex = row["versions"].values()
    assert ours["GFLOP/s"] == pytest.approx(11.6e9 / 200e-6 / 1e9, rel=0.01)
    assert ours["share of matmul"] == pytest.approx(ours["GFLOP/s"] / 1e6, rel=1e-3)
    assert ours["share of copy"] == pytest.approx(ours["GB/s"] / 3000, rel=1e-3)
    assert "GFLOP/s" not in copy and flex == {"failure": "none"}


class FakeCuda:
    """What CudaTimer asks of torch.cuda, in the order it asks; kernels take no time, a capture can be made to fail."""

    def __init__(self, monkeypatch, capture: bool = True):
        self.calls: list[str] = []
        self.allocated = 100
        cuda, note = torch.cuda, self.note
        for name in ("synchronize", "set_device", "empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(cuda, name, note(name))
        monkeypatch.setattr(cuda, "current_device", lambda: 0)
        monkeypatch.setattr(cuda, "Stream", lambda device: "stream")
        monkeypatch.setattr(cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=1 << 20))
        monkeypatch.setattr(cuda, "memory_allocated", lambda device: self.allocated)
        monkeypatch.setattr(cuda, "max_memory_allocated", lambda device: self.allocated + 42)
        monkeypatch.setattr(cuda, "CUDAGraph", lambda: SimpleNamespace(replay=note("replay")))
        monkeypatch.setattr(cuda, "Event", self.event)
        monkeypatch.setattr(cuda, "graph", self.graph if capture else self.refuse)
        empty = torch.empty
        monkeypatch.setattr(torch, "empty", lambda *size, device=None, **more: empty(1, **more))

    def note(self, name):
        return lambda *arguments, **options: self.calls.append(name)

    def event(self, enable_timing):
        return SimpleNamespace(record=self.note("event"), elapsed_time=lambda other: 2.0)

    def graph(self, graph, stream):
        self.calls.append("capture")
        return contextlib.nullcontext()

    def refuse(self, graph, stream):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_calls_on_cuda_are_replays_between_events_after_a_cold_cache(monkeypatch):
    fake = FakeCuda(monkeypatch)
    timer = timing.CudaTimer("cuda:0")
    timer.flushed = SimpleNamespace(zero_=fake.note("flush"))
    ready, how = timer.prepare(fake.note("call"))
    assert how == "graph" and fake.calls.count("call") == timing.WARMUPS + 1
    fake.calls.clear()
    assert timer.rounds({"ours": ready}, 2) == {"ours": [0.002, 0.002]}
    assert fake.calls == ["flush", "event", "replay", "event"] * 2 + ["synchronize"]


def test_what_cannot_be_captured_is_called_as_it_is(monkeypatch):
    fake = FakeCuda(monkeypatch, capture=False)
    timer, call = timing.CudaTimer("cuda"), fake.note("call")
    assert timer.prepare(call) == (call, "events: not captured, operation not permitted when stream is capturing")


def test_host_time_is_taken_with_an_idle_device(monkeypatch):
    fake = FakeCuda(monkeypatch)
    timer = timing.CudaTimer("cuda")
    fake.calls.clear()
    times = timer.host_times(fake.note("call"), 3)
    assert len(times) == 3 and fake.calls == ["synchronize", "call"] * 4 + ["synchronize"]
    assert timer.peak_memory(fake.note("call")) == 42
