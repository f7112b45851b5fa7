"""The phases of gpu_check.py with commands that take no GPU: time limits, failures, and a report that is never lost."""

from __future__ import annotations

import fcntl
import json
import sys
import time

import gpu_phases
import pytest
from gpu_phases import (
    Outcome,
    Phase,
    keep_last_good,
    last_good,
    read_json,
    read_sanitizer,
    read_tests,
    run_phases,
    write_json,
)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def run(tmp_path, *phases, seconds=30.0):
    """The report, whether all passed, and the report's file as it was after each phase."""
    report, written, said = {"phases": {}}, [], []

    def save() -> None:
        write_json(tmp_path / "report.json", report)
        written.append(json.loads((tmp_path / "report.json").read_text()))

    passed = run_phases(phases, report, seconds, save, tmp_path / "logs", tmp_path, said.append)
    return report["phases"], passed, written, said


def test_a_failed_phase_is_told_and_the_next_runs(tmp_path):
    phases, passed, written, said = run(
        tmp_path,
        Phase("bad", python("print('what went wrong'); raise SystemExit(3)"), 20),
        Phase("good", python("print('fine')"), 20, lambda outcome: {"summary": outcome.output.strip()}),
    )
    assert not passed
    assert phases["bad"]["status"] == "failed" and phases["bad"]["failure"] == "exit code 3"
    assert "what went wrong" in phases["bad"]["output"]
    assert phases["good"]["status"] == "passed" and phases["good"]["summary"] == "fine"
    assert [list(report["phases"]) for report in written] == [["bad"], ["bad", "good"]]
    assert any("exit code 3" in line for line in said)


def test_time_limits_end_a_phase_and_its_children(tmp_path):
    mark, held = tmp_path / "late", tmp_path / "held"
    child = f"import fcntl, time; f = open({str(held)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
    child += f"time.sleep(60); open({str(mark)!r}, 'w')"
    code = (
        f"import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    )
    phases, passed, _, _ = run(tmp_path, Phase("slow", python(code), 1.0), Phase("next", python("pass"), 10))
    assert not passed and phases["slow"]["status"] == "timeout"
    assert "begun" in phases["slow"]["output"] and phases["next"]["status"] == "passed"
    with held.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # once the child has gone, whichever way
    assert not mark.exists()


@pytest.mark.slow
def test_the_whole_check_has_a_limit_and_keeps_time_for_what_is_wanted_most(tmp_path):
    started = time.monotonic()
    sleep = python("import time; time.sleep(20)")
    phases, passed, _, _ = run(
        tmp_path, Phase("first", sleep, 20), Phase("wanted", python("pass"), 20, at_least=4), seconds=6
    )
    assert time.monotonic() - started < 15 and not passed
    assert phases["first"]["status"] == "timeout" and phases["first"]["seconds"] < 4
    assert phases["wanted"]["status"] == "passed"
    assert run(tmp_path, Phase("none left", sleep, 20), seconds=0.5)[0]["none left"]["status"] == "skipped"


def test_what_cannot_run_is_skipped_with_a_reason(tmp_path):
    phases, passed, _, _ = run(
        tmp_path,
        Phase("build", python("raise SystemExit(1)"), 10),
        Phase("tests", python("pass"), 10, needs=("build",)),
        Phase("tool", python("pass"), 10, missing="it is not installed"),
        Phase("no program", ["/nonexistent/program"], 10),
    )
    assert not passed
    assert phases["tests"] == {"status": "skipped", "reason": "build has not passed"}
    assert phases["tool"] == {"status": "skipped", "reason": "it is not installed"}
    assert phases["no program"]["status"] == "failed"
    assert run(tmp_path, Phase("tool", [], 10, missing="it is not installed"))[1]


def test_one_beside_the_others_ends_before_what_runs_alone(tmp_path):
    mark = tmp_path / "beats"
    beat = f"import time\nwhile True: open({str(mark)!r}, 'a').write('.'); time.sleep(0.05)"
    wait = python(f"import time, pathlib\nwhile not pathlib.Path({str(mark)!r}).exists(): time.sleep(0.05)")
    alone = python(f"import time, pathlib; p = pathlib.Path({str(mark)!r}); n = p.stat().st_size; time.sleep(0.6); "
                   "raise SystemExit(p.stat().st_size != n)")  # fmt: skip
    phases, passed, _, _ = run(
        tmp_path,
        Phase("beat", python(beat), 30, background=True),
        Phase("wait", wait, 10),
        Phase("alone", alone, 10, alone=True),
    )
    assert passed, phases


def test_neighbours_run_together_and_what_comes_behind_waits(tmp_path):
    """Each of the two ends only when it sees the other; the third finds both marks."""

    def meets(mine, other):
        wait = f"while not pathlib.Path({str(tmp_path / other)!r}).exists(): time.sleep(0.01)"
        return python(f"import pathlib, time\npathlib.Path({str(tmp_path / mine)!r}).touch()\n{wait}")

    last = python(f"import pathlib; assert pathlib.Path({str(tmp_path / 'a')!r}).exists()")
    phases, passed, written, _ = run(
        tmp_path,
        Phase("a", meets("a", "b"), 20, together=True),
        Phase("b", meets("b", "a"), 20, together=True),
        Phase("last", last, 20),
    )
    assert passed and set(phases) == {"a", "b", "last"}
    assert all("last" not in report["phases"] for report in written[:2])


def test_what_a_phase_has_so_far_is_in_the_report_before_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_phases, "TICK", 0.1)
    result = tmp_path / "bench.json"
    code = f"import time; open({str(result)!r}, 'w').write('{{\"rows\": 1}}'); time.sleep(1)"
    phases, passed, written, _ = run(
        tmp_path, Phase("bench", python(code), 20, read_json(result), time_argument="--seconds")
    )
    assert passed and phases["bench"]["status"] == "passed" and phases["bench"]["rows"] == 1
    assert {"status": "under way", "rows": 1} in [report["phases"]["bench"] for report in written]


