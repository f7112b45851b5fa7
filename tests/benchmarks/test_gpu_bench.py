"""The GPU benchmarks on the CPU at tiny sizes: rows, checks, time limit, figures, the table, and the whole command."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import gpu_bench
import gpu_check
import gpu_models
import gpu_table
import gpu_timing
import gpu_versions
import pytest
import torch
from gpu_bench import Bench, Row
from gpu_models import Ceilings, Shape
from gpu_versions import Inputs
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
SMALL = Shape(8, 14, 18)
CEILINGS = Ceilings(1e12, {"fp32": 1e13, "fp16": 1e14, "bf16": 1e14})


class FakeTimer(gpu_timing.CpuTimer):
    """Calls nothing again; the time of the first version is 10 us, that of the next 20 us, and so on."""

    def prepare(self, call):
        return call, "fake"

    def rounds(self, calls, count):
        return {name: [(i + 1) * 1e-5 * (1 + 0.01 * (k % 3)) for k in range(count)] for i, name in enumerate(calls)}


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(FakeTimer(), tmp_path / "bench.json", 60, CEILINGS)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """torch.compile takes seconds a function, and it is not what is tested."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    gpu_versions.compiled.cache_clear()
    yield
    gpu_versions.compiled.cache_clear()


def test_every_row(bench, tmp_path):
    rows = [Row(op, SMALL, dtype) for op in gpu_bench.OPS for dtype in gpu_timing.DTYPES]
    bench.run(rows)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert "failure" not in written and written["not reached"] == []
    assert set(written["rows"]) == {row.name for row in rows}
    for row in rows:
        quick = written["rows"][row.name]["quick"]["versions"]
        assert list(quick) == ["ours", "eager", "chain"], row.name
        assert quick["ours"]["us"] == pytest.approx(10.1, rel=0.01) and quick["eager"]["times ours"] == 2
        assert quick["ours"]["rounds"] >= gpu_timing.LEAST_ROUNDS and len(quick["ours"]["iqr us"]) == 2
        if row.op != "labels":
            compiled = written["rows"][row.name]["compiled"]["versions"]
            assert compiled["compiled"]["times ours"] == 2
            assert ("flex" in compiled) == (row.forward_op == "attention")
    lines = gpu_table.table({"phases": {"benchmarks": written}})
    assert len(lines) == 2 + len(gpu_bench.OPS) and all("FAILED" not in line for line in lines)


def test_a_wrong_result_of_ours_is_a_failure(bench, monkeypatch, tmp_path):
    makers = gpu_versions.warps

    def wrong(x):
        found = makers(x)
        good = found["ours"]()
        found["ours"] = lambda: dataclasses.replace(good, function=lambda *given: 1.5 * good.function(*given))
        return found

    monkeypatch.setitem(gpu_versions.MAKERS, "warp", wrong)
    bench.run([Row("warp", SMALL, "fp32"), Row("attention", SMALL, "fp32")])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert "warp 8x14x18 fp32" in written["failure"] and "off by" in written["failure"]
    assert "us" not in written["rows"]["warp 8x14x18 fp32"]["quick"]["versions"]["ours"]
    assert "times ours" not in written["rows"]["warp 8x14x18 fp32"]["quick"]["versions"]["eager"]
    assert "us" in written["rows"]["attention 8x14x18 fp32"]["quick"]["versions"]["ours"]
    assert "FAILED" in gpu_table.cell({"phases": {"benchmarks": written}}, "warp 8x14x18 fp32")


def test_a_baseline_that_breaks_costs_the_others_nothing(bench, monkeypatch, tmp_path):
    def breaks(*arguments):
        raise RuntimeError("out of resources\nand more")

    def nan(query, key, value):
        return query * float("nan")

    monkeypatch.setattr(gpu_versions, "chain_attention", breaks)
    bench.run([Row("attention", SMALL, "bf16")])
    quick = json.loads((tmp_path / "bench.json").read_text())["rows"]["attention 8x14x18 bf16"]["quick"]["versions"]
    assert quick["chain"] == {"failure": "RuntimeError: out of resources"} and "us" in quick["ours"]
    monkeypatch.setattr(gpu_versions, "chain_attention", nan)
    Bench(FakeTimer(), tmp_path / "other.json", 60, CEILINGS).run([Row("attention", SMALL, "bf16")])
    report = json.loads((tmp_path / "other.json").read_text())
    chain = report["rows"]["attention 8x14x18 bf16"]["quick"]["versions"]["chain"]
    assert "off by inf" in chain["failure"] and "failure" not in report


