"""The GPU benchmarks on the CPU at tiny sizes: rows, checks, time limit, the table, and the whole command."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import gpu_bench
import gpu_check
import gpu_table
import pytest
import torch
from gpu_bench import Bench, case_of

from arseg_ext.profiler import baselines, measure, plain, timing
from arseg_ext.profiler.measure import Case, Ceilings

ROOT = Path(__file__).resolve().parents[2]
SMALL = (8, 14, 18)
CEILINGS = Ceilings(1e12, {"float32": 1e13, "float16": 1e14, "bfloat16": 1e14})


class FakeTimer(timing.CpuTimer):
    """Calls nothing again; the time of the first version is 10 us, that of the next 20 us, and so on."""

    def prepare(self, call):
        return call, "fake"

    def rounds(self, calls, count):
        return {name: [(i + 1) * 1e-5 * (1 + 0.01 * (k % 3)) for k in range(count)] for i, name in enumerate(calls)}

    def host_times(self, call, count=30):
        return [1e-6]

    def peak_memory(self, call):
        return None


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(FakeTimer(), tmp_path / "bench.json", 60, CEILINGS)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """torch.compile takes seconds a function, and it is not what is tested."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    yield
    baselines.forget_compiled()


def row(op: str, direction: str = "forward", dtype: str = "float32") -> Case:
    return case_of(op, direction, SMALL, dtype, "cpu")


def written_in(folder: Path, name: str = "bench.json") -> dict:
    report = json.loads((folder / name).read_text())
    return {**report, "rows": {row["name"]: row for row in report["rows"]}}


def test_every_row(bench, tmp_path):
    dtypes = (gpu_bench.DTYPES * 3)[: len(gpu_bench.CALLS)]
    wanted = [row(*call, dtype) for call, dtype in zip(gpu_bench.CALLS, dtypes, strict=True)]
    bench.run(wanted)
    written = written_in(tmp_path)
    assert "failure" not in written and written["not reached"] == []
    assert set(written["rows"]) == {case.name for case in wanted}
    for case in wanted:
        found = written["rows"][case.name]
        versions, labels = found["versions"], case.problem.op == "creff_labels"
        assert list(versions)[:3] == ["ours", "eager", "chain"], case.name
        assert versions["ours"]["us"] == pytest.approx(10.1, rel=0.01) and versions["eager"]["times ours"] == 2
        assert versions["ours"]["rounds"] >= timing.LEAST_ROUNDS and versions["ours"]["host us"] == 1
        assert found["passes"] == (["quick"] if labels else ["quick", "compiled"])
        assert labels or versions["compiled"]["times ours"] == 2
        assert ("flex" in versions) == (case.problem.op == "local_attention")
    lines = gpu_table.table({"phases": {"benchmarks": json.loads((tmp_path / "bench.json").read_text())}})
    assert len(lines) == 2 + len(gpu_bench.CALLS) and all("FAILED" not in line for line in lines)


def test_a_wrong_result_of_ours_is_a_failure(bench, monkeypatch, tmp_path):
    good = baselines.ours

    def wrong(problem, inputs):
        version = good(problem, inputs)
        factor = 1.5 if problem.op == "mv_warp" else 1.0
        return dataclasses.replace(version, function=lambda *given: factor * version.function(*given))

    monkeypatch.setattr(baselines, "ours", wrong)
    bench.run([row("mv_warp"), row("local_attention")])
    written = written_in(tmp_path)
    warp = written["rows"][row("mv_warp").name]["versions"]
    assert row("mv_warp").name in written["failure"] and "off by" in written["failure"]
    assert "us" not in warp["ours"] and "times ours" not in warp["eager"]
    assert "us" in written["rows"][row("local_attention").name]["versions"]["ours"]
    report = {"phases": {"benchmarks": json.loads((tmp_path / "bench.json").read_text())}}
    assert "FAILED" in gpu_table.cell(report, "mv_warp 8x14x18", "fp32")


def test_a_baseline_that_breaks_costs_the_others_nothing(bench, monkeypatch, tmp_path):
    def breaks(*arguments):
        raise RuntimeError("out of resources")

    def nan(query, key, value):
        return query * float("nan")

    case = row("local_attention", dtype="bfloat16")
    monkeypatch.setattr(plain, "chain_attention", lambda *options: breaks)
    bench.run([case])
    versions = written_in(tmp_path)["rows"][case.name]["versions"]
    assert versions["chain"] == {"failure": "RuntimeError: out of resources"} and "us" in versions["ours"]
    monkeypatch.setattr(plain, "chain_attention", lambda *options: nan)
    Bench(FakeTimer(), tmp_path / "other.json", 60, CEILINGS).run([case])
    written = written_in(tmp_path, "other.json")
    assert "off by inf" in written["rows"][case.name]["versions"]["chain"]["failure"] and "failure" not in written


def test_what_the_time_does_not_suffice_for_is_named(tmp_path):
    name = row("mv_warp").name
    Bench(FakeTimer(), tmp_path / "bench.json", 0, CEILINGS).run([row("mv_warp")])
    written = written_in(tmp_path)
    assert written["not reached"] == [f"{name}, quick", f"{name}, compiled"]
    assert "not reached in time" in written["summary"] and "failure" not in written
    # A row is not begun either that would not be ready in time, by what the one before took.
    Bench(FakeTimer(), tmp_path / "bench.json", gpu_bench.FIRST_GUESS["compiled"] - 1).run([row("mv_warp")])
    assert written_in(tmp_path)["not reached"] == [f"{name}, compiled"]


