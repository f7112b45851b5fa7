"""What a run writes down: means of the steps that were made, whatever it was stopped at."""

from __future__ import annotations

import json

from arseg.train.log import RunLog
from arseg.train.schedule import Schedule


def logged(folder, first, last):
    with RunLog(folder, Schedule(100, 1e-3), first, lambda line: None, tensorboard=False) as log:
        for done in range(first + 1, last + 1):
            log.add(done, {"loss": 1.0}, 1e-3)
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_means_after_a_stop_between_two_lines(tmp_path):
    assert [line["step"] for line in logged(tmp_path, 0, 50)] == [20, 40]
    assert [(line["step"], line["loss"]) for line in logged(tmp_path, 50, 80)] == [(20, 1), (40, 1), (60, 1), (80, 1)]


def test_half_a_line_is_none(tmp_path):
    logged(tmp_path, 0, 40)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4')
    assert [line["step"] for line in logged(tmp_path, 40, 60)] == [20, 40, 60]
