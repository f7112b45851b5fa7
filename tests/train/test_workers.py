"""Batches made by processes: the same as those of one process, and what happens when something goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from arseg.errors import InputError, MemoryLimitError
from arseg.train import distributed
from arseg.train.batches import batches
from arseg.train.workers import SharedSlots, check_workers, default_workers, telling_of_dead


def make(step, rng):
    """Batches whose size changes, of which some do not fit into a slot made for the first."""
    rows = 4 * (1 + step % 3)
    return {"x": torch.from_numpy(rng.random((4, rows), np.float32)), "step": step, "size": (step, 2)}


def all_of(first=0, steps=9, **options):
    return [
        (step, [{**part, "x": part["x"].clone()} for part in parts])
        for step, parts in batches(make, first, steps, 7, **options)
    ]


def assert_same(found, expected):
    assert [step for step, _ in found] == [step for step, _ in expected]
    for (_, parts), (_, others) in zip(found, expected, strict=True):
        assert len(parts) == len(others)
        for a, b in zip(parts, others, strict=True):
            assert (
                a.keys() == b.keys()
                and torch.equal(a["x"], b["x"])
                and (a["step"], a["size"]) == (b["step"], b["size"])
            )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_processes_makes_the_same_batches(workers, monkeypatch):
    assert_same(all_of(workers=workers), all_of())
    assert_same(all_of(first=5, workers=workers), all_of()[5:])
    assert_same(all_of(first=8, workers=workers), all_of()[8:])
    assert all_of(first=9, workers=workers) == []
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert_same(all_of(steps=4, accumulate=2, workers=workers), all_of(steps=4, accumulate=2))


def test_a_batch_that_is_kept_is_not_written_over():
    kept = [parts[0] for _, parts in batches(make, 0, 9, 7, workers=1)]
    for (_, (expected,)), found in zip(batches(make, 0, 9, 7), kept, strict=True):
        assert torch.equal(expected["x"], found["x"])


def test_slots_hold_what_was_put_whether_it_fits_or_not():
    slots = SharedSlots(2, 100)
    for step, size in ((0, 10), (1, 2000), (2, 1), (3, 0)):
        made = [{"x": torch.arange(size), "y": torch.ones(3, 2).T, "name": "a"}]
        (found,) = slots.taken(slots.put(step, made))
        assert torch.equal(found["x"], made[0]["x"]) and torch.equal(found["y"], made[0]["y"]) and found["name"] == "a"


def test_a_fault_in_the_data_is_told_as_in_one_process():
    def broken(step, rng):
        if step == 3:
            raise InputError("frame 3: broken")
        return make(step, rng)

    seen = []
    with pytest.raises(InputError, match=r"^frame 3: broken$"):
        for step, _ in batches(broken, 0, 9, 7, workers=2):
            seen.append(step)
    assert seen == [0, 1, 2]


def test_a_process_that_dies_is_told_in_a_sentence():
    def dying(step, rng):
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(step, rng)

    with (
        pytest.raises(MemoryLimitError, match=r"workers: one of 2 processes was ended from outside.*\(--workers\)"),
        telling_of_dead(2),
    ):
        for _ in batches(dying, 0, 9, 7, workers=2):
            time.sleep(0.01)


SCRIPT = """
import sys, time, torch
from pathlib import Path
from torch import nn
from arseg.train.loop import train
from arseg.train.schedule import Schedule
model = nn.Linear(4, 1)
def loss(batch):
    Path(sys.argv[1]).touch()
    time.sleep(0.05)
    return {"fit": model(batch["x"]).square().mean()}
train(
    model, [{"params": list(model.parameters())}], lambda step, rng: {"x": torch.ones(2, 4)}, loss,
    Schedule(10_000, 1e-3), Path(sys.argv[2]), settings={}, workers=2,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_stays_behind(tmp_path, how):
    """After Ctrl-C, which reaches all of them, and after the end of the training process alone."""
    started = tmp_path / "started"
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(started), str(tmp_path / "run")], start_new_session=True, stderr=-3
    )
    wait_for(started.exists)
    assert len(alive(run.pid)) == 3
    (os.killpg if how == signal.SIGINT else os.kill)(run.pid, how)
    assert run.wait(60) != 0
    wait_for(lambda: not alive(run.pid))


def alive(session: int) -> list[int]:
    """Processes of a session that are not zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, theirs = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(theirs) == session and state != "Z":
            found.append(int(entry.parent.name))
    return found


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in a minute"
        time.sleep(0.05)


def test_what_does_not_go_is_said():
    with pytest.raises(InputError, match="workers: expected at least 0, got -1"):
        check_workers(-1)
    check_workers(0)
    check_workers(None)


def test_how_many_follows_from_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert default_workers(torch.device("cpu")) == 0
    assert default_workers(torch.device("cuda")) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert default_workers(torch.device("cuda")) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert default_workers(torch.device("cuda")) == 0