def test_what_the_time_does_not_suffice_for_is_named(tmp_path):
    bench = Bench(FakeTimer(), tmp_path / "bench.json", 0, CEILINGS)
    bench.run([Row("warp", SMALL, "fp32")])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["not reached"] == ["warp 8x14x18 fp32, quick", "warp 8x14x18 fp32, compiled"]
    assert "not reached in time" in written["summary"] and "failure" not in written
    # A row is not begun either that would not be ready in time, by what the one before took.
    bench = Bench(FakeTimer(), tmp_path / "bench.json", gpu_bench.FIRST_GUESS["compiled"] - 1, CEILINGS)
    bench.run([Row("warp", SMALL, "fp32")])
    assert json.loads((tmp_path / "bench.json").read_text())["not reached"] == ["warp 8x14x18 fp32, compiled"]


def test_a_row_that_breaks_the_device_is_told_and_another_process_goes_on(tmp_path):
    class Breaking(FakeTimer):
        def release(self):
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")

    rows = [Row("warp", SMALL, "fp32"), Row("warp", SMALL, "bf16")]
    bench = Bench(Breaking(), tmp_path / "bench.json", 60, CEILINGS)
    with pytest.raises(gpu_bench.DeviceBroken):
        bench.run(rows)
    told = "CUDA error: an illegal memory access was encountered"
    written = json.loads((tmp_path / "bench.json").read_text())
    assert list(written["rows"]) == [rows[0].name] and written["rows"][rows[0].name]["quick"]["failure"] == told
    # The next process runs ours of that row alone, and goes on.
    Bench(FakeTimer(), tmp_path / "bench.json", 60).run(rows)
    written = json.loads((tmp_path / "bench.json").read_text())
    again = written["rows"][rows[0].name]["quick"]
    assert (
        again["broke the device"] == told and list(again["versions"]) == ["ours"] and "us" in again["versions"]["ours"]
    )
    assert "failure" not in written and "us" in written["rows"][rows[1].name]["quick"]["versions"]["eager"]
    assert "compiled" in written["rows"][rows[0].name]


def test_ours_breaking_the_device_by_itself_is_a_failure(tmp_path):
    class Breaking(FakeTimer):
        def release(self):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    for _ in range(2):
        with pytest.raises(gpu_bench.DeviceBroken):
            Bench(Breaking(), tmp_path / "bench.json", 60, CEILINGS).run([Row("warp", SMALL, "fp32")])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert "illegal memory access" in written["failure"]


def test_the_program_is_started_again_while_rows_break_the_device(tmp_path, monkeypatch):
    codes = [gpu_bench.BROKEN, gpu_bench.BROKEN, 1]
    commands = []

    def run(command):
        commands.append(command)
        return subprocess.CompletedProcess(command, codes[len(commands) - 1])

    monkeypatch.setattr(subprocess, "run", run)
    assert gpu_bench.supervise(tmp_path / "bench.json", 60) == 1
    assert len(commands) == 3 and all("--worker" in command for command in commands)


def test_a_row_that_does_not_fit_is_a_failure_and_the_next_runs(bench, monkeypatch, tmp_path):
    def refuse(op, x):
        raise torch.OutOfMemoryError("CUDA out of memory") if op == "warp" else AssertionError

    monkeypatch.setattr(gpu_versions, "expected", refuse)
    bench.run([Row("warp", SMALL, "fp32")])
    assert "out of memory" in json.loads((tmp_path / "bench.json").read_text())["failure"]


def test_compiling_ahead_calls_what_the_compiled_pass_times(monkeypatch, capsys):
    called = []

    def compile(function, **options):
        return lambda *arguments: called.append(function.__name__) or function(*arguments)

    monkeypatch.setattr(torch, "compile", compile)
    rows = [Row(op, SMALL, "fp32") for op in ("warp backward", "labels", "creff")]
    gpu_bench.compile_ahead(gpu_bench.compiled_rows(rows), "cpu")
    assert called == ["creff", "warp"]  # backwards last, and labels not at all
    assert capsys.readouterr().out.splitlines() == [
        "compiled creff 8x14x18 fp32",
        "compiled warp backward 8x14x18 fp32",
    ]


