"""`arseg fit` from data to report, on tiny data: runs, stops, goes on, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from arseg.errors import InputError
from arseg.fit.config import config_of, read_fit_config
from arseg.fit.measure import _step_times, measure
from arseg.fit.plan import open_plan
from arseg.fit.run import network_to_adapt, run_plan, status_of
from arseg.networks.registry import make_network
from arseg.weights.files import load_checkpoint, read_config

pytestmark = pytest.mark.slow  # trains

pytest.importorskip("timm")

LINE = "timm:mobilenetv3_small_050?pretrained=false&channels=8"
TINY = {
    "model.line": LINE,
    "data.licence": "CC0",
    "hr.steps": 3,
    "hr.batch": 2,
    "hr.crop": [64, 96],
    "hr.qualities": [25],
    "ar.low_steps": 2,
    "ar.low_batch": 2,
    "ar.steps": 3,
    "ar.batch": 3,
    "ar.crop": [64, 96],
    "ar.window": 3,
    "ar.calibration": 1,
    "adapt.steps": 2,
    "adapt.batch": 1,
    "adapt.crop": [64, 96],
    "adapt.measured": 1,
    "adapt.window": 3,
    "eval.stills": 1,
    "eval.worst": 1,
    "eval.gop": 4,
}


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """With several, oneDNN rounds the gradients of convolutions over one pixel otherwise from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def settings(labelled, drive):
    """Of a run with every phase."""
    return {**TINY, "data.source": str(labelled), "data.videos": [str(drive)]}


def plan_of(settings, output, **more):
    return open_plan(config_of(("test", {**settings, "output": str(output), **more})))


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory) -> Path:
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("fit") / "whole"
    run_plan(plan_of(settings, folder), silent)
    return folder


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    files = ("hr/hr.safetensors", "ar/ar.safetensors", "adapt/adapted.safetensors", "weights.safetensors")
    return {name: load_file(folder / name) for name in files}


def assert_same(one: Path, other: Path) -> None:
    for (name, a), b in zip(weights(one).items(), weights(other).values(), strict=True):
        assert a.keys() == b.keys(), name
        assert all(torch.equal(a[key], b[key]) for key in a), name


def test_it_ends_with_weights_and_a_report(whole, labelled):
    record = json.loads((whole / "report.json").read_text())
    assert list(record["curves"]) == ["hr", "lr", "warp", "ar", "ar before"]
    assert set(record["classes"]["ar"]) == {"sky", "road", "car"} and set(record["seconds"]) == {"hr", "ar", "adapt"}
    page = (whole / "report.md").read_text()
    assert "1 stills of val, each in a video that was made of it" in page and "![The worst frames](worst.png)" in page
    assert (whole / "worst.png").is_file()
    net = load_checkpoint(whole / "weights.safetensors")
    assert net.known_labels().classes == ("sky", "road", "car")
    made = read_config(whole / "weights.safetensors")[1]["made"]
    assert made["licence"] == "CC0" and made["data"]["fingerprint"] == record["made"]["data"]["fingerprint"]
    assert made["scores"]["mIoU"]["ar"] == record["curves"]["ar"]["mean"] and made["recipe"]["hr"]["steps"] == 3


def test_the_dumped_config_is_the_run(whole):
    again = open_plan(read_fit_config(whole / "config.toml"))
    assert set(status_of(again).values()) == {"done"}
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}
    lines: list[str] = []
    run_plan(again, lines.append)
    assert [line.split("]")[0] for line in lines] == ["[hr", "[ar", "[adapt", "[report"]
    assert all("done already" in line for line in lines)
    assert before == {path: path.stat().st_mtime_ns for path in whole.rglob("*.safetensors")}


class Stopped(Exception):
    pass


def test_stopped_in_each_stage_it_goes_on_to_the_same_weights(whole, settings, tmp_path):
    folder = tmp_path / "run"
    # hr has 3 steps, then the stages of ar 2 and 3, then adapt 2; a stage that was not finished begins anew.
    for wanted in (2, 3 + 1, 2 + 2, 3 + 1):
        left = iter(range(wanted - 1))

        def stop(*_, left=left):
            if next(left, None) is None:
                raise Stopped

        handle = register_optimizer_step_post_hook(stop)
        with pytest.raises(Stopped):
            run_plan(plan_of(settings, folder), silent)
        handle.remove()
    assert status_of(plan_of(settings, folder)) == {"hr": "done", "ar": "done", "adapt": "", "report": ""}
    run_plan(plan_of(settings, folder), silent)
    assert_same(whole, folder)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    happened = [(event["phase"], event["event"]) for event in events]
    assert happened == [
        ("hr", "started"),
        ("hr", "interrupted"),
        ("hr", "resumed"),
        ("hr", "finished"),
        ("ar", "started"),
        ("ar", "interrupted"),
        ("ar", "resumed"),
        ("ar", "interrupted"),
        ("ar", "resumed"),
        ("ar", "finished"),
        ("adapt", "started"),
        ("adapt", "interrupted"),
        ("adapt", "resumed"),
        ("adapt", "finished"),
        ("report", "started"),
        ("report", "finished"),
    ]


