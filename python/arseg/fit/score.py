"""The labelled frames of `val` as compressed video, scored in each way, and the frames that went worst."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arseg.data.datasets import LabelledFrames, labelled_run
from arseg.data.groups import BLOCK, StoredGroup
from arseg.data.layers import moving_frames
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared
from arseg.errors import InputError
from arseg.evaluate.by_distance import Pass, prepared_passes, run_passes
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import StrPath
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import normalise
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.segment.ways import see
from arseg.video import VideoFrame, VideoReader, encode

from .config import EvalTable
from .sources import Sources


@dataclass(frozen=True)
class Scored:
    """What is scored.

    Attributes:
        passes: the videos and their labelled frames.
        gop: frames from keyframe to keyframe.
        name, classes: of the data.
        made: whether motion was made from stills.
        sentence: says it to whoever reads the scores.
    """

    passes: Sequence[Pass]
    gop: int
    name: str
    classes: tuple[str, ...]
    made: bool
    sentence: str


def distances_of(gop: int) -> list[int]:
    """Those that are scored where each costs a video: near, far, and between."""
    return sorted({1, min(2, gop - 1), max(1, gop // 3), max(1, 2 * gop // 3), gop - 1})


def scored_frames(sources: Sources, settings: EvalTable, folder: Path) -> Scored | None:
    """The passes over `val`; None where there is none.

    Args:
        folder: for the videos that are made around labelled frames.
    """
    data = sources.data
    if sources.validation is not None:
        made = sources.validation
        sentence = f"the labelled frames of {made.folder.name}, as they were prepared"
        return Scored(prepared_passes(made), made.gop, made.dataset, made.classes, False, sentence)
    if data is None or "val" not in data.splits:
        return None
    frames, gop, crf = data.frames("val"), settings.gop, settings.crf
    count = min(settings.stills or len(frames), len(frames))
    of = (gop, data.name, data.labels.classes)
    if data.consecutive("val") if settings.consecutive is None else settings.consecutive:
        run = _longest_run(frames)
        if len(run) < gop:
            raise InputError(
                f"[eval]: consecutive: expected a video of at least gop = {gop} labelled frames, got {len(run)} at most"
            )
        shown = [run[index] for index in range(min(count + gop - 1, len(run)))]
        passes = list(run_passes(shown, gop=gop, rate=15, crf=crf, offsets=None))
        return Scored(passes, *of, False, f"{len(shown) - gop + 1} consecutive frames of val, each at every distance")
    reached = [frame for frame in frames.frames if frame.index >= gop - 1]
    if reached:
        frames.frames = spread(reached, count)
        made_with = folder / f"gop{gop}-crf{crf:g}-{count}"  # others are kept
        folder.mkdir(parents=True, exist_ok=True)
        prepare(frames, made_with, Encoding(gop=gop, crf=crf), distances_of(gop), report=lambda line: None)
        sentence = f"{len(frames)} labelled frames of val, each with its own video's frames before it"
        return Scored(prepared_passes(Prepared(made_with)), *of, False, sentence)
    sentence = (
        f"{count} stills of val, each in a video that was made of it, with parallax and moving patches of others: the "
        "data has no frames around them, and real motion is harder"
    )
    return Scored(_Made(frames, spread(range(len(frames)), count), gop, crf), *of, True, sentence)


def _longest_run(frames: LabelledFrames) -> LabelledFrames:
    """The frames of one video in their order; of several videos of the one with the most."""
    run = labelled_run(frames)
    longest = max((frame.frames for frame in run.frames), key=len)
    run.frames = [frame for frame in run.frames if frame.frames == longest]
    return run


def spread(items: Sequence, count: int) -> list:
    """At most `count` of them, evenly spread."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


class _Made(Sequence):
    """A pass for each chosen still, made when it is asked for."""

    def __init__(self, frames: LabelledFrames, chosen: Sequence[int], gop: int, crf: float):
        self._frames, self._chosen, self._gop, self._crf = frames, chosen, gop, crf

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, place: int) -> Pass:  # type: ignore[override]
        index = self._chosen[place]
        rng = np.random.default_rng((0, index))
        others = [self._frames[int(other)] for other in rng.integers(0, len(self._frames), 2)]
        made = moving_frames(self._frames[index], others, self._gop, rng)
        labels = {d: (d, made[d][1]) for d in distances_of(self._gop)}
        return Pass(f"still {index}", labels, None, [image for image, _ in made], 15, self._crf)


