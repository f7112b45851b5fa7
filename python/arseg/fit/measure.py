"""What a plan will take: a few steps of each phase's real training, on a few frames, in a folder that is removed.

Each phase is run on few frames and on some more: what grows with their number is carried on to all of them.
"""

from __future__ import annotations

import itertools
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from arseg.data.datasets import LabelledFrames
from arseg.data.opened import OpenData
from arseg.video import VideoReader, encode

from .config import FitConfig
from .plan import STAGES, Phase, Plan, make_plan
from .record import RunRecord
from .run import RUN, Stage, network_of
from .score import spread
from .sources import Sources

STEPS = 4
"""Of each stage; the first one warms up."""

FEW, MORE = 3, 8
"""Labelled frames, and those of `val`."""

GROUPS = 4
"""Of the first video."""


@dataclass(frozen=True)
class Cost:
    """Of a phase, as far as it could be measured.

    Attributes:
        step: seconds of a step, by stage.
        seconds: in all.
        memory: bytes that the process takes at most; on CUDA those of the device.
        disk: bytes that the phase leaves in its folder.
    """

    step: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0


@dataclass(frozen=True)
class FewFrames(OpenData):
    """Data with at most `most` labelled frames in each split, evenly spread."""

    most: int = 1

    @staticmethod
    def of(data: OpenData, most: int) -> FewFrames:
        # Its layout is its own: recipes read what they know by name past `frames`.
        given = {f.name: getattr(data, f.name) for f in fields(OpenData)}
        return FewFrames(**{**given, "layout": f"a part of {data.layout}"}, most=most)

    def frames(self, split: str) -> LabelledFrames:
        found = super().frames(split)
        found.frames = spread(found.frames, self.most)
        return found

    def consecutive(self, split: str = "val") -> bool:
        return False  # a part of a run is none


@dataclass
class _Trial:
    """What a phase took on so many frames: seconds in all and by step, bytes in memory and on disk."""

    seconds: float
    steps: list[list[float]]
    memory: int
    disk: int


def measure(plan: Plan) -> dict[str, Cost]:
    """The cost of each phase of the plan; nothing is left of the work.

    Raises what the phases raise, before hours of work rather than after them.
    """
    trials: dict[str, list[_Trial]] = {phase.name: [] for phase in plan.phases}
    with tempfile.TemporaryDirectory() as folder:
        clip = _Clip.of(plan, Path(folder))
        # The first trial is forgotten: it pays for imports, caches and the like, which no other does.
        for number, (frames, steps) in enumerate(((FEW, 1), (FEW, 1), (MORE, STEPS))):
            few = _smaller(plan, clip, frames, steps, Path(folder) / str(number))
            for name, trial in _tried(few):
                trials[name].append(trial)
    return {phase.name: _carried_on(phase, plan, clip, *trials[phase.name][1:]) for phase in plan.phases}


def _tried(plan: Plan) -> Iterator[tuple[str, _Trial]]:
    record = RunRecord(plan.config.output)
    plan.config.output.mkdir(parents=True)
    record.begin(plan.config, {"made": {}})
    before = network_of(plan)
    results: dict[str, Path] = {}
    for phase in plan.phases:
        _forget_peak()
        begun = time.monotonic()
        with _step_times() as steps, record.running(phase, before) as finished:
            before = RUN[phase.name](Stage(plan, phase, before, results, record, _silent))
            finished(before)
        disk = sum(path.stat().st_size for path in phase.folder.rglob("*") if path.is_file())
        yield phase.name, _Trial(time.monotonic() - begun, steps, _peak(plan.config.device), disk)
        results[phase.name] = before


def _smaller(plan: Plan, clip: _Clip | None, frames: int, steps: int, output: Path) -> Plan:
    """The plan on so many frames, with so many steps of each stage."""
    config, sources = plan.config, plan.sources
    share = min(1.0, frames / max(1, sources.stills))
    few = replace(
        config,
        output=output,
        hr_recipe=_fewer(config.hr_recipe, steps, share),
        ar_recipe=_fewer(config.ar_recipe, steps, share),
        adapt=replace(config.adapt, steps=steps, measured=1 if frames == FEW else 2, held_out=0.5),
        eval=replace(config.eval, stills=frames, consecutive=False),
    )
    data = None if sources.data is None else FewFrames.of(sources.data, frames)
    videos = () if clip is None else (clip.path,)
    counts = (min(frames, sources.stills), min(frames, sources.before))
    return make_plan(few, replace(sources, data=data, videos=videos, stills=counts[0], before=counts[1]))


def _fewer(recipe: Any, steps: int, share: float) -> Any:
    """A recipe with so many steps; of what is made for each frame, or beside them, a share."""
    known = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    changes: dict[str, Any] = {key: steps for key in ("steps", "low_steps") if known.get(key)}
    changes |= {key: math.ceil(known[key] * share) for key in ("streets", "street_scenes") if known.get(key)}
    if "epochs" in known and "steps" in known:
        changes["epochs"] = type(known["epochs"])(0)
    return replace(recipe, **changes)


