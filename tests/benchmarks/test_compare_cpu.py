"""The CPU rows of the pages."""

from __future__ import annotations

from pathlib import Path

import compare_cpu

from arseg_ext.profiler import results
from arseg_ext.profiler.baselines import BASELINES
from arseg_ext.profiler.problems import Problem


def test_the_results_have_every_row_and_version():
    report = results.read(Path(compare_cpu.__file__).parent / "results" / "cpu.json")
    rows = {row["name"]: row for row in report["rows"]}
    wanted = compare_cpu.chosen([])
    assert set(rows) == {case.name for case, _ in wanted}
    for case, versions in wanted:
        row = rows[case.name]
        assert set(results.times(row)) == {"ours", *versions} and set(versions) <= set(BASELINES)
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row["problem"].items()}
        assert Problem(**fields) == case.problem and row["flops"] == case.problem.flops(case.direction)


def test_rows_are_chosen_by_the_beginnings_of_their_names():
    names = [case.name for case, _ in compare_cpu.chosen(["creff 64x720x960", "flow"])]
    assert names == ["creff 64x720x960 fp32", "flow_warp 64x720x960 fp32", "creff 64x720x960 bf16",
        "flow_warp 64x720x960 bf16"]  # fmt: skip
