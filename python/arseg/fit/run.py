"""Runs the phases of a plan in order; each can be stopped at any moment, and what is finished stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from arseg.acceleration.network import AcceleratedNet, accelerate
from arseg.acceleration.parts import split
from arseg.files import save_json, working_in
from arseg.networks.arseg_net import ARSegNet
from arseg.train.adapt import adapt
from arseg.train.inputs import RunInputs
from arseg.train.recipes import RECIPES
from arseg.train.trust import PLAIN
from arseg.weights.files import DEFAULT_WEIGHTS, licence_of, load_state, read_config, save_checkpoint, weights_file
from arseg.weights.made import how_made

from .plan import FUSED, Phase, Plan, kind_of
from .record import RunRecord
from .summary import AGREEMENT, load, made_of, write_report

Report = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A phase at work.

    Attributes:
        before: weights that it goes on from.
        earlier: results of the phases before it, by name.
        report: is given a line now and then.
    """

    plan: Plan
    phase: Phase
    before: Path | None
    earlier: Mapping[str, Path]
    record: RunRecord
    report: Report


def run_plan(plan: Plan, report: Report = print) -> Path:
    """Trains, scores and reports; goes on with what the output folder has.

    Args:
        report: is given a line now and then.

    Returns the path of the report. Raises `InputError`, one sentence, where the folder holds another run or something
    else, and what the phases raise.
    """
    folder = plan.config.output
    record = RunRecord(folder)
    status_of(plan)
    folder.mkdir(parents=True, exist_ok=True)
    with working_in(folder):
        record.begin(plan.config, made_of(plan))
        before = network_of(plan)
        earlier: dict[str, Path] = {}
        for phase in plan.phases:
            done = record.result(phase, before)
            if done is None:
                with record.running(phase, before) as finished:
                    stage = Stage(plan, phase, before, earlier, record, partial(_line, report, phase.name))
                    done = _run(stage)
                    finished(done)
            else:
                report(f"[{phase.name}] done already: {done}")
            earlier[phase.name] = before = done
    return earlier["report"]


def _run(stage: Stage) -> Path:
    try:
        return RUN[stage.phase.name](stage)
    except (KeyboardInterrupt, SystemExit):
        stage.report("stopped; the same command goes on")
        raise


def status_of(plan: Plan) -> dict[str, str]:
    """Where each phase stands, by name: "done", "begun" or "".

    Raises `InputError`, one sentence, where the output folder holds something else, or a phase with other settings.
    """
    record = RunRecord(plan.config.output)
    return {phase.name: record.status(phase) for phase in plan.phases}


def _line(report: Report, phase: str, line: str) -> None:
    report(f"[{phase}] {line}")


def network_of(plan: Plan) -> Path | None:
    """Weights to go on from that the config names; a network's own state becomes such a file first."""
    model = plan.config.model
    if model.path is None:
        return None
    if plan.trained != "state" or plan.sources.data is None:
        return model.path
    # Made anew each time, for the config may name other weights or another cut by now; the same give the same bytes.
    path = plan.config.output / "network.safetensors"
    network: Any = split(model.line or "", features=model.features, classifier=model.classifier)
    load_state(network, model.path)
    config = {**network.made_from, "labels": network.label_set.to_json(), "height": network.input_height}
    save_checkpoint(network.state_dict(), path, kind="hr", config=config, half=False)
    return path


def _train(stage: Stage) -> Path:
    """Phase hr or ar, by its recipe."""
    config, name = stage.plan.config, stage.phase.name
    training, recipe = getattr(config, name), getattr(config, f"{name}_recipe")
    files = {"start": training.start, "branch": training.branch, "teacher": None if name == "hr" else stage.before}
    files |= {} if name == "hr" else {"prepared": config.data.prepared, "validation": config.data.validation}
    paths: dict[str, Any] = {key: weights_file(value) for key, value in files.items() if value is not None}
    inputs = RunInputs(
        output=stage.phase.folder,
        preset=training.preset,
        data=stage.plan.sources.data,
        model=config.model.line,
        licence=config.data.licence or None,
        videos=[str(video) for video in stage.plan.sources.videos],
        device=config.device,
        workers=config.workers,
        tensorboard=config.tensorboard,
        report=stage.report,
        **paths,
    )
    return RECIPES[name][training.preset].run(recipe, inputs)


def _adapt(stage: Stage) -> Path:
    """The fusion on videos, around the network that there is."""
    config = stage.plan.config
    net, save = network_to_adapt(stage.plan, stage.before)
    folder = stage.phase.folder
    found = adapt(net, stage.plan.sources.videos, folder, config.adapt, device=config.device, report=stage.report)
    path = folder / "adapted.safetensors"
    save_json(folder / AGREEMENT, found)
    sources, before = stage.plan.sources, stage.before
    licence = config.data.licence or (None if before is None else licence_of(before))
    save(path, how_made(config.adapt, data=sources.data, licence=licence, videos=sources.videos, weights=before))
    return path


def network_to_adapt(
    plan: Plan, before: Path | None
) -> tuple[AcceleratedNet, Callable[[Path, Mapping[str, Any]], None]]:
    """The network, and what saves it: one with a fusion already goes on from it, around another one is made."""
    config = plan.config
    if before is None and config.model.line is None:
        before = DEFAULT_WEIGHTS
    kind = None if before is None else kind_of(before)
    if before is not None and kind in FUSED:
        net: Any = load(before, config)
        if isinstance(net, AcceleratedNet):
            return net, net.save
        found = read_config(before)[1]
        return _fused(net, found), partial(_save_fused, net, found)
    around: Any = before if kind == "hr" else config.model.line
    net = accelerate(
        around,
        config.model.features,
        config.model.classifier,
        weights=before if kind == "state" else None,
        scale=config.adapt.scale,
        window=config.adapt.window,
    )
    return net, net.save


def _fused(net: Any, config: Mapping[str, Any]) -> AcceleratedNet:
    """An `ARSegNet` of phase ar with what `adapt` asks for besides."""
    net.channels, net.stride, net.window = net.high.channels, getattr(net.high, "stride", None), config["window"]
    return net


def _save_fused(net: ARSegNet, config: Mapping[str, Any], path: Path, made: Mapping[str, Any]) -> None:
    """As phase ar did, with the constants that `adapt` found."""
    found = {name: getattr(net, name) for name in PLAIN}
    config = {**config, **found, "height": net.input_height, "made": dict(made)}
    save_checkpoint(net.state_dict(), path, kind="ar", config=config)


def _report(stage: Stage) -> Path:
    assert stage.before is not None
    return write_report(stage.plan, stage.before, stage.earlier, stage.record.record(), stage.report)


RUN: Mapping[str, Callable[[Stage], Path]] = {"hr": _train, "ar": _train, "adapt": _adapt, "report": _report}
"""What runs each phase; it returns a file in the run's folder."""
