"""Recording functions: the bookkeeping, with a stand-in where there is no GPU, and CUDA graphs where there is one."""

from __future__ import annotations

import logging

import pytest
import torch

from arseg.segment.graphs import CudaGraphs, Eager, Graphs, StandIn

CPU = torch.device("cpu")


def double(x):
    return (x * 2,)


def calls(function):
    """The function, and a list with a 1 for each call of it."""
    made = []

    def counted(*inputs):
        made.append(1)
        return function(*inputs)

    return counted, made


def test_a_function_is_recorded_at_its_second_call_with_these_shapes():
    graphs = StandIn(CPU)
    for number, (recordings, replays) in enumerate([(0, 0), (1, 1), (1, 2)]):
        (found,) = graphs("double", double, [torch.full((2, 3), float(number))])
        assert torch.equal(found, torch.full((2, 3), 2.0 * number))
        assert (len(graphs.recordings), graphs.replays) == (recordings, replays)


def test_rare_shapes_are_not_recorded():
    graphs = StandIn(CPU)
    for size in range(1, 200):
        graphs("double", double, [torch.ones(size)])
    assert not graphs.recordings and len(graphs._seen) <= 8 * graphs.limit


def test_names_shapes_and_types_are_told_apart():
    graphs = StandIn(CPU)
    cases = [("a", torch.ones(2)), ("b", torch.ones(2)), ("a", torch.ones(3)), ("a", torch.ones(2, dtype=torch.int16))]
    for _ in range(2):
        for name, x in cases:
            assert torch.equal(graphs(name, double, [x])[0], x * 2)
    assert len(graphs.recordings) == 4


def test_arguments_are_copied_and_results_lie_where_they_lay():
    graphs, x = StandIn(CPU), torch.ones(3)
    for _ in range(2):
        (first,) = graphs("double", double, [x])
    kept = graphs.kept(first)
    (second,) = graphs("double", double, [torch.full((3,), 5.0)])
    assert torch.equal(x, torch.ones(3)), "the caller's own"
    assert second.data_ptr() == first.data_ptr() and torch.equal(first, torch.full((3,), 10.0))
    assert torch.equal(kept, torch.full((3,), 2.0))
    ((buffer,),) = (recording.inputs for recording in graphs.recordings.values())
    assert buffer.data_ptr() != x.data_ptr()
    eager = Eager(CPU)
    assert eager.kept(x) is x and torch.equal(eager("double", double, [x])[0], x * 2)


def test_a_layout_of_the_caller_does_not_matter():
    graphs, x = StandIn(CPU), torch.arange(48.0).view(1, 3, 4, 4)
    for _ in range(2):
        graphs("double", double, [x])
    (found,) = graphs("double", double, [x.to(memory_format=torch.channels_last)])
    assert torch.equal(found, x * 2) and len(graphs.recordings) == 1


def test_the_one_not_called_for_the_longest_is_forgotten():
    graphs = StandIn(CPU, limit=2)
    for size in (1, 2):
        for _ in range(2):
            graphs("double", double, [torch.ones(size)])
    graphs("double", double, [torch.ones(1)])
    for _ in range(2):
        graphs("double", double, [torch.ones(3)])
    assert sorted(key[1][0][0] for key in graphs.recordings) == [1, 3]
    graphs.clear()
    assert not graphs.recordings
    assert torch.equal(graphs("double", double, [torch.ones(1)])[0], torch.full((1,), 2.0)) and not graphs.recordings


class Failing(Graphs):
    def record(self, function, inputs):
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("operation not permitted\nwhen stream is capturing"), "RuntimeError: operation not permitted"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
    ],
)
def test_what_cannot_be_recorded_is_called_as_it_is_and_that_is_said_once(caplog, error, words):
    graphs = Failing(CPU)
    graphs.error = error
    function, made = calls(double)
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            for _ in range(4):
                assert torch.equal(graphs(name, function, [torch.ones(2)])[0], torch.full((2,), 2.0))
    assert len(made) == 8 and not graphs.recordings
    (record,) = caplog.records
    assert record.getMessage() == f"not recorded as a CUDA graph, and so slower, but as right: {words}"


def test_an_error_of_the_function_is_the_callers():
    def broken(x):
        raise ValueError("no such map")

    graphs = StandIn(CPU)
    for _ in range(3):
        with pytest.raises(ValueError, match="no such map"):
            graphs("broken", broken, [torch.ones(2)])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_graphs_replay_what_was_recorded():
    device = torch.device("cuda")
    graphs, weight = CudaGraphs(device, limit=2), torch.randn(64, 64, device=device)
    function, made = calls(lambda x: (x @ weight, (x @ weight).relu()))
    for size in (8, 16, 24, 8):
        for _ in range(3):
            x = torch.randn(size, 64).pin_memory()
            found = [graphs.kept(y) for y in graphs("product", function, [x])]
            expected = x.to(device) @ weight
            torch.testing.assert_close(found, [expected, expected.relu()])
    assert len(graphs.recordings) == 2
    before = len(made)
    graphs("product", function, [torch.randn(8, 64)])
    assert len(made) == before, "a replay calls no Python"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_waits_for_the_device_cannot_be_recorded_and_runs(caplog):
    graphs = CudaGraphs(torch.device("cuda"))
    for number in range(4):
        x = torch.full((3,), float(number))
        assert graphs("waits", lambda x: (x * x.sum().item(),), [x])[0].tolist() == [number * number * 3.0] * 3
    assert len(caplog.records) == 1 and not graphs.recordings
