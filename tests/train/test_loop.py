import json
import math

import pytest
import torch
from torch import nn

from arseg.train import loop
from arseg.train.averaging import averaged_model
from arseg.train.loop import train
from arseg.train.schedule import Schedule

Losses = loop._Losses


def run(folder, steps, *, stop_at=None, seed=0, lines=None, nan_at=None):
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
        return {"fit": nn.functional.mse_loss(model(batch["x"]), batch["y"]) * (math.nan if seen - 1 == nan_at else 1)}

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


def test_a_run_that_does_not_wait_for_its_losses_is_the_same(tmp_path, monkeypatch):
    """As on a GPU: terms are fetched when a line is due. Weights, lines and the fault's step are those of a CPU."""
    whole = run(tmp_path / "whole", 40)
    monkeypatch.setattr(loop, "_Losses", lambda state, waits: Losses(state, waits=False))
    other = run(tmp_path / "other", 40)
    assert all(torch.equal(whole[key], other[key]) for key in whole)
    first, second = (
        [{**json.loads(line), "seconds_a_step": 0} for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "other")
    )
    assert first == second and len(first) == 8


@pytest.mark.parametrize("waits", [True, False])
def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_its_last_state(tmp_path, monkeypatch, waits):
    monkeypatch.setattr(loop, "_Losses", lambda state, given=waits, **_: Losses(state, given))
    with pytest.raises(FloatingPointError, match=r"step 17: the loss is nan; the last state is in .*state\.pt"):
        run(tmp_path, 40, nan_at=17)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert saved["step"] == 10 and all(value.isfinite().all() for value in saved["model"].values())


def test_it_learns_and_logs(tmp_path):
    run(tmp_path, 60)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(5, 61, 5))
    assert log[-1]["fit"] < 0.5 * log[0]["fit"]


def test_other_settings_do_not_continue_a_run(tmp_path):
    run(tmp_path, 10)
    with pytest.raises(ValueError, match=r"made with steps 10 \(asked for 20\); give the same settings to go on"):
        run(tmp_path, 20)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    schedule = Schedule(100, 1.0, warmup=10)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0, abs=1e-9)
    assert factors[10:] == sorted(factors[10:], reverse=True)


@pytest.mark.parametrize("first", [0, 7, 60])
def test_the_scheduler_follows_the_formula(first):
    """To the bit, in each group, from any step on."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimiser = torch.optim.SGD([{"params": [parameter], "lr": 9.0} for parameter in parameters])
    schedule, scales = Schedule(100, 3e-3, warmup=10), (0.3, 1.0)
    scheduler = schedule.scheduler(optimiser, scales, first)
    for step in range(first, 100):
        factor = (step + 1) / 10 if step < 10 else 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
        assert [group["lr"] for group in optimiser.param_groups] == [3e-3 * scale * factor for scale in scales]
        optimiser.step()
        scheduler.step()


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_follows_the_formula(decay):
    """To the bit: floats by the decay, which begins small; integers are copied."""
    model = nn.BatchNorm1d(3)
    averaged = averaged_model(model, decay)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(1200):
        with torch.no_grad():
            for value in (model.weight, model.bias, model.running_mean):
                value.copy_(torch.randn(3))
        model.num_batches_tracked.add_(7)
        averaged.update_parameters(model)
        now = min(decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            keeps = decay == 0 or not value.is_floating_point()
            expected[key] = value.clone() if keeps else expected[key].lerp(value, 1 - now)
    for key, value in averaged.module.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_the_average_goes_on_where_it_was():
    torch.manual_seed(0)
    models = [nn.Linear(2, 2) for _ in range(8)]
    whole, first = averaged_model(models[0], 0.99), averaged_model(models[0], 0.99)
    for model in models:
        whole.update_parameters(model)
    for model in models[:5]:
        first.update_parameters(model)
    second = averaged_model(models[0], 0.99, steps=5)
    second.module.load_state_dict(first.module.state_dict())
    for model in models[5:]:
        second.update_parameters(model)
    assert torch.equal(whole.module.weight, second.module.weight)