def test_a_captured_call_keeps_what_it_reads():
    class Graph:
        def replay(self):
            replayed.append(True)

    class Arguments:
        pass

    replayed, arguments = [], Arguments()
    alive = weakref.ref(arguments)
    replay = gpu_timing.Replay(Graph(), lambda kept=arguments: kept, "result")
    del arguments
    assert replay() == "result" and replayed == [True] and alive() is not None


def test_the_clock_measures_versions_in_turn():
    order = []
    timer = gpu_timing.CpuTimer()
    times = gpu_timing.measure(timer, {name: lambda name=name: order.append(name) for name in "ab"}, 0.0)
    assert order == ["a", "b"] * (2 + gpu_timing.LEAST_ROUNDS)
    assert all(len(each) == gpu_timing.LEAST_ROUNDS for each in times.values())
    assert gpu_timing.summary([1e-6, 2e-6, 3e-6, 4e-6, 5e-6]) == {"us": 3.0, "iqr us": [1.5, 4.5], "rounds": 5}


def test_ceilings():
    found = gpu_timing.ceilings(gpu_timing.CpuTimer(), megabytes=1, side=32)
    assert found.copy > 0 and set(found.matmul) == set(gpu_timing.DTYPES)


def test_operations_are_those_that_torch_counts():
    x = Inputs(SMALL, torch.float32, "cpu")
    for op in ("attention", "creff"):
        version = gpu_versions.MAKERS[op](x)["ours"]()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            version.function(*version.arguments)
        bilinear = (gpu_models.WARP + gpu_models.RESIZE) * SMALL.elements if op == "creff" else 0
        assert gpu_models.operations(op, SMALL) == pytest.approx(counter.get_total_flops() + bilinear)
    call = gpu_bench.call_of(Row("attention backward", SMALL, "fp32"), x, gpu_versions.MAKERS["attention"](x)["ours"]())
    with FlopCounterMode(display=False) as counter:
        call()
    assert gpu_models.operations("attention backward", SMALL) == counter.get_total_flops()


def test_bytes_are_those_of_the_maps():
    x = Inputs(SMALL, torch.float16, "cpu")
    size = {
        name: getattr(x, name).nbytes for name in ("reference", "query", "key", "value", "grad", "low_res", "motion")
    }
    out, logsumexp = size["query"], 4 * SMALL.pixels
    expected = {
        "warp": size["reference"] + out + size["motion"],
        "warp backward": size["grad"] + out + size["motion"],
        "attention": size["query"] + size["key"] + size["value"] + out,
        "attention backward": 4 * size["grad"] + 3 * out + logsumexp,
        "creff": size["reference"] + size["low_res"] + size["motion"] + out,
        "creff backward": size["grad"] + size["reference"] + 2 * size["low_res"] + size["motion"],
        "labels": size["reference"] + size["low_res"] + size["motion"] + SMALL.pixels,
    }
    assert {op: gpu_models.least_bytes(op, SMALL, 2) for op in gpu_bench.OPS} == expected


def test_speeds_and_shares():
    big = Shape(64, 720, 960)
    found = gpu_models.speed("creff", big, "bf16", 2, 200e-6, Ceilings(3e12, {"bf16": 1e15}))
    # KERNELS' figures for the fusion: 11.6 GFLOP, about 200 MB in half precision.
    assert found["TFLOP/s"] == pytest.approx(11.6e9 / 200e-6 / 1e12, rel=0.01)
    assert found["GB/s"] == pytest.approx(1000, rel=0.02)
    assert found["share of copy"] == pytest.approx(found["GB/s"] / 3000)
    assert found["share of matmul"] == pytest.approx(found["TFLOP/s"] / 1000)
    assert "TFLOP/s" not in gpu_models.speed("warp", big, "bf16", 2, 1e-4, CEILINGS)


