"""The profiler's command, in this process, on tiny maps."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re

import numpy as np
import pytest
import torch

from arseg_ext.profiler import cli, compare, measure, nvtx, results, timing
from arseg_ext.profiler.problems import SMALL

BOTH = ("--direction", "forward", "backward")


def tiny_ceilings(timer, dtypes):
    """Products and copies of an ordinary size take seconds."""
    matmul = {name: timing.matmul_speed(timer, getattr(torch, name), 32) for name in dtypes}
    return measure.Ceilings(timing.copy_speed(timer, 1), matmul)


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch):
    monkeypatch.setattr(measure, "ceilings_of", tiny_ceilings)


def profile(*arguments: str) -> int:
    return cli.main([*arguments, "--baselines", "eager", "--rounds", "3"])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Measured once."""
    path = tmp_path_factory.mktemp("profile") / "new.json"
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()) as shown:
        patched.setattr(measure, "ceilings_of", tiny_ceilings)
        assert profile("local_attention", "mv_warp", "--shape", "small", "--json", str(path), *BOTH) == 0
    path.with_suffix(".txt").write_text(shown.getvalue(), encoding="utf-8")
    return path


def test_dry_run_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr(measure, "run", None)
    assert (
        cli.main(["--dry-run", "--shape", "64x720x960", "--dtype", "bf16", "--direction", "forward", "training"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("versions: ours, eager, compiled, flex, natten, localAttention")
    assert len(lines) == 1 + 7 + 5  # labels have no gradients
    assert "creff 64x720x960 bf16: 11.61 GFLOP, 199.1 MB; reference [1, 64, 720, 960], low_res" in "\n".join(lines)


def test_rows_versions_and_figures(report):
    shown = report.with_suffix(".txt").read_text(encoding="utf-8")
    found = results.read(report)
    assert len(found["rows"]) == 2 * 4
    for row in found["rows"]:
        assert list(row["versions"]) == ["ours", "eager"] and row["name"] in shown
        ours, eager = row["versions"].values()
        low, high = ours["quartiles us"]
        assert 0 < low <= ours["us"] <= high and ours["rounds"] == 3 and ours["difference"] < 1e-5
        assert 0.1 < eager["times ours"] * ours["us"] / eager["us"] < 10  # the median of the ratios of the rounds
        moved = row["bytes read"] + row["bytes written"]
        assert ours["GB/s"] == pytest.approx(moved / ours["us"] / 1e3, rel=1e-3)
        assert ours["GFLOP/s"] == pytest.approx(row["flops"] / ours["us"] / 1e3, rel=1e-3)
        assert ours["host us"] > 0
    assert found["facts"]["torch"] == torch.__version__ and found["ceilings"]["cpu"]["copy GB/s"] > 0


def test_results_are_shown_again(report, capsys):
    capsys.readouterr()
    assert cli.main(["--show", str(report)]) == 0
    assert results.read(report)["rows"][0]["name"] in capsys.readouterr().out


def slowed(report: results.Report, factor: float, *versions: str) -> results.Report:
    changed = copy.deepcopy(report)
    for row in changed["rows"]:
        for name in versions:
            row["versions"][name]["us"] *= factor
            row["versions"][name]["quartiles us"] = [each * factor for each in row["versions"][name]["quartiles us"]]
    return changed


def steady(report: results.Report) -> results.Report:
    """Quartiles 5 % around the median: what a quiet machine has."""
    changed = copy.deepcopy(report)
    for row in changed["rows"]:
        for version in [*row["versions"].values(), row["control"]]:
            version["quartiles us"] = [0.95 * version["us"], 1.05 * version["us"]]
    return changed


def test_compare_tells_a_slowdown_from_noise(report):
    then = steady(results.read(report))
    verdicts = lambda now: {change.verdict for change in compare.compare(then, now)}  # noqa: E731
    assert verdicts(then) == {"same"}
    assert verdicts(slowed(then, 1.08, "ours")) == {"same"}  # quartiles overlap
    assert verdicts(slowed(then, 1.3, "ours")) == {"slower"}
    assert verdicts(slowed(then, 0.7, "ours")) == {"faster"}
    assert verdicts(slowed(then, 1.3, "ours", "eager")) == {"same"}  # the machine is slower
    slow = slowed(then, 1.3, "ours")
    for row in slow["rows"]:  # the same told by the copy alone
        row["versions"].pop("eager")
        row["control"]["quartiles us"] = [1.3 * each for each in row["control"]["quartiles us"]]
    assert verdicts(slow) == {"same"}
    assert verdicts(slowed(then, 1.3, "eager")) == {"same"}
    assert len(compare.compare(then, then)) == len(then["rows"])


def test_compare_decides_the_exit_status(report, tmp_path, capsys):
    then = steady(results.read(report))
    old, new = tmp_path / "old.json", tmp_path / "slow.json"
    results.write(old, then)
    results.write(new, slowed(then, 1.5, "ours"))
    assert cli.main(["--show", str(new), "--compare", str(old)]) == 1
    assert re.search(r"^slower local_attention .*: 1\.500 x", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["--show", str(old), "--compare", str(old)]) == 0
    assert cli.main(["--show", str(old), "--compare", str(new)]) == 0  # faster


def test_what_does_not_fit_is_told_and_the_next_row_runs(monkeypatch, capsys):
    run = measure.run

    def refuse(case, *rest):
        if case.problem.op == "mv_warp":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(case, *rest)

    monkeypatch.setattr(measure, "run", refuse)
    assert profile("mv_warp", "flow_warp", "--shape", "1x3x4x5") == 1
    shown = capsys.readouterr().out
    assert "WRONG  mv_warp 3x4x5 fp32: OutOfMemoryError: CUDA out of memory" in shown and "flow_warp 3x4x5" in shown


def test_ratios_are_of_the_rounds():
    found = measure.summary([2e-6, 4e-6, 90e-6], [1e-6, 4e-6, 30e-6])
    assert found == {"us": 4.0, "quartiles us": [3.0, 47.0], "rounds": 3, "times ours": 2.0}


def test_a_wrong_result_of_ours_is_told(monkeypatch, capsys):
    monkeypatch.setitem(measure.TOLERANCE, "float32", -1.0)
    assert profile("mv_warp", "--shape", "1x3x4x5") == 1
    assert "WRONG  mv_warp 3x4x5 fp32: off by" in capsys.readouterr().out


def test_the_page_needs_nothing_beside_itself(report, tmp_path):
    page = tmp_path / "page.html"
    assert cli.main(["--show", str(report), "--compare", str(report), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert not re.search(
        r"https?:|//|\bsrc=|href=|url\(|@import|<script", text.split("<body>")[0].replace("<!doctype", "")
    )
    assert not re.search(r"https?:|\bsrc=|href=|<script|<link|<iframe", text)
    assert text.count("<svg") == 1 + len(results.read(report)["rows"])  # the roofline, and bars
    assert "prefers-color-scheme: dark" in text and "nan" not in text.lower().replace("nanosecond", "")
    for row in results.read(report)["rows"]:
        assert row["name"] in text


def test_inputs_of_a_file(tmp_path, capsys):
    problem = SMALL[0]
    tensors = problem.inputs(seed=9).tensors
    path = tmp_path / "field.npz"
    np.savez(path, motion=tensors["motion"].numpy(), shape=problem.shape, block=16, frame_size=(40, 56))
    assert cli.main(["--inputs", str(path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    operators = [line.split()[0] for line in lines[1:]]
    assert operators == ["mv_warp", "creff", "creff_logits", "creff_labels"]
    assert lines[1].startswith("mv_warp 2x3x5x7 of field fp32 frame_size=40x56")
    assert profile("mv_warp", "creff_labels", "--inputs", str(path), "--json", str(tmp_path / "a.json")) == 0
    assert len(results.read(tmp_path / "a.json")["rows"]) == 2


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        ({"motoin": [1]}, "motoin is no argument of an operator; expected some of"),
        ({"motion": np.zeros((1, 3, 4, 2), np.int16)}, r"expected reference or shape \[N, C, H, W\] in it, or --shape"),
        ({"shape": (1, 2, 4, 5), "motion": np.zeros((1, 3), np.int16)}, r"motion must be \[1, 45, 60, 2\] for creff"),
        ({"query": np.zeros((1, 3, 4, 2))}, "holds no argument of creff; expected some of reference, low_res"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(tmp_path, capsys, arrays, sentence):
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    assert profile("creff", "--inputs", str(path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(sentence, line)


def test_captured_calls(tmp_path, monkeypatch, capsys):
    from arseg_ext import ops
    from arseg_ext.profiler import capture
    from arseg_ext.profiler.problems import OPERATORS

    with monkeypatch.context() as patched:
        for name in OPERATORS:
            patched.setattr(ops, name, getattr(ops, name))
        capture.install(tmp_path)
        SMALL[4].call(SMALL[4].inputs(grad=True))
        SMALL[0].call(SMALL[0].inputs())
    path = str(tmp_path / "replay.json")
    assert profile("--replay", str(tmp_path), "--direction", "forward", "backward", "--json", path) == 0
    names = [row["name"] for row in results.read(path)["rows"]]
    assert [name.split()[0] for name in names] == ["local_attention", "local_attention", "mv_warp", "mv_warp"]
    assert profile("creff", "--replay", str(tmp_path)) == 2


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["wrap"], "operator: expected some of mv_warp, .*, got 'wrap'"),
        (["--shape", "3x4"], "--shape: expected sizes such as 256x90x120, got '3x4'"),
        (["--dtype", "int8"], "--dtype: expected some of float32, .*, got 'int8'"),
        (["--device", "tpu0x"], "--device: expected cpu, cuda or cuda:N, got 'tpu0x'"),
        (["--window", "a"], "--window: expected sizes such as 7 or 3x5, got 'a'"),
        (["--baselines", "best"], "--baselines: expected some of eager, .*, or none, got 'best'"),
        (["creff_labels", "--direction", "backward"], "creff_labels has no gradient"),
        (["--compare", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--inputs", "nowhere.npz"], "nowhere.npz: cannot be read"),
        (["--frozen", "me"], "--frozen: expected arguments of an operator, got 'me'"),
        (["--rounds", "two"], "argument --rounds: invalid int value: 'two'"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, sentence, capsys):
    assert cli.main(["creff", *arguments] if arguments[0].startswith("-") else arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("profiler: ") and re.search(sentence, line)


def test_results_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "other.json"
    later = '{"format": "arseg profile", "version": 9}'
    for text, sentence in (("[", "something else"), ("{}", "other JSON"), (later, "version 9")):
        path.write_text(text)
        with pytest.raises(results.ResultsError, match=sentence):
            results.read(path)
    results.write(path, results.new())
    assert json.loads(path.read_text())["version"] == results.VERSION


def test_kernels_and_ranges(monkeypatch, capsys, tmp_path):
    spans = []
    monkeypatch.setattr(nvtx, "span", lambda name: spans.append(name) or timing.no_range(name))
    path = tmp_path / "kernels.json"
    assert profile("mv_warp", "--shape", "3x4x5", "--kernels", "--nvtx", "--json", str(path)) == 0
    (row,) = results.read(path)["rows"]
    assert "arseg::mv_warp" in {each["name"] for each in row["versions"]["ours"]["kernels"]}
    assert "arseg::mv_warp" in capsys.readouterr().out
    assert spans[-3:] == ["ours", "eager", "control"]
