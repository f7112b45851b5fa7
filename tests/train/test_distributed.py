"""Two processes give what one gives, up to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import parallel_case

from arseg.errors import InputError
from arseg.train import distributed

pytestmark = pytest.mark.slow  # trains, in processes of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def together(folder) -> dict[str, dict[str, torch.Tensor]]:
    """The results of `torchrun` with two processes; the folder "resumed" already holds a part of a run of one."""
    with pytest.raises(KeyboardInterrupt):
        parallel_case.fit(folder / "resumed", stop=7)
    assert torch.load(folder / "resumed" / "state.pt")["step"] == 5
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, parallel_case.__file__, str(folder)], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return torch.load(folder / "results.pt")


@pytest.mark.parametrize("case", ["whole", "accumulated", "resumed"])
def test_two_processes_give_what_one_gives(together, tmp_path, case):
    alone = parallel_case.fit(tmp_path, accumulate=2 if case == "accumulated" else 1)
    assert not torch.equal(alone["7.weight"], parallel_case.network().state_dict()["7.weight"]), "it trains"
    for key, value in alone.items():
        torch.testing.assert_close(together[case][key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_one_process_writes(together, folder):
    assert (folder / "whole" / "log.jsonl").read_text().count("\n") == 3


def test_parts_of_a_batch():
    batch = {"x": torch.arange(6), "frame_size": (4, 5)}
    assert [distributed.part_of(batch, i, 3)["x"].tolist() for i in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert distributed.part_of(batch, 1, 3)["frame_size"] == (4, 5)
    with pytest.raises(
        InputError, match=r"batch: expected a multiple of 4 \(processes times accumulated steps\), got 6"
    ):
        distributed.part_of(batch, 0, 4)


def test_one_process_joins_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.processes() as device:
        assert device.type == "cpu" and distributed.world() == 1 and distributed.is_main_process()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(InputError, match="device: torch finds no CUDA device here, got cuda; use cpu"),
        distributed.processes("cuda"),
    ):
        pass