def test_killed_it_goes_on(whole, settings, tmp_path):
    """By SIGKILL, after which nothing of the process runs any more."""
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "arseg.cli", "fit", "-o", "run", *given]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "run" / "ar" / "low" / "state.pt"
    while not state.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read()
    plan = plan_of(settings, tmp_path / "run")
    assert status_of(plan) == {"hr": "done", "ar": "begun", "adapt": "", "report": ""}
    run_plan(plan, silent)
    assert_same(whole, tmp_path / "run")


def test_other_settings_are_refused_and_nothing_is_written(whole, settings):
    before = (whole / "fit.json").read_bytes()
    with pytest.raises(InputError, match=r"hr: made with steps 3 \(asked for 4\); give the same settings to go on"):
        run_plan(plan_of(settings, whole, **{"hr.steps": 4}), silent)
    with pytest.raises(InputError, match=r"adapt: made with lr 0.001 \(asked for 0.1\)"):
        run_plan(plan_of(settings, whole, **{"adapt.lr": 0.1}), silent)
    assert (whole / "fit.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(settings, labelled):
    with pytest.raises(InputError, match="exists already and is no run of `arseg fit`; give another output"):
        run_plan(plan_of(settings, labelled), silent)


def test_trained_weights_are_taken_as_they_are(whole, settings, tmp_path):
    """The next run of the report's advice: the network of the first one, the fusion anew."""
    more = {"model.weights": str(whole / "hr" / "hr.safetensors"), "data.videos": []}
    plan = plan_of(settings, tmp_path / "next", **more)
    assert [phase.name for phase in plan.phases] == ["ar", "report"]
    run_plan(plan, silent)
    high, found = load_file(whole / "hr" / "hr.safetensors"), load_file(tmp_path / "next" / "weights.safetensors")
    assert all(torch.equal(found[f"high.{key}"], value) for key, value in high.items())


def test_videos_alone_adapt_a_networks_own_state(drive, settings, tmp_path):
    torch.manual_seed(0)
    network = make_network(LINE, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    line = f"{LINE}&num_classes=3"
    given = {**settings, "model.line": line, "model.weights": str(tmp_path / "own.pth"), "data.videos": [str(drive)]}
    del given["data.source"]
    plan = plan_of(given, tmp_path / "run")
    assert [phase.name for phase in plan.phases] == ["adapt", "report"]
    record = json.loads(run_plan(plan, silent).with_suffix(".json").read_text())
    assert list(record["curves"]) == ["lr", "warp", "ar before", "ar after"] and "held-out end" in record["scored"]
    assert record["worst"] and (tmp_path / "run" / "worst.png").is_file()
    net = load_checkpoint(tmp_path / "run" / "weights.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(net.high.state_dict()[f"network.{key}"], value), key


def test_a_dry_run_measures_real_steps_and_writes_nothing(settings, tmp_path):
    plan = plan_of(settings, tmp_path / "none", **{"ar.steps": 1000, "hr.steps": 3000})
    costs = measure(plan)
    assert not any(tmp_path.iterdir())
    assert list(costs) == ["hr", "ar", "adapt", "report"]
    assert [list(cost.step) for cost in costs.values()] == [
        ["hr"],
        ["low-resolution branch", "branch and fusion"],
        ["branch and fusion"],
        [],
    ]
    for cost in costs.values():
        assert all(pace > 0 for pace in cost.step.values()) and cost.seconds > 0 and cost.memory > 1e8
    assert costs["hr"].seconds >= 3000 * costs["hr"].step["hr"]
    states = {"hr": 1, "ar": 2, "adapt": 1}
    assert all(costs[name].disk > 1e6 * count for name, count in states.items())


def test_steps_are_told_apart_where_an_optimiser_takes_the_place_of_one_that_is_gone():
    with _step_times() as times:
        for count in (3, 2, 4):
            optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
            for _ in range(count):
                optimiser.step()
            del optimiser  # and the next one may get its id
    assert [len(own) for own in times] == [2, 1, 3]


def test_adaptation_goes_on_from_the_fusion_that_there_is(whole, settings, drive, tmp_path):
    """That of phase ar, also where the network came as a state of its own; and the package's, where none is named."""
    network = make_network(LINE, num_classes=3)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    plan = plan_of(settings, tmp_path / "run", **{"model.weights": str(tmp_path / "own.pth")})
    assert plan.trained == "state" and [phase.name for phase in plan.phases] == ["ar", "adapt", "report"]
    net, _ = network_to_adapt(plan, whole / "ar" / "ar.safetensors")
    trained = load_checkpoint(whole / "ar" / "ar.safetensors")
    assert all(torch.equal(net.state_dict()[key], value) for key, value in trained.state_dict().items())
    videos = open_plan(config_of(("test", {"data.videos": [str(drive)], "output": str(tmp_path / "run")})))
    net, _ = network_to_adapt(videos, None)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in load_checkpoint().state_dict().items())