def report_of(us: dict[str, float], **more) -> dict:
    rows = {row: {"quick": {"versions": {"ours": {"us": value, "share of copy": 0.5}}}} for row, value in us.items()}
    for row, ratio in more.pop("chain", {}).items():
        rows[row]["quick"]["versions"]["chain"] = {"us": us[row] * ratio, "times ours": ratio}
    ceilings = {"copy GB/s": 3000, "matmul TFLOP/s": {"fp32": 50, "fp16": 700, "bf16": 700}}
    found = {"status": "passed", "rows": rows, "ceilings": ceilings}
    return {"device": {"name": "NVIDIA H100 80GB HBM3", "torch": "2.11"}, "phases": {"benchmarks": found}}


def test_targets_and_the_summary():
    report = report_of(
        {
            "creff 64x720x960 bf16": 180.0,
            "labels 64x720x960 bf16": 151.0,
            "attention 64x720x960 bf16": 60.0,
            "attention backward 64x720x960 bf16": 180.0,
            "warp 64x720x960 bf16": 70.0,
        },
        chain={"creff 64x720x960 bf16": 20.0},
    )
    met = [found["met"] for found in gpu_table.targets(report)]
    assert met == [True, False, True, True, False, True]
    report["phases"]["memcheck"] = {"status": "failed", "failure": "ERROR SUMMARY: 3 errors"}
    text = "\n".join(gpu_table.summary(report))
    assert "labels out, half, us: 151 (150), missed" in text and "ERROR SUMMARY: 3 errors" in text
    assert "180 50% - 20 - - -" in text
    nothing = {"device": report["device"], "phases": {}}
    assert all(found["met"] is None for found in gpu_table.targets(nothing)) and gpu_table.summary(nothing)


def test_rows_cover_what_is_asked_for():
    names = {row.name for row in gpu_bench.rows()}
    for shape in ("64x720x960", "256x90x120", "512x128x256"):
        for op in ("creff", "warp", "attention"):
            for dtype in ("fp32", "fp16", "bf16"):
                assert {f"{op} {shape} {dtype}", f"{op} backward {shape} {dtype}"} <= names


def test_the_check_writes_its_report_and_fails_with_a_phase(tmp_path, capsys):
    steps = [gpu_check.Phase("build", [sys.executable, "-S", "-c", "raise SystemExit(2)"], 10)]
    report = {"device": {"name": "some GPU", "torch": "2.11"}, "phases": {}}
    assert gpu_check.check(steps, report, tmp_path / "gpu.json", 20, tmp_path) == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["phases"]["build"]["status"] == "failed"
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {tmp_path / 'gpu.json'}"
    assert gpu_check.results_path("NVIDIA H100 80GB HBM3").name == "gpu-nvidia-h100-80gb-hbm3.json"


def test_the_phases_name_files_that_are_there(tmp_path):
    steps = gpu_check.phases("9.0", tmp_path, True)
    assert [step.name for step in steps][-1] == "benchmarks" and "profile" in [step.name for step in steps]
    assert gpu_check.SECONDS <= 465  # of 480: torch is imported before
    for step in steps:
        for word in step.command:
            if word.endswith(".py") and "=" not in word:
                assert (ROOT / word).exists(), word
        assert set(step.needs) <= {"build"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_gpu_it_says_so_in_one_line():
    done = subprocess.run([sys.executable, "benchmarks/gpu_check.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "gpu-check: not run, torch finds no CUDA device here\n"


def without(tmp_path, *modules: str) -> dict[str, str]:
    """An environment in which importing these modules fails."""
    for module in modules:
        (tmp_path / f"{module}.py").write_text(f"raise ImportError('no module {module}')")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "python")])}


def test_without_torch_it_is_one_sentence(tmp_path):
    command = [sys.executable, "benchmarks/gpu_check.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=without(tmp_path, "torch"))
    assert done.returncode == 1 and done.stdout.startswith("gpu-check: there is no torch in") and not done.stderr


@pytest.mark.slow
def test_the_small_program_runs_every_operator():
    command = [sys.executable, "benchmarks/gpu_small.py", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **gpu_check.PATHS})
    assert done.returncode == 0 and done.stdout.endswith("all operators ran\n"), done.stderr


@pytest.mark.slow
def test_the_operator_tests_are_collected_with_torch_and_pytest_alone(tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command += ["--collect-only", "-m", "cuda", "tests/ops"]
    environment = without(tmp_path, "av", "hypothesis", "rich", "typer", "safetensors")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_cuda.py" in done.stdout and "test_device_primitives.py" in done.stdout and "error" not in done.stdout
