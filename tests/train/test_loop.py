import json

import pytest
import torch
from torch import nn

from arseg.train.loop import Ema, Schedule, train


def run(folder, steps, *, stop_at=None, seed=0, lines=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))

    def sample(step, rng):
        x = torch.from_numpy(rng.standard_normal((16, 4)).astype("float32"))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    seen = 0

    def loss(batch):
        nonlocal seen
        seen += 1
        if stop_at is not None and seen > stop_at:
            raise KeyboardInterrupt
        return {"fit": nn.functional.mse_loss(model(batch["x"]), batch["y"])}

    schedule = Schedule(steps, 1e-2, warmup=5, log_every=5, save_every=10)
    report = (lines if lines is not None else []).append
    groups = [{"params": list(model.parameters())}]
    settings = {"steps": steps, "crop": (2, 3)}
    return train(model, groups, sample, loss, schedule, folder, settings=settings, seed=seed, report=report)


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    whole = run(tmp_path / "whole", 40)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", 40, stop_at=27)
    lines = []
    parts = run(tmp_path / "parts", 40, lines=lines)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(5, 41, 5)), "no step is logged twice"
    assert lines[0] == "resumed at step 20 of 40"
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_it_learns_and_logs(tmp_path):
    run(tmp_path, 60)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(5, 61, 5))
    assert log[-1]["fit"] < 0.5 * log[0]["fit"]


def test_other_settings_do_not_continue_a_run(tmp_path):
    run(tmp_path, 10)
    with pytest.raises(ValueError, match=r"made with steps 10 \(asked for 20\); give the same settings to go on"):
        run(tmp_path, 20)


def test_the_rate_warms_up_and_falls_to_zero():
    schedule = Schedule(100, 1.0, warmup=10)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0, abs=1e-9)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_the_mean_follows_the_weights():
    model = nn.BatchNorm1d(2)
    ema = Ema(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model.num_batches_tracked.fill_(7)
    ema.update(model, step=1000)
    assert ema.state["weight"].tolist() == [2.0, 2.0] and ema.state["num_batches_tracked"] == 7
