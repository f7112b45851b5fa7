"""The end of a run: its weights are scored, and what was found is written down beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from arseg.acceleration.network_source import is_code
from arseg.data.groups import StoredGroup, held_out, store_groups
from arseg.evaluate.by_distance import check_classes, evaluate_passes
from arseg.evaluate.report import notes, scores_record
from arseg.files import replacing, save_json, save_png
from arseg.networks.arseg_net import ARSegNet
from arseg.weights.files import load_checkpoint, save_checkpoint
from arseg.weights.made import how_made

from .advice import Advice, advise
from .config import FitConfig
from .plan import FUSED, Plan
from .report import as_markdown, next_command, worst_picture
from .score import WorstFrame, scored_frames, spread, worst_frames, worst_unlabelled

Report = Callable[[str], None]

AGREEMENT = "agreement.json"
"""In the folder of the phase adapt: what `arseg.train.adapt.adapt` returned."""

WEIGHTS = "weights.safetensors"
"""In the run's folder: those of its last phase, with the scores in their metadata."""


@dataclass
class Found:
    """What was measured.

    Attributes:
        scored: what of, as a sentence.
        curves: by way, "mean" and "by_distance", mIoU in percent.
        classes: by way, IoU of each class in percent.
        made: whether motion was made from stills.
    """

    scored: str
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    worst: list[WorstFrame] = field(default_factory=list)
    made: bool = False


def made_of(plan: Plan) -> dict[str, Any]:
    """How the run is made: command, versions, commit, data and their fingerprint, seed, licence."""
    config = plan.config
    return how_made(
        config.record(),
        data=plan.sources.data,
        licence=config.data.licence or None,
        videos=plan.sources.videos,
        weights=config.model.path,
    )


def load(weights: Path, config: FitConfig) -> Any:
    """The network in a weights file; the config's line makes it where that is code of the user's."""
    line = config.model.line
    return load_checkpoint(weights, line) if line is not None and is_code(line) else load_checkpoint(weights)


def save_final(weights: Path, path: Path, made: Mapping[str, Any]) -> None:
    """The same weights, to the bit, with another record of how they were made."""
    with safe_open(weights, framework="pt") as file:
        meta = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    config = {**json.loads(meta["config"]), "made": dict(made)}
    save_checkpoint(tensors, path, kind=meta["kind"], config=config, half=False)


def write_report(
    plan: Plan, weights: Path, results: Mapping[str, Path], run: Mapping[str, Any], report: Report
) -> Path:
    """Scores `weights`, and writes `report.md`, `report.json` and `worst.png`.

    Args:
        results: weights of the run's phases, by name.
        run: the record of the run, see `RunRecord`.

    Returns the path of `report.md`.
    """
    folder = plan.config.output
    model = load(weights, plan.config)
    found = _labelled(plan, model, results, report) or _agreement(plan, model, results)
    advice = _advice(plan, found, "adapt" if "adapt" in results else "ar")
    picture = None
    if found.worst:
        picture = "worst.png"
        save_png(folder / picture, worst_picture(found.worst, model.known_labels()))
    record = {
        "title": f"{folder.name}: {plan.sources.data.name if plan.sources.data else 'videos without labels'}",
        "weights": WEIGHTS,
        "scored": found.scored,
        "curves": found.curves,
        "classes": found.classes,
        "notes": found.notes,
        "worst": picture and {"picture": picture, "frames": [_named(frame) for frame in found.worst]},
        "advice": [{"why": one.why, "settings": one.settings, "command": _command(plan, one)} for one in advice],
        "made": {key: value for key, value in run["made"].items() if key != "recipe"},
        "seconds": {name: kept["seconds"] for name, kept in run["phases"].items() if name != "report"},
    }
    means = {name: curve["mean"] for name, curve in found.curves.items()}
    save_final(weights, folder / WEIGHTS, {**run["made"], "scores": {"mIoU": means, "of": found.scored}})
    save_json(folder / "report.json", record)
    with replacing(folder / "report.md") as part:
        part.write_text(as_markdown(record))
    return folder / "report.md"


def _labelled(plan: Plan, model: ARSegNet, results: Mapping[str, Path], report: Report) -> Found | None:
    """Scores on the data's `val`; None where it has none."""
    settings = plan.config.eval
    scored = scored_frames(plan.sources, settings, plan.config.output / "val")
    if scored is None:
        return None
    gop = scored.gop
    check_classes(model.known_labels(), scored.name, scored.classes)
    report(f"scoring {scored.sentence}")
    modes: Sequence[Any] = ("hr", "lr", "warp", "ar")
    scores = evaluate_passes(model, scored.passes, modes, gop=gop, report=_silent)
    record = scores_record(scores)
    curves = {mode: {key: record[mode][key] for key in ("mean", "by_distance")} for mode in modes}
    classes = {mode: record[mode]["class_iou"] for mode in modes}
    before = results.get("ar") or (plan.config.model.path if plan.trained in FUSED else None)
    if "adapt" in results and before is not None:
        fused = evaluate_passes(load(before, plan.config), scored.passes, ["ar"], gop=gop, report=_silent)
        entry = scores_record(fused)["ar"]
        curves["ar before"] = {key: entry[key] for key in ("mean", "by_distance")}
    worst = worst_frames(model, scored.passes, gop, settings.worst)
    return Found(scored.sentence, curves, classes, notes(scores), worst, scored.made)


def _agreement(plan: Plan, model: ARSegNet, results: Mapping[str, Path]) -> Found:
    """What `adapt` measured on the held-out part of the videos, the network at full resolution being the truth."""
    if "adapt" not in results:
        return Found("nothing, for the data has no val")
    folder, recipe = results["adapt"].parent, plan.config.adapt
    agreement = json.loads((folder / AGREEMENT).read_text())["agreement"]
    if not agreement:
        return Found("nothing, for no part of the videos was held out")
    curves = {name: {"mean": found["mean_miou"], "by_distance": found["miou"]} for name, found in agreement.items()}
    sentence = "agreement with the network at full resolution on the held-out end of each video, which it never saw"
    groups: list[StoredGroup] = []
    for video in plan.sources.videos:  # they are in the folder already
        found = store_groups(
            video,
            folder / "frames",
            gop=recipe.gop,
            height=recipe.height or model.input_height,
            budget=recipe.cache_gb * 1e9 / len(plan.sources.videos),
        )
        groups += held_out(found, recipe.held_out)[1]
    worst = worst_unlabelled(model, spread(groups, recipe.measured), plan.config.eval.worst)
    return Found(sentence, curves, worst=worst)


def _advice(plan: Plan, found: Found, phase: str) -> list[Advice]:
    curves = {name: curve["by_distance"] for name, curve in found.curves.items()}
    curves["ar"] = curves.get("ar after", curves.get("ar", ()))
    if not curves["ar"]:
        return []
    return advise(curves, plan.config, phase=phase, made=found.made, videos=bool(plan.sources.videos))


def _command(plan: Plan, advice: Advice) -> str | None:
    """The run again with other settings; what they do not touch is not trained again."""
    output = plan.config.output
    keep: dict[str, Any] = {}
    names = [phase.name for phase in plan.phases]
    if "hr" in names:
        keep["model.weights"] = str(output / "hr" / "hr.safetensors")
    return next_command(advice, str(output / "config.toml"), str(output), keep)


def _silent(line: str) -> None:
    pass


def _named(frame: WorstFrame) -> dict[str, Any]:
    return {"name": frame.name, "distance": frame.distance, "miou": round(frame.miou, 1)}
