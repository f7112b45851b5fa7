"""What the profiler compares with, on the CPU at small sizes: every version against plain PyTorch, and that in turn
against the oracle in float64."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from arseg_ext.profiler import baselines, measure
from arseg_ext.profiler.flex import Tiles
from arseg_ext.profiler.measure import Case
from arseg_ext.profiler.problems import DIRECTIONS, SMALL, Problem

CASES = [Case(p, d) for p in SMALL for d in DIRECTIONS if d == "forward" or p.wanted]


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """torch.compile takes seconds a function, and it is not what is tested."""
    monkeypatch.setattr(baselines, "_compiled", lambda function: function)


def difference(case: Case, name: str) -> float:
    inputs = case.problem.inputs()
    version = baselines.versions(case.problem, inputs)[name]()
    right = measure.expected_of(case, inputs, 0)
    return measure.difference(version, measure.call_of(case, version)(), right)


@pytest.mark.parametrize("problem", SMALL, ids=str)
def test_plain_pytorch_is_the_oracle(problem):
    inputs = problem.inputs().to("float64")
    exact = dataclasses.replace(problem, dtype="float64")
    version = baselines.versions(exact, inputs)["eager"]()
    got, expected = version.function(*version.arguments.values()), problem.oracle(inputs)
    assert float((got.double() - expected.double()).abs().max()) < 1e-12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["ours", "chain"])
def test_versions_agree_with_plain_pytorch(case, name):
    assert difference(case, name) < 1e-5


@pytest.mark.parametrize("problem", [p for p in SMALL if p.op == "creff_logits"], ids=str)
def test_a_classifier_may_be_a_convolution_of_1x1(problem):
    inputs = problem.inputs()
    inputs.tensors["classifier_weight"] = inputs.tensors["classifier_weight"][:, :, None, None]
    case = Case(problem, given=inputs)
    version = baselines.versions(problem, inputs)["ours"]()
    assert measure.difference(version, measure.call_of(case, version)(), measure.expected_of(case, inputs, 0)) < 1e-5


@pytest.mark.parametrize("problem", [p for p in SMALL if p.op in ("creff", "creff_labels")], ids=str)
def test_versions_of_ours(problem):
    name = "head" if problem.op == "creff_labels" else "out"
    assert difference(Case(problem), name) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("outside", ["zero", "masked"])
def test_flex_attention(outside):
    problem = Problem("local_attention", (2, 8, 14, 19), window=(3, 7), outside=outside, scale=0.7)
    assert difference(Case(problem), "flex") < 1e-5


@pytest.mark.parametrize("height, width, window", [(14, 19, (7, 7)), (8, 16, (3, 5)), (17, 33, (9, 3)), (1, 1, (7, 7))])
def test_blocks_of_flex_attention_hold_every_key_of_the_window(height, width, window):
    tiles = Tiles(height, width, window)
    mask = tiles.mask(torch.device("cpu"))
    queries, keys = mask.seq_lengths
    query, key = torch.arange(queries)[:, None], torch.arange(keys)
    seen = tiles.in_window(torch.tensor(0), torch.tensor(0), query, key)
    assert (seen.sum(1) == window[0] * window[1]).all()
    blocks = mask.to_dense()[0, 0].bool().repeat_interleave(128, 0).repeat_interleave(128, 1)[:queries, :keys]
    assert not (seen & ~blocks).any()


def fake_package(window: tuple[int, int]) -> SimpleNamespace:
    """The functions of localAttention, by autograd."""

    def shifted(x):
        rows, columns = window
        padded = F.pad(x, (columns // 2, columns // 2, rows // 2, rows // 2))
        height, width = x.shape[2:]
        return [padded[..., y : y + height, x : x + width] for y in range(rows) for x in range(columns)]

    def similar(query, key):
        return torch.stack([(query * each).sum(1) for each in shifted(key)], -1)

    def weigh(value, weights):
        return sum(each * weights[:, None, ..., i] for i, each in enumerate(shifted(value)))

    def grad(function, inputs, place, grad):
        leaves = [each.detach().requires_grad_() for each in inputs]
        with torch.enable_grad():
            return torch.autograd.grad(function(*leaves), leaves[place], grad)[0]

    def similar_backward(other, grad_out, rows, columns, is_query):
        pair, place = ((torch.zeros_like(other), other), 0) if is_query else ((other, torch.zeros_like(other)), 1)
        return grad(similar, pair, place, grad_out)

    def to_value(weights, grad_out, rows, columns):
        return grad(weigh, (torch.zeros_like(grad_out), weights), 0, grad_out)

    def to_weights(value, grad_out, rows, columns):
        weights = value.new_zeros(value.shape[0], *value.shape[2:], window[0] * window[1])
        return grad(weigh, (value, weights), 1, grad_out)

    return SimpleNamespace(
        similar_forward=lambda query, key, rows, columns: similar(query, key),
        weighting_forward=lambda value, weights, rows, columns: weigh(value, weights),
        similar_backward=similar_backward,
        weighting_backward_ori=to_value,
        weighting_backward_weight=to_weights,
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_package_of_the_original_is_called_as_it_wants(direction):
    problem = Problem("local_attention", (2, 3, 5, 7), window=(3, 5))
    case = Case(problem, direction)
    inputs = problem.inputs()
    version = baselines.Version(baselines.package_attention(fake_package((3, 5)), (3, 5)), inputs.tensors)
    right = measure.expected_of(case, inputs, 0)
    assert measure.difference(version, measure.call_of(case, version)(), right) < 1e-5


def test_what_is_not_there_says_why():
    problem = Problem("local_attention", (1, 4, 9, 9))
    made = baselines.versions(problem, problem.inputs())["localAttention"]
    with pytest.raises(baselines.Unavailable, match=r"not installed|CUDA alone"):
        made()
