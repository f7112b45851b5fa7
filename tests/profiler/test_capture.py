"""Calls that are saved and read again."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
import torch

from arseg_ext import nn, ops
from arseg_ext.profiler import capture, hooks
from arseg_ext.profiler.problems import LAYOUTS, OPERATORS, SMALL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in OPERATORS:  # put back at the end
        monkeypatch.setattr(ops, name, getattr(ops, name))
    capture.install(tmp_path)
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_replayed_call_gives_the_same(folder, layout):
    problems = [dataclasses.replace(problem, layout=layout) for problem in SMALL]
    results = [problem.call(problem.inputs(seed=5)) for problem in problems]
    captured = {each.path: each for each in capture.read_all(folder)}
    assert sorted(each.op for each in captured.values()) == sorted(problem.op for problem in problems)
    for each in captured.values():
        again = getattr(ops, each.op)(**each.inputs.tensors, **each.inputs.options)
        assert any(torch.equal(again, result) for result in results if result.shape == again.shape)


def test_layouts_and_gradients_come_back(folder):
    problem = dataclasses.replace(SMALL[4], layout="sliced", frozen=("key",))
    inputs = problem.inputs(grad=True)
    problem.call(inputs)
    (found,) = capture.read_all(folder)
    assert found.wanted == ("query", "value") and found.device == "cpu"
    for name, tensor in inputs.tensors.items():
        assert found.inputs.tensors[name].stride() == tensor.stride()
        assert torch.equal(found.inputs.tensors[name], tensor)


def test_once_for_each_signature_and_through_modules(folder):
    maps = [torch.randn(3, 1, 4, 6, 5) for _ in range(3)]
    for each in maps:
        nn.LocalAttention(3)(*each)
        ops.local_attention(*each, window=(3, 3))
    assert len(capture.read_all(folder)) == 1
    nn.LocalAttention(5)(*maps[0])
    assert len(capture.read_all(folder)) == 2
    (first, *_) = capture.read_all(folder)
    assert any(torch.equal(first.inputs.tensors["query"], each[0]) for each in maps[:1])


def test_what_is_refused_is_not_saved(folder):
    with pytest.raises(ValueError, match="window"):
        ops.local_attention(*torch.randn(3, 1, 4, 6, 5), window=4)
    assert not list(folder.iterdir())


def test_a_full_disk_ends_nothing(folder, monkeypatch):
    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.warns(UserWarning, match="local_attention was not saved"):
        ops.local_attention(*torch.randn(3, 1, 4, 6, 5), window=3)


def test_files_that_hold_no_call(tmp_path):
    with pytest.raises(capture.CaptureError, match="holds no calls"):
        capture.read_all(tmp_path)
    (tmp_path / "creff-1.pt").write_bytes(b"no")
    with pytest.raises(capture.CaptureError, match=r"creff-1.pt: expected a call saved by ARSEG_CAPTURE"):
        capture.read_all(tmp_path)


def test_without_the_variable_the_functions_are_as_they_were():
    if os.environ.get("ARSEG_CAPTURE") or os.environ.get("ARSEG_NVTX"):
        pytest.skip("the environment of this run asks for hooks")
    assert not any(hasattr(getattr(ops, name), "__wrapped__") for name in OPERATORS)


@pytest.mark.slow
def test_the_variable_is_looked_at_when_the_operators_are_loaded(tmp_path):
    code = """if True:
        import torch, arseg_ext
        module = arseg_ext.LocalAttention(3)
        module(*torch.randn(3, 1, 4, 6, 5))
        torch.compile(module, fullgraph=True, backend="eager")(*torch.randn(3, 1, 4, 7, 5))
        print(arseg_ext.local_attention.__name__)
    """
    environment = {**os.environ, "ARSEG_CAPTURE": str(tmp_path / "calls"), "ARSEG_NVTX": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "local_attention", done.stderr
    (found,) = capture.read_all(tmp_path / "calls")
    assert found.inputs.tensors["query"].shape == (1, 4, 6, 5)


def test_a_span_is_nothing_without_cuda(monkeypatch):
    from arseg_ext.profiler import nvtx

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = ops.creff
    nvtx.install()
    assert ops.creff is before
    with nvtx.span("anything"):
        pass


def test_hooks_see_eager_calls_alone(monkeypatch):
    for name in OPERATORS:
        monkeypatch.setattr(ops, name, getattr(ops, name))
    calls = []
    hooks.wrap(lambda name, function: lambda *a, **k: calls.append(name) or function(*a, **k))
    ops.local_attention(*torch.randn(3, 1, 4, 6, 5), window=3)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    ops.local_attention(*torch.randn(3, 1, 4, 6, 5), window=3)
    assert calls == ["local_attention"]