def _carried_on(phase: Phase, plan: Plan, clip: _Clip | None, few: _Trial, more: _Trial) -> Cost:
    """From the trials to the whole."""
    config, sources = plan.config, plan.sources
    names = [stage for stage in STAGES.get(phase.name, {}) if stage in phase.steps]
    paces = [statistics.median(times) for times in more.steps if times]
    step = dict(zip(names, paces, strict=False))
    rest = [trial.seconds - sum(n * pace for pace in paces) for trial, n in ((few, 1), (more, STEPS))]
    # What the number of frames is, in the trials and in the run.
    first, second, whole = FEW, MORE, sources.stills
    if phase.name == "adapt":
        first, second, whole = 1, 2, config.adapt.measured
    if phase.name == "report":
        whole = _scored(config, sources)
    if phase.name == "ar":
        whole = min(whole, getattr(config.ar_recipe, "still_clips", whole))
    sizes = (first, second, max(second, whole))
    seconds = _line(rest[0], rest[1], *sizes) + sum(step[name] * phase.steps[name] for name in step)
    disk, memory = _line(few.disk, more.disk, *sizes), float(more.memory)
    if clip is not None and phase.name in ("ar", "adapt"):
        left = max(0, clip.all_frames - clip.frames)
        seconds += left * clip.frame_seconds
        disk += min(config.adapt.cache_gb * 1e9, left * clip.frame_bytes) if phase.name == "adapt" else 0
    if phase.name == "ar":  # its clips are in memory as they are on the disk
        memory += disk - more.disk
    if phase.name in ("hr", "ar") and sources.data is not None:
        memory += _still_bytes(sources.data, phase, config) * max(0, sources.stills - MORE)
    return Cost(step, seconds, memory, disk)


def _line(few: float, more: float, first: int, second: int, whole: int) -> float:
    """The value at `whole` of the line through those at `first` and `second`; it never falls."""
    return more + max(0.0, more - few) / (second - first) * (whole - second)


def _scored(config: FitConfig, sources: Sources) -> int:
    if sources.data is None or "val" not in sources.data.splits:
        return 0
    frames = len(sources.data.frames("val"))
    return min(config.eval.stills or frames, frames)


def _still_bytes(data: OpenData, phase: Phase, config: FitConfig) -> float:
    """Of a still as training keeps it: as it is, and as videos of several qualities show it."""
    recipe = config.hr_recipe if phase.name == "hr" else config.ar_recipe
    image, label = data.stills("train", getattr(recipe, "rows", None))[0]
    return (image.nbytes + label.nbytes) * (1 + len(getattr(config.hr_recipe, "qualities", ())))


@dataclass(frozen=True)
class _Clip:
    """The beginning of the first video.

    Attributes:
        path, frames: of it.
        all_frames: of all videos.
        frame_seconds, frame_bytes: of reading a frame and encoding it anew, and of one that is kept.
    """

    path: Path
    frames: int
    all_frames: int
    frame_seconds: float
    frame_bytes: float

    @staticmethod
    def of(plan: Plan, folder: Path) -> _Clip | None:
        videos, gop = plan.sources.videos, plan.config.adapt.gop
        if not videos:
            return None
        path, begun = folder / "clip.mp4", time.monotonic()
        with VideoReader(videos[0], transcode=True) as reader:
            images = (frame.image for frame in itertools.islice(reader, 2 * GROUPS * gop))
            count = encode(images, path, gop=gop)
            size = reader.height * reader.width * 3.0
        seconds = (time.monotonic() - begun) / count
        return _Clip(path, count, sum(map(_frames, videos)), seconds, size)


def _frames(video: Path) -> int:
    """What the container says; of one that does not say, so many that they are counted."""
    with VideoReader(video, transcode=True) as reader:
        return reader.frame_count or sum(1 for _ in reader)


@contextmanager
def _step_times() -> Iterator[list[list[float]]]:
    """Seconds between the steps of each optimiser that is at work in the block, in their order."""
    times: list[list[float]] = []
    # By the optimiser and not by its id, which the next one may get when this one is gone; weakly, as it holds memory.
    seen: WeakKeyDictionary[torch.optim.Optimizer, tuple[list[float], float]] = WeakKeyDictionary()

    def stepped(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        now = time.monotonic()
        if optimiser in seen:
            own, last = seen[optimiser]
            own.append(now - last)
        else:
            times.append(own := [])
        seen[optimiser] = own, now

    handle = register_optimizer_step_post_hook(stepped)
    try:
        yield times
    finally:
        handle.remove()


def _forget_peak() -> None:
    """Begins the count of `_peak` anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int:
    """Bytes of memory in use at most since `_forget_peak`."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _silent(line: str) -> None:
    pass