@dataclass(frozen=True)
class WorstFrame:
    """A frame and what was made of it: uint8 `[H, W, 3]`, and uint8 `[H, W]` each.

    Attributes:
        name: of its video and place.
        miou: of AR, percent, over the classes of this frame.
        label: None where there is none, and `hr` is the truth.
    """

    name: str
    distance: int
    miou: float
    image: np.ndarray
    label: np.ndarray | None
    hr: np.ndarray
    ar: np.ndarray


def worst_frames(model: ARSegNet, passes: Sequence[Pass], gop: int, count: int, mode: str = "ar") -> list[WorstFrame]:
    """The frames, of those farthest from their keyframes, of which the fewest classes are right; the worst first."""
    by_mode = {name: VideoSegmenter(model, mode=name, gop=gop) for name in ("hr", mode)}  # type: ignore[arg-type]
    classes = len(model.known_labels().classes)
    worst: list[WorstFrame] = []
    for one in passes:
        far = max(distance for distance, _ in one.labels.values())
        group = Group()
        for frame in _frames(one, gop):
            wanted = one.labels.get(frame.index)
            counts = wanted is not None and wanted[0] == far
            if not counts and not frame.keyframe:
                continue
            found = by_mode[mode].segment(frame, group)
            if wanted is None or not counts:
                continue
            label = read_label(wanted[1])
            miou = frame_miou(label, found, classes)
            if np.isnan(miou) or (len(worst) == count and miou >= worst[-1].miou):
                continue
            hr = by_mode["hr"].segment(frame, Group())
            name = f"{one.name}, frame {frame.index}"
            worst.append(WorstFrame(name, frame.distance, miou, frame.image, label, hr, found))
            worst = sorted(worst, key=lambda frame: frame.miou)[:count]
    return worst


@torch.inference_mode()
def worst_unlabelled(model: ARSegNet, groups: Sequence[StoredGroup], count: int) -> list[WorstFrame]:
    """The last frames of the groups in which AR agrees least with the network at full resolution; the worst first."""
    labels, device = model.known_labels(), next(model.parameters()).device
    worst: list[WorstFrame] = []
    for group in groups:
        far = group.frames - 1
        pixels = [torch.from_numpy(group.image(d)).to(device).permute(2, 0, 1)[None] for d in (0, far)]
        key, image = (normalise(x, labels.mean, labels.std) for x in pixels)
        motion = torch.from_numpy(group.vectors(far))[None].to(device)
        reference = model.keyframe(key)
        kept = model.classifier(reference)
        seen, signals = (image, reference, kept, motion, far), model.keyframe_signals(key, reference, kept)
        maps = []
        for mode in ("hr", "ar"):
            logits = see(model, mode, *seen, block=BLOCK, frame_size=group.coded, signals=signals)  # type: ignore[arg-type]
            maps.append(model.labels(logits, group.stored)[0].cpu().numpy())
        miou = frame_miou(maps[0], maps[1], len(labels.classes))
        name = f"{group.path.parent.name}, frame {group.first + far}"
        worst.append(WorstFrame(name, far, miou, group.image(far), None, *maps))
        worst = sorted(worst, key=lambda frame: frame.miou)[:count]
    return worst


def frame_miou(label: np.ndarray, found: np.ndarray, classes: int) -> float:
    """mIoU in percent over the classes that the label of one frame has; NaN where it has none."""
    matrix = ConfusionMatrix(classes)
    matrix.add(label, found)
    here = matrix.counts.sum(1) > 0
    return float(matrix.iou()[here].mean() * 100) if here.any() else float("nan")


def read_label(label: np.ndarray | StrPath) -> np.ndarray:
    """uint8 `[H, W]`, of a pass."""
    if isinstance(label, np.ndarray):
        return label
    from PIL import Image

    with Image.open(label) as file:
        return np.asarray(file)


def _frames(one: Pass, gop: int) -> Iterator[VideoFrame]:
    with tempfile.TemporaryDirectory() as folder:
        video = one.video
        if video is None:
            video = Path(folder) / "run.mp4"
            encode(one.frames, video, rate=one.rate, gop=gop, crf=one.crf)
        with VideoReader(video, gop=gop) as reader:
            for frame in reader:
                yield frame
                if frame.index >= max(one.labels):
                    return
