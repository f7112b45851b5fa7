"""Names of before version 0.2, of modules and arguments: they work with a `DeprecationWarning`, and go in 0.3."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {
    f"arseg.{old}": f"arseg.{new}"
    for old, new in {
        "data.camvid_full": "data.camvid",
        "data.labelset": "labels",
        "demo": "evaluate.demo",
        "engine.adapt": "train.adapt",
        "engine.adapt_report": "train.adapt_report",
        "engine.agreement": "evaluate.agreement",
        "engine.calibration": "train.calibration",
        "engine.compute": "evaluate.flops",
        "engine.evaluate": "evaluate.by_distance",
        "engine.events": "train.events",
        "engine.loop": "train.loop",
        "engine.losses": "train.losses",
        "engine.metrics": "evaluate.metrics",
        "engine.optimisers": "train.optimisers",
        "engine.paper_data": "train.paper.data",
        "engine.paper_networks": "train.paper.networks",
        "engine.parallel": "train.distributed",
        "engine.recipe_files": "train.settings",
        "engine.recipes": "train.paper.recipes",
        "engine.run_log": "train.log",
        "engine.sampling": "train.sampling",
        "engine.score_report": "evaluate.report",
        "engine.segmenter": "segment.segmenter",
        "engine.states": "train.states",
        "engine.train_ar": "train.default.ar",
        "engine.train_hr": "train.default.hr",
        "engine.train_low": "train.default.low",
        "engine.train_paper": "train.paper.train",
        "engine.validation": "train.paper.validation",
        "inspection": "inspect.reading",
        "inspection_report": "inspect.report",
        "models.accelerated": "acceleration.network",
        "models.arseg_net": "networks.arseg_net",
        "models.backbones": "networks.encoders",
        "models.bisenet": "networks.paper.bisenet",
        "models.build": "weights.build",
        "models.checkpoint": "weights.files",
        "models.convert": "weights.convert",
        "models.cut": "acceleration.cut",
        "models.cut_network": "acceleration.cut_network",
        "models.encoder_head": "networks.encoder_head",
        "models.folding": "networks.folding",
        "models.fused": "networks.fused",
        "models.fusion": "networks.fusion",
        "models.keyframe": "networks.keyframe",
        "models.motion": "networks.motion",
        "models.pspnet": "networks.paper.pspnet",
        "models.pspnet_cityscapes": "networks.paper.pspnet_cityscapes",
        "models.published": "networks.paper.published",
        "models.pyramid": "networks.pyramid",
        "models.resnet": "networks.paper.resnet",
        "models.spec": "acceleration.network_source",
        "models.split": "networks.base",
        "modes": "segment.modes",
        "segment_files": "segment.run",
        "viz": "segment.draw",
        "viz_motion": "inspect.sheet",
    }.items()
}

PACKAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "arseg.engine": {
        "arseg.segment.segmenter": ("SegmentedFrame", "VideoSegmenter"),
    },
    "arseg.models": {
        "arseg.acceleration": ("AcceleratedNet", "Cut", "CutNetwork"),
        "arseg.networks": (
            "ARCHITECTURES",
            "ARSegNet",
            "BiSeNet",
            "CityscapesPSPNet",
            "EncoderHead",
            "FusedNetwork",
            "PSPNet",
            "PyramidNet",
            "from_reference_state_dict",
            "make_published",
        ),
        "arseg.weights": ("load_checkpoint", "save_checkpoint"),
    },
}


def _warn(old: str, new: str, stacklevel: int) -> None:
    text = f"{old} is {new} now, and will not be found under its old name from version 0.3 on"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)


class _Moved(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in MODULES or name in PACKAGES:
            return ModuleSpec(name, self, is_package=name in PACKAGES)
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name in MODULES:
            _warn(name, MODULES[name], 2)
            sys.modules[name] = import_module(MODULES[name])  # one module under two names
            return
        places = {attribute: place for place, attributes in PACKAGES[name].items() for attribute in attributes}

        def attribute(wanted: str) -> Any:
            if wanted not in places:
                raise AttributeError(f"module {name!r} has no attribute {wanted!r}")
            _warn(f"{name}.{wanted}", f"{places[wanted]}.{wanted}", 2)
            return getattr(import_module(places[wanted]), wanted)

        module.__getattr__ = attribute  # type: ignore[method-assign]


def install() -> None:
    """Lets Python find them; once."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())


def renamed_argument(old: str, new: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Lets a function be called with the name that one of its arguments had."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if old in options:
                _warn(f"argument {old}", new, 2)
                options[new] = options.pop(old)
            return function(*arguments, **options)

        return call

    return decorate