def test_a_time_argument_is_what_is_left(tmp_path):
    code = "import sys; print(sys.argv[-2:])"
    read = lambda outcome: {"summary": outcome.output}  # noqa: E731
    phases, _, _, _ = run(tmp_path, Phase("bench", python(code), 20, read, time_argument="--seconds"))
    assert phases["bench"]["summary"].startswith("['--seconds', '15']")


def test_a_result_that_cannot_be_read_is_a_failure(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    for path, words in ((tmp_path / "bad.json", "could not be read"), (tmp_path / "none.json", "wrote no result")):
        phases, passed, _, _ = run(tmp_path, Phase("bench", python("pass"), 10, read_json(path)))
        assert not passed and words in phases["bench"]["failure"]


@pytest.mark.slow
def test_read_tests(tmp_path):
    suite = tmp_path / "test_some.py"
    suite.write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2, 'one is not two'\n"
        "@pytest.mark.skip(reason='one device')\ndef test_c(): pass\n"
    )
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(suite)]
    phases, passed, _, _ = run(tmp_path, Phase("tests", command, 60, read_tests(report)))
    found = phases["tests"]
    assert not passed and found["tests"] == 3 and found["failures"] == 1 and found["skipped"] == 1
    assert "test_b" in found["failure"] and "one is not two" in found["failed"][0]["message"]
    assert "one device" in found["skipped tests"][0]
    suite.write_text("import pytest\n@pytest.mark.skip(reason='no GPU')\ndef test_c(): pass\n")
    assert run(tmp_path, Phase("tests", command, 60, read_tests(report)))[0]["tests"]["failure"] == "no test ran"


@pytest.mark.parametrize(
    "summary, right",
    [
        ("========= ERROR SUMMARY: 0 errors", True),
        ("========= ERROR SUMMARY: 12 errors", False),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", True),
        ("========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)", False),
        ("", False),
    ],
)
def test_read_sanitizer(summary, right):
    assert ("failure" not in read_sanitizer(Outcome(0, f"all operators ran\n{summary}\n"))) == right
    assert "failure" in read_sanitizer(Outcome(0, f"{summary}\n"))  # the program broke off


def test_what_passed_before_stays_with_its_commit(tmp_path):
    first = {"device": {"commit": "a1", "time": "1"}, "phases": {"tests": {"status": "passed", "summary": "3 tests"}}}
    first["phases"]["build"] = {"status": "passed"}
    second = {"device": {"commit": "b2", "time": "2"}, "phases": {"build": {"status": "passed"}}}
    keep_last_good(second, last_good(first))  # broken off before its tests
    tests = {"commit": "a1", "time": "1", "status": "passed", "summary": "3 tests"}
    assert second["last good"] == {"tests": tests}
    third = {"device": {"commit": "c3", "time": "3"}, "phases": {"tests": {"status": "timeout"}}}
    keep_last_good(third, last_good(second))
    assert third["last good"] == {"tests": tests, "build": {"commit": "b2", "time": "2", "status": "passed"}}
    third["phases"]["tests"] = {"status": "passed"}
    keep_last_good(third, last_good(second))
    assert list(third["last good"]) == ["build"]


def test_the_report_is_never_half_written(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