class Breaking(FakeTimer):
    def release(self):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")


def test_a_row_that_breaks_the_device_is_told_and_another_process_goes_on(tmp_path):
    wanted = [row("mv_warp"), row("mv_warp", dtype="bfloat16")]
    names = [case.name for case in wanted]
    with pytest.raises(gpu_bench.DeviceBroken):
        Bench(Breaking(), tmp_path / "bench.json", 60, CEILINGS).run(wanted)
    told = "CUDA error: an illegal memory access was encountered"
    written = written_in(tmp_path)
    assert list(written["rows"]) == names[:1] and written["rows"][names[0]]["wrong"] == told
    # The next process runs ours of that row alone, and goes on.
    Bench(FakeTimer(), tmp_path / "bench.json", 60).run(wanted)
    written = written_in(tmp_path)
    again = written["rows"][names[0]]
    assert again["broke the device"] == {"quick": told} and again["repeated"] == ["quick"]
    assert "us" in again["versions"]["ours"] and again["passes"] == ["quick", "compiled"]
    assert "failure" not in written and "us" in written["rows"][names[1]]["versions"]["eager"]


def test_ours_breaking_the_device_by_itself_is_a_failure(tmp_path):
    for _ in range(2):
        with pytest.raises(gpu_bench.DeviceBroken):
            Bench(Breaking(), tmp_path / "bench.json", 60, CEILINGS).run([row("mv_warp")])
    assert "illegal memory access" in written_in(tmp_path)["failure"]
    Bench(FakeTimer(), tmp_path / "bench.json", 60).run([row("mv_warp")], passes=("quick",))
    assert "illegal memory access" in written_in(tmp_path)["failure"]  # not tried a third time


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
    expected = measure.expected_of

    def refuse(case, *rest):
        if case.problem.op == "mv_warp":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return expected(case, *rest)

    monkeypatch.setattr(measure, "expected_of", refuse)
    bench.run([row("mv_warp"), row("local_attention")])
    written = written_in(tmp_path)
    assert "out of memory" in written["failure"]
    assert "us" in written["rows"][row("local_attention").name]["versions"]["ours"]


def test_compiling_ahead_calls_what_the_compiled_pass_times(monkeypatch, capsys):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled.append(function) or function)
    wanted = [row("mv_warp", "backward"), row("creff_labels"), row("creff")]
    gpu_bench.compile_ahead(gpu_bench.compiled_rows(wanted))
    assert len(compiled) == 2  # backwards last, and labels not at all
    assert capsys.readouterr().out.splitlines() == [
        "compiled creff 8x14x18 fp32",
        "compiled mv_warp 8x14x18 fp32 backward",
    ]


def report_of(us: dict[tuple[str, str], float], chain: float = 0.0) -> dict:
    rows = []
    for (op, direction), value in us.items():
        versions = {"ours": {"us": value, "share of copy": 0.5}}
        if chain and op == "creff":
            versions["chain"] = {"us": value * chain, "times ours": chain}
        problem = {"op": op, "shape": [1, 64, 720, 960], "dtype": "bfloat16"}
        rows.append({"op": op, "direction": direction, "problem": problem, "versions": versions})
    ceilings = {"cuda": {"copy GB/s": 3000, "matmul GFLOP/s": {"float32": 5e4, "float16": 7e5, "bfloat16": 7e5}}}
    found = {"status": "passed", "rows": rows, "ceilings": ceilings}
    return {"device": {"name": "NVIDIA H100 80GB HBM3", "torch": "2.11"}, "phases": {"benchmarks": found}}


def test_targets_and_the_summary():
    report = report_of(
        {
            ("creff", "forward"): 180.0,
            ("creff_labels", "forward"): 151.0,
            ("local_attention", "forward"): 60.0,
            ("local_attention", "backward"): 180.0,
            ("mv_warp", "forward"): 70.0,
        },
        chain=20.0,
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
    found = {(c.problem.op, c.direction, c.problem.shape[1:], c.problem.dtype) for c in gpu_bench.rows()}
    for size in ((64, 720, 960), (256, 90, 120), (512, 128, 256)):
        for op in ("creff", "mv_warp", "local_attention"):
            for dtype in ("float32", "float16", "bfloat16"):
                assert {(op, "forward", size, dtype), (op, "backward", size, dtype)} <= found


def test_the_check_writes_its_report_and_fails_with_a_phase(tmp_path, capsys):
    steps = [gpu_check.Phase("build", [sys.executable, "-S", "-c", "raise SystemExit(2)"], 10)]
    report = {"device": {"name": "some GPU", "torch": "2.11"}, "phases": {}}
    assert gpu_check.check(steps, report, tmp_path / "gpu.json", 20, tmp_path) == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["phases"]["build"]["status"] == "failed"
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {tmp_path / 'gpu.json'}"
    assert gpu_check.results_path("NVIDIA H100 80GB HBM3").name == "gpu-nvidia-h100-80gb-hbm3.json"


def test_the_phases_name_files_that_are_there(tmp_path):
    steps = gpu_check.phases("9.0", tmp_path, True)
    assert [step.name for step in steps][-3:] == ["profile", "benchmarks", "pipeline"]
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
