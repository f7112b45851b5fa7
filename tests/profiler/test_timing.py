"""Times of calls, and what a device can do."""

from __future__ import annotations

import weakref

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
