"""What a run will do: its phases in order, each with what it does, its steps, and what its result depends on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from arseg.data.groups import checksum
from arseg.errors import InputError
from arseg.evaluate.by_distance import check_classes
from arseg.labels import LabelSet
from arseg.segment.segmenter import check_device
from arseg.train.default.for_data import with_epochs
from arseg.train.default.recipes import ArRecipe, HrRecipe
from arseg.weights.files import read_config, weights_file

from .config import FitConfig
from .sources import Sources, open_sources

STAGES: Mapping[str, Mapping[str, str]] = {
    "hr": {"hr": "steps"},
    "ar": {"low-resolution branch": "low_steps", "branch and fusion": "steps"},
    "adapt": {"branch and fusion": "steps"},
}
"""Of each phase, its stages in order and the settings with their numbers of steps."""

FUSED = ("ar", "accelerated")
"""Kinds of weights that have a fusion already."""

NAMES: Mapping[str, str] = {
    "hr": "the network of the keyframes",
    "ar": "the low-resolution branch and its fusion",
    "adapt": "the fusion on videos, the network being the teacher",
    "report": "scores, pictures, and what to try next",
}


@dataclass(frozen=True)
class Phase:
    """One phase of a plan.

    Attributes:
        name: of `NAMES`.
        what: it works on, as a sentence.
        steps: of each of its stages, in their order; empty where its recipe does not say.
        settings: what its result depends on besides the weights of the phase before it, in JSON's terms.
        folder: where it works.
    """

    name: str
    what: str
    steps: Mapping[str, int]
    settings: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Plan:
    """The phases of a run, and what they are of.

    Attributes:
        trained: see `kind_of`; None where the config has no weights.
    """

    config: FitConfig
    sources: Sources
    trained: str | None
    phases: tuple[Phase, ...]


def open_plan(config: FitConfig) -> Plan:
    """The plan for what the config has data for, with recipes that follow from it.

    Raises `InputError`, one sentence, where data, videos or weights are not there or not what they are needed for.
    """
    check_device(config.device)
    sources = open_sources(config)
    prepared = None if sources.prepared is None else sources.prepared.folder
    return make_plan(config.fitted(sources.data, prepared), sources)


def make_plan(config: FitConfig, sources: Sources) -> Plan:
    """`open_plan` for data that are open already, and recipes that fit them."""
    weights = config.model.path
    trained = None if weights is None else kind_of(weights)
    if trained == "state" and config.model.line is None:
        raise InputError(f"[model]: {weights} does not say what network it is of; give line, too")
    if weights is not None and trained != "state" and sources.data is not None:
        found = read_config(weights)[1].get("labels")
        if found is not None:  # before hours of work rather than after them
            check_classes(LabelSet.from_json(found), sources.data.name, sources.data.labels.classes, weights)
    if sources.data is None and sources.prepared is not None and trained is None:
        raise InputError(
            "[data]: prepared trains phase ar alone; give source as well, or [model] weights of a keyframe network"
        )
    names = phases_for(
        stills=sources.data is not None,
        labelled=sources.labelled,
        videos=bool(sources.videos),
        trained=trained,
        ours=is_ours(config.model.line),
    )
    return Plan(config, sources, trained, tuple(_phase(name, config, sources, names) for name in names))


def phases_for(
    *, stills: bool, videos: bool, trained: str | None, ours: bool, labelled: bool | None = None
) -> tuple[str, ...]:
    """The names of the phases that there is data for, in order.

    Args:
        trained: what weights there are already, see `kind_of`.
        ours: whether the network is the package's own: it needs no adaptation where `ar` has seen the videos.
        labelled: whether there are labels of any kind; None: as `stills`.
    """
    names = []
    if stills and trained is None:
        names.append("hr")
    if (stills or labelled) and trained not in FUSED:
        names.append("ar")
    if videos and not ("ar" in names and ours):
        names.append("adapt")
    return (*names, "report")


def is_ours(line: str | None) -> bool:
    """Whether a line of NETWORKS names the default network."""
    return line is None or line.partition("?")[0] == "pyramid"


def kind_of(path: Path) -> str:
    """What a weights file holds: "hr", "ar", "accelerated" of ours, or "state", of a network on its own.

    Raises `InputError` where it is not there, or of another kind.
    """
    if not path.is_file():
        raise InputError(f"[model]: weights: {path}: no such file; expected a .safetensors or .pth file")
    if path.suffix != ".safetensors":
        return "state"
    try:
        with safe_open(path, framework="pt") as file:
            kind = (file.metadata() or {}).get("kind", "state")
    except (SafetensorError, OSError) as error:
        raise InputError(f"[model]: weights: {path}: not a readable .safetensors file ({error})") from error
    if kind not in ("hr", *FUSED, "state"):
        raise InputError(f"[model]: weights: {path}: expected weights of a whole network, got some of kind {kind!r}")
    return kind


def _phase(name: str, config: FitConfig, sources: Sources, names: tuple[str, ...]) -> Phase:
    recipe = _recipe(name, config)
    if isinstance(recipe, (HrRecipe, ArRecipe)) and sources.stills:
        recipe = with_epochs(recipe, sources.stills)  # type: ignore[type-var]
    steps = {stage: getattr(recipe, key, None) for stage, key in STAGES.get(name, {}).items()}
    settings = _settings(name, config, sources)
    what = _what(name, config, sources, names)
    return Phase(name, what, {stage: n for stage, n in steps.items() if n}, settings, config.output / name)


def _recipe(name: str, config: FitConfig) -> Any:
    return {"hr": config.hr_recipe, "ar": config.ar_recipe, "adapt": config.adapt, "report": config.eval}[name]


def _settings(name: str, config: FitConfig, sources: Sources) -> dict[str, Any]:
    model = config.model
    of: dict[str, Any] = {"model": model.line, **asdict(_recipe(name, config))}
    if name in ("hr", "ar"):
        training = getattr(config, name)
        of |= {"preset": training.preset}
        of |= {key: _crc(value) for key in ("start", "branch") if (value := getattr(training, key)) is not None}
    if name in ("hr", "ar", "report"):
        of |= {"data": sources.fingerprint}
    if name in ("ar", "adapt"):
        of |= {"videos": [f"{video.name} {checksum(video):08x}" for video in sources.videos]}
    tables = {"ar": ("prepared", sources.prepared), "report": ("validation", sources.validation)}
    key, prepared = tables.get(name, ("", None))
    if prepared is not None:
        of |= {key: _crc(prepared.folder / "manifest.json")}
    if model.path is not None:
        of |= {"weights": _crc(model.path)}
    if name == "adapt":
        of |= {"features": model.features, "classifier": model.classifier}
    of.pop("workers", None)  # how many make the batches does not change them
    return json.loads(json.dumps(of))


def _what(name: str, config: FitConfig, sources: Sources, names: tuple[str, ...]) -> str:
    data, videos = sources.data, sources.videos
    drives = f"{len(videos)} {'video' if len(videos) == 1 else 'videos'} without labels"
    if name == "hr":
        assert data is not None
        rows = getattr(config.hr_recipe, "height", 0)
        seen = f", seen at a height of {rows}" if rows else ""
        return f"{sources.stills} labelled stills of {data.name}, {len(data.labels.classes)} classes{seen}"
    if name == "ar":
        pairs = [f"pairs made of {sources.stills} labelled stills"] if sources.stills else []
        if sources.before:
            pairs.append(f"{sources.before} labelled frames with the frames of their videos before them")
        if sources.prepared is not None:
            pairs.append(f"{len(sources.prepared.items)} prepared pairs with their videos' vectors")
        return "; ".join([*pairs, *([drives] if videos else [])])
    if name == "adapt":
        network = config.model.line or config.model.weights or "the package's own weights"
        return f"{drives}, the teacher being {'the phase before' if 'ar' in names or 'hr' in names else network}"
    scored = data is not None or sources.validation is not None
    return "val, by distance to the keyframe" if scored else "the held-out part of the videos"


def _crc(path: str | Path) -> str:
    file = weights_file(path)
    if not file.is_file():
        raise InputError(f"{path}: no such file; expected weights")
    return f"{zlib.crc32(file.read_bytes()):08x}"
