"""One row of a report: a problem in one direction, its versions checked and timed in turn."""

from __future__ import annotations

import dataclasses
import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from arseg_ext._torch_private import keep_compiled_graphs
from arseg_ext.profiler import baselines, timing
from arseg_ext.profiler.baselines import Unavailable, Version
from arseg_ext.profiler.problems import DTYPES, FUSIONS, Inputs, Problem

# Error allowed, relative to the largest value. Plain PyTorch rounds every step of half types, the logits among them.
TOLERANCE = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 6e-2, "float64": 1e-9}
BASELINE_TOLERANCE = {"float32": 2e-3, "float16": 0.1, "bfloat16": 0.4, "float64": 1e-9}
# Share of labels that may differ: of equal logits either is right.
LABELS_DIFFER = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 0.1, "float64": 1e-6}

Results = list[tuple[str | None, Tensor]]


@dataclass(frozen=True)
class Case:
    """What a row measures. `given`: inputs out of a file, moved and cast already; otherwise the problem makes them."""

    problem: Problem
    direction: str = "forward"
    given: Inputs | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.problem.name + ("" if self.direction == "forward" else f" {self.direction}")


@dataclass(frozen=True)
class Ceilings:
    """What a device was measured to do: bytes a second of a copy, operations a second of a product, by dtype."""

    copy: float
    matmul: dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How to measure. Seconds are of all versions of a row together; `rounds` are as many as fit them unless given."""

    names: Sequence[str] = baselines.DEFAULT
    seconds: float = 2.0
    rounds: int | None = None
    check: bool = True
    host: bool = True
    kernels: bool = False
    seed: int = 0


def call_of(case: Case, version: Version, seed: int = 0) -> Callable[[], Results]:
    """The call that is timed. Its results are named: None, or the argument that they are a gradient of."""
    function, problem = version.function, case.problem
    if case.direction == "forward":

        def forward() -> Results:
            with torch.no_grad():
                return [(None, function(*version.arguments.values()))]

        return forward
    wanted = [name for name in version.arguments if name in problem.wanted and _differentiable(version, name)]
    leaves = {
        name: each.detach().requires_grad_() if name in wanted else each.detach()
        for name, each in version.arguments.items()
    }
    with torch.enable_grad():
        out = function(*leaves.values())
    # The one gradient of all versions, in the layout of their result.
    map_ = problem.result_gradient(version.restore(out.detach(), None), seed)
    gradient = torch.empty_like(out).copy_(version.gradient(map_))

    def backward() -> Results:
        grads = torch.autograd.grad(out, [leaves[name] for name in wanted], gradient, retain_graph=True)
        return list(zip(wanted, grads, strict=True))

    def training() -> Results:
        with torch.enable_grad():
            result = function(*leaves.values())
        grads = torch.autograd.grad(result, [leaves[name] for name in wanted], gradient)
        return list(zip(wanted, grads, strict=True))

    if case.direction == "training":
        del out
        return training
    return backward


def _differentiable(version: Version, name: str) -> bool:
    return version.arguments[name].is_floating_point()


def expected_of(case: Case, inputs: Inputs, seed: int) -> Results:
    """By plain PyTorch in float32 (float64 where the problem is), on the same values."""
    dtype = "float64" if case.problem.dtype == "float64" else "float32"
    exact = dataclasses.replace(case.problem, dtype=dtype)
    version = baselines.versions(exact, inputs.to(dtype))["eager"]()
    direction = "forward" if case.direction == "forward" else "training"
    return call_of(dataclasses.replace(case, problem=exact, direction=direction), version, seed)()


def difference(version: Version, results: Results, right: Results) -> float:
    """The largest error relative to the largest value of its result; for labels the share that differs.

    A gradient that is nothing but rounding (masked attention does not feel the key's bias) is held to a tenth of the
    largest of all results instead.
    """
    expected, found = dict(right), 0.0
    least = 0.1 * max((float(each.abs().max()) for each in expected.values() if each.numel()), default=0.0)
    rows, columns = version.border
    for name, result in results:
        got, exact = version.restore(result, name), expected[name]
        if got.shape != exact.shape:
            return float("inf")
        if version.border != (0, 0) and got.dim() == 4:
            inner = (..., slice(rows, got.shape[2] - rows), slice(columns, got.shape[3] - columns))
            got, exact = got[inner], exact[inner]
        if got.numel() == 0:
            continue
        if got.dtype == torch.uint8:
            return float((got != exact).float().mean())
        error = float((got.to(exact.dtype) - exact).abs().max()) / max(float(exact.abs().max()), least, 1e-30)
        found = max(found, error) if error == error else float("inf")
    return found


def _allowed(case: Case, name: str, results: Results) -> float:
    if results[0][1].dtype == torch.uint8:
        return LABELS_DIFFER[case.problem.dtype]
    # The gradients of the convolutions' weights add up, in half types, what PyTorch's backward has rounded.
    own = name == "ours" and (case.direction == "forward" or case.problem.op not in FUSIONS)
    return (TOLERANCE if own else BASELINE_TOLERANCE)[case.problem.dtype]


def _description(case: Case) -> dict[str, Any]:
    problem = case.problem
    return {
        "name": case.name,
        "op": problem.op,
        "direction": case.direction,
        "problem": problem.described(),
        "flops": problem.flops(case.direction),
        "bytes read": problem.bytes_read(case.direction),
        "bytes written": problem.bytes_written(case.direction),
        "versions": {},
    }


def run(case: Case, timer: timing.Timer, settings: Settings) -> dict[str, Any]:
    """The row: times of each version or why it has none, "wrong" where ours is."""
    keep_compiled_graphs()  # backwards are timed again and again on one
    problem, row = case.problem, _description(case)
    with timer.session():
        inputs = case.given or problem.inputs(timer.device, settings.seed)
        right = expected_of(case, inputs, settings.seed) if settings.check else None
        ready: dict[str, Callable[[], Any]] = {}
        available = baselines.versions(problem, inputs)
        for name in ("ours", *(each for each in baselines.BASELINES if each in settings.names)):
            if name not in available or (name in ("out", "copy") and case.direction != "forward"):
                continue
            found: dict[str, Any] = row["versions"].setdefault(name, {})
            try:
                call = _checked(case, name, available[name](), right, timer, settings, found)
                if settings.host:
                    host = host_times(case, name, call, timer, settings)
                    if host:
                        low, middle, high = timing.quartiles(host)
                        found["host us"], found["host quartiles us"] = _us(middle), [_us(low), _us(high)]
                if settings.kernels:
                    found["kernels"] = kernels(call, timer)
                ready[name], found["timed by"] = timer.prepare(call)
            except Exception as error:  # a baseline that cannot do it must not cost the others their row
                found.clear()
                found["failure"] = _sentence(error)
                if name == "ours":
                    row["wrong"] = found["failure"]
        del right
        ready["control"], _ = timer.prepare(next(iter(inputs.tensors.values())).detach().clone)
        measured = timing.measure(timer, ready, settings.seconds, settings.rounds)
        row["control"] = summary(measured.pop("control"))
        for name, times in measured.items():
            row["versions"][name] |= summary(times, measured.get("ours") if name != "ours" else None)
    return row


def clean(timer: timing.Timer) -> None:
    """Between rows: gives memory back, and forgets what was compiled. RuntimeError: the device is broken."""
    gc.collect()
    baselines.forget_compiled()
    timer.release()


def summary(times: list[float], ours: list[float] | None = None) -> dict[str, Any]:
    """Median and quartiles; and how many times as long as ours, the median of the ratios of the rounds."""
    low, middle, high = timing.quartiles(times)
    found: dict[str, Any] = {"us": _us(middle), "quartiles us": [_us(low), _us(high)], "rounds": len(times)}
    if ours:
        found["times ours"] = float(f"{statistics.median(a / b for a, b in zip(times, ours, strict=True)):.4g}")
    return found


def failed(case: Case, error: Exception) -> dict[str, Any]:
    """The row of a case that could not be measured at all, such as one that does not fit the memory."""
    row = _description(case)
    return {**row, "versions": {"ours": {"failure": _sentence(error)}}, "wrong": _sentence(error)}


class Wrong(Exception):
    """A version whose result is another."""


def _checked(
    case: Case,
    name: str,
    version: Version,
    right: Results | None,
    timer: timing.Timer,
    settings: Settings,
    found: dict[str, Any],
) -> Callable[[], Results]:
    call = call_of(case, version, settings.seed)
    results = call()
    if right is not None and version.same:
        off = difference(version, results, right)
        found["difference"] = float(f"{off:.2g}")
        if off > _allowed(case, name, results):
            raise Wrong(f"off by {off:.2g} of the largest value")
    del results
    peak = timer.peak_memory(call)
    if peak is not None:
        found["peak MB"] = round(peak / 1e6, 1)
    return call


def host_times(
    case: Case, name: str, call: Callable[[], Any], timer: timing.Timer, settings: Settings
) -> list[float] | None:
    """Seconds that the host takes for a call: on CUDA this one, which does not wait; on the CPU one on maps of a pixel.

    None for what would have to be compiled again for such maps.
    """
    if timer.device.type == "cuda":
        return timer.host_times(call)
    if name not in ("ours", "eager", "chain"):
        return None
    small = dataclasses.replace(
        case.problem,
        shape=(*case.problem.shape[:2], 1, 1),
        frame_size=None,
        low_size=(1, 1),
        size=(1, 1) if case.problem.op == "resize_labels" else None,
    )
    inputs = small.inputs(timer.device, settings.seed)
    version = baselines.versions(small, inputs)[name]()
    return timer.host_times(call_of(dataclasses.replace(case, problem=small), version, settings.seed))


def kernels(call: Callable[[], Any], timer: timing.Timer) -> list[dict[str, Any]]:
    """What torch.profiler saw in a call: operators on the CPU, kernels on CUDA, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    on_cuda = timer.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    call()
    with profile(activities=activities, acc_events=True) as seen:
        call()
        if on_cuda:
            torch.cuda.synchronize(timer.device)
    found = []
    for each in seen.key_averages():
        on_device = on_cuda and str(getattr(each, "device_type", "")).endswith("CUDA")
        seconds = each.self_device_time_total if on_device else each.self_cpu_time_total
        if seconds and on_device == on_cuda:
            found.append({"name": each.key, "calls": each.count, "us": round(seconds, 2)})
    return sorted(found, key=lambda each: -each["us"])


def judge(row: dict[str, Any], ceilings: Ceilings) -> None:
    """Adds the speed of each version, and its shares of the ceilings."""
    moved = row["bytes read"] + row["bytes written"]
    peak = ceilings.matmul.get(row["problem"]["dtype"])
    for name, version in row["versions"].items():
        if "us" not in version:
            continue
        seconds = version["us"] / 1e6
        found = {"GB/s": moved / seconds / 1e9, "share of copy": moved / seconds / ceilings.copy}
        if name != "copy":
            found["GFLOP/s"] = row["flops"] / seconds / 1e9
            if peak:
                found["share of matmul"] = row["flops"] / seconds / peak
        version |= {key: float(f"{value:.4g}") for key, value in found.items()}


def ceilings_of(timer: timing.Timer, dtypes: Sequence[str]) -> Ceilings:
    """Measured now, on this device."""
    matmul = {name: timing.matmul_speed(timer, getattr(torch, name)) for name in DTYPES if name in dtypes}
    found = Ceilings(timing.copy_speed(timer), matmul)
    timer.release()
    return found


def described(ceilings: Ceilings) -> dict[str, Any]:
    """As a report has them."""
    matmul = {name: float(f"{value / 1e9:.4g}") for name, value in ceilings.matmul.items()}
    return {"copy GB/s": float(f"{ceilings.copy / 1e9:.4g}"), "matmul GFLOP/s": matmul}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 2)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, (Unavailable, Wrong)) else f"{type(error).__name__}: {text}"
