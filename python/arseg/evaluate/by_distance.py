"""mIoU by distance to the keyframe, on labelled frames of compressed video."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from arseg.data.prepared import Prepared
from arseg.data.registry import DATA_SETS
from arseg.device import check_device
from arseg.errors import InputError
from arseg.labels import CAMVID, VOID, LabelSet
from arseg.memory import workers_ended
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.compared import side_by_side
from arseg.segment.modes import Mode
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoFrame, VideoReader, encode

from .consistency import Consistency
from .metrics import ConfusionMatrix


@dataclass
class Scores:
    """One way of segmenting: a confusion matrix for each distance 0..gop-1.

    Attributes:
        by_distance: the matrices.
        consistency: how well labels follow the vectors from frame to frame, where scored frames come in a row.
        classes: names of the classes.
        void: the class, if there is one, that means "none of the others"; `count_void`: whether it is in the means.
    """

    by_distance: list[ConfusionMatrix] = field(default_factory=list)
    classes: tuple[str, ...] = CAMVID.classes
    void: int | None = None
    count_void: bool = False
    consistency: Consistency | None = None

    def miou(self, count_void: bool | None = None) -> list[float]:
        """mIoU in percent at each distance; `count_void` in place of the scores' own."""
        counted = self.count_void if count_void is None else count_void
        if self.void is None or counted:
            return [matrix.miou() for matrix in self.by_distance]
        return [matrix.ignoring(self.void).miou(without=self.void) for matrix in self.by_distance]

    def mean(self, count_void: bool | None = None) -> float:
        """Mean of the distances' mIoU, as the paper reports it; distances that were not met are left out."""
        values = np.array(self.miou(count_void))
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def minimum(self) -> float:
        """The lowest mIoU of a distance."""
        values = np.array(self.miou())
        return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")

    def class_iou(self, *, ignored: bool = False) -> np.ndarray:
        """float64 `[classes]`, percent, over all distances together; NaN for a class that does not occur.

        Where Void is not counted its own value is NaN. `ignored`: classes that are predicted on its pixels count as
        faults; else these pixels are left out.
        """
        total = ConfusionMatrix.sum(self.by_distance)
        if self.void is None or self.count_void:
            return total.iou() * 100
        iou = (total if ignored else total.ignoring(self.void)).iou() * 100
        iou[self.void] = np.nan
        return iou

    def absent(self) -> list[str]:
        """Classes that occur in neither labels nor predictions, where these count, and are left out of the means."""
        total = ConfusionMatrix.sum(self.by_distance)
        skipped = None if self.count_void else self.void
        iou = (total if skipped is None else total.ignoring(skipped)).iou()
        return [name for i, name in enumerate(self.classes) if i != skipped and np.isnan(iou[i])]


UNLABELLED = "ignored"
"""Name of what pixels without a label have in place of a class."""

Frame = tuple[np.ndarray, np.ndarray]
"""A frame, uint8 `[H, W, 3]`, and its labels, uint8 `[H, W]`."""

Counts = tuple[np.ndarray, np.ndarray]
"""Of each way: confusion matrices, int64 `[modes, gop, classes, classes]`, and `Consistency.counts`."""


@dataclass(frozen=True)
class Pass:
    """One video and its labelled frames.

    Attributes:
        name: for the progress.
        video: an encoded file; or None, and `frames` are encoded.
        frames: images to encode.
        labels: of frames of the video, by their place in it: (distance to the keyframe, labels or a PNG of them).
        rate, crf: of the encoding.
    """

    name: str
    labels: Mapping[int, tuple[int, np.ndarray | Path]]
    video: Path | None = None
    frames: Sequence[np.ndarray] = ()
    rate: float = 15
    crf: float = 23


def run_passes(
    frames: Sequence[Frame], *, gop: int, rate: float, crf: float, offsets: Sequence[int] | None
) -> Iterator[Pass]:
    """The run encoded once for each place of its first keyframe (see `evaluate`)."""
    images = [image for image, _ in frames]
    for offset in range(gop) if offsets is None else offsets:
        first = offset if offsets is not None else max(offset, gop - 1)
        labels = {i - offset: ((i - offset) % gop, frames[i][1]) for i in range(first, len(frames))}
        yield Pass(f"keyframes at {offset} + {gop}n", labels, None, images[offset:], rate, crf)


def prepared_passes(data: Prepared) -> list[Pass]:
    """The videos of a prepared folder."""
    return [
        Pass(video.stem, {item.frame: (item.distance, item.label) for item in items}, video)
        for video, items in data.by_video()
    ]


def evaluate(
    model: ARSegNet,
    frames: Sequence[Frame],
    modes: Sequence[Mode],
    *,
    gop: int = 12,
    rate: float = 15,
    crf: float = 23,
    offsets: Sequence[int] | None = None,
    workers: int = 1,
    void: bool | None = None,
    report: Callable[[str], None] = print,
) -> dict[Mode, Scores]:
    """Encodes the run once for each place of the first keyframe, and scores each frame at every distance.

    The first `gop - 1` frames cannot be met at every distance; they are encoded, but not scored, so that all distances
    are scored on the same frames.

    Args:
        frames: consecutive `(image, label)`: uint8 `[H, W, 3]` and uint8 `[H, W]`.
        modes: ways of segmenting, see `VideoSegmenter`.
        rate, crf: of the encoded video (H.264, one reference, no B frames).
        offsets: which first keyframes, 0..gop-1; None for all. With fewer, distances are scored on different frames.
        workers, void: see `evaluate_passes`.
    """
    passes = list(run_passes(frames, gop=gop, rate=rate, crf=crf, offsets=offsets))
    return evaluate_passes(model, passes, modes, gop=gop, workers=workers, void=void, report=report)


def evaluate_passes(
    model: ARSegNet,
    passes: Sequence[Pass],
    modes: Sequence[Mode],
    *,
    gop: int,
    workers: int = 1,
    void: bool | None = None,
    ignored: bool = False,
    device: str | torch.device = "cpu",
    precision: Literal["float32", "bfloat16"] | None = None,
    batch: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[Mode, Scores]:
    """Scores the labelled frames of each pass.

    Args:
        workers: processes that share the passes. The counts are integers: their sum is that of one process.
        void: whether CamVid's Void, where labels have it, counts as a class in the means; None: where the network
            predicts it.
        ignored: the labels have the network's number of classes as the id of ignored pixels (see `with_ignored`).
        device, precision, batch: where and how the network runs, see `VideoSegmenter`.
    """
    if workers < 1:
        raise InputError(f"workers: expected at least 1, got {workers}")
    check_device(device)
    classes, void_class = scored_classes(model, ignored)
    counts = np.zeros((len(modes), gop, len(classes), len(classes)), np.int64)
    following = np.zeros((len(modes), gop, 2), np.int64)
    how = {"device": device, "precision": precision, "batch": batch}
    for done, (name, part) in enumerate(_scored(model, passes, modes, gop, len(classes), workers, how), 1):
        counts += part[0]
        following += part[1]
        report(f"{name}: {done} of {len(passes)} passes")
    scored = np.delete(counts, void_class, axis=2) if void_class is not None else counts
    if not scored.any():
        raise InputError("labels: no pixel has a class that counts; are these the labels of this data set?")
    count_void = (
        void_class is not None
        and classes[void_class] == VOID
        and (_outputs(model) > void_class if void is None else void)
    )
    scores = {}
    for mode, by_distance, followed in zip(modes, counts, following, strict=True):
        matrices = [ConfusionMatrix(len(classes)) for _ in range(gop)]
        for matrix, found in zip(matrices, by_distance, strict=True):
            matrix.counts = found
        consistency = Consistency(gop)
        consistency.counts = followed
        scores[mode] = Scores(matrices, classes, void_class, count_void, consistency)
    return scores


def check_classes(labels: LabelSet, data: str, classes: Sequence[str], weights: str | Path = "weights") -> None:
    """Raises `InputError` where a network's classes are not those of the data's labels; Void may be with either.

    Classes without names of their own are taken to be the data's, if they are as many.
    """
    known, wanted = ([name for name in names if name != VOID] for names in (labels.classes, classes))
    if known != wanted if labels.named else len(known) not in (len(wanted), len(classes)):
        own = f"{labels} ({', '.join(labels.classes[:3])}, …)"
        raise InputError(
            f"{weights}: know {own}, and the data has {data}'s {len(classes)} ({', '.join(classes[:3])}, …); give "
            "weights that were trained on classes of this data"
        )


def named_as(labels: LabelSet, data: LabelSet) -> LabelSet:
    """A network's classes with the data's names and colours, where it has none and `check_classes` has passed."""
    names = tuple(name for name in data.classes if name != VOID or len(labels.classes) == len(data.classes))
    if labels.named or len(names) != len(labels.classes):
        return labels
    return replace(labels, name=data.name, classes=names, palette=data.palette)


def with_ignored(frames: Sequence[Frame], classes: int) -> list[Frame]:
    """The frames with `classes` as the id of every ignored pixel: so it is known where they are."""
    return [(image, np.minimum(label, np.uint8(classes))) for image, label in frames]


def scored_classes(model: ARSegNet, ignored: bool = False) -> tuple[tuple[str, ...], int | None]:
    """Names of the classes that labels may have, and which of them is Void, or `UNLABELLED` where `ignored` asks so."""
    names = model.known_labels().classes
    if VOID in names:
        return names, names.index(VOID)
    # A data set's labels know Void even where the network does not.
    if any(DATA_SETS[name].labels.classes == (*names, VOID) for name in DATA_SETS):
        return (*names, VOID), len(names)
    return ((*names, UNLABELLED), len(names)) if ignored else (names, None)


def _outputs(model: ARSegNet) -> int:
    classifier = model.classifier
    return int(getattr(classifier, "out_channels", 0))


def _scored(
    model: ARSegNet,
    passes: Sequence[Pass],
    modes: Sequence[Mode],
    gop: int,
    classes: int,
    workers: int,
    how: dict[str, Any],
) -> Iterator[tuple[str, Counts]]:
    if workers == 1 or len(passes) == 1:
        for one in passes:
            yield one.name, score_pass(model, one, modes, gop, classes, **how)
        return
    threads = max(1, torch.get_num_threads() // workers)
    context = torch.multiprocessing.get_context("spawn")
    setup = (model, tuple(modes), gop, classes, threads, how)
    with ProcessPoolExecutor(min(workers, len(passes)), context, _set_up, setup) as pool:
        coming = {pool.submit(_work, one): one.name for one in passes}
        try:
            for future in as_completed(coming):
                yield coming[future], future.result()
        except BrokenProcessPool as error:
            raise workers_ended(workers) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


_worker: tuple[ARSegNet, Sequence[Mode], int, int, dict[str, Any]]


def _set_up(model: ARSegNet, modes: Sequence[Mode], gop: int, classes: int, threads: int, how: dict[str, Any]) -> None:
    global _worker
    torch.set_num_threads(threads)
    _worker = model, modes, gop, classes, how


def _work(one: Pass) -> Counts:
    model, modes, gop, classes, how = _worker
    return score_pass(model, one, modes, gop, classes, **how)


def score_pass(model: ARSegNet, one: Pass, modes: Sequence[Mode], gop: int, classes: int, **how: Any) -> Counts:
    """Confusion matrices of one video, and the counts of its consistency; `how`: more for `VideoSegmenter`."""
    matrices = {mode: [ConfusionMatrix(classes) for _ in range(gop)] for mode in modes}
    following = {mode: Consistency(gop) for mode in modes}
    ways = {mode: VideoSegmenter(model, mode=mode, gop=gop, **how) for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        video = one.video
        if video is None:
            video = Path(folder) / "run.mp4"
            encode(one.frames, video, rate=one.rate, gop=gop, crf=one.crf)
        with VideoReader(video, gop=gop) as reader:
            for seen in side_by_side(_needed(reader, one, video), ways):
                for place, frame in enumerate(seen.frames):
                    label = _read(one.labels[frame.index][1]) if frame.index in one.labels else None
                    for mode, labels in seen.labels.items():
                        following[mode].add(frame.index, frame.distance, labels[place], frame.motion)
                        if label is not None:
                            matrices[mode][frame.distance].add(label, labels[place])
    counts = np.stack([[matrix.counts for matrix in matrices[mode]] for mode in modes])
    return counts, np.stack([following[mode].counts for mode in modes])


def _needed(frames: Iterable[VideoFrame], one: Pass, video: Path) -> Iterator[VideoFrame]:
    """The frames that are scored, and the keyframes, which those after them take from."""
    last = max(one.labels)
    for frame in frames:
        wanted = one.labels.get(frame.index)
        if wanted is not None and wanted[0] != frame.distance:
            raise InputError(
                f"{video}: frame {frame.index} lies {frame.distance} from its keyframe, expected {wanted[0]}"
            )
        if wanted is not None or frame.keyframe:
            yield frame
        if frame.index >= last:
            return


def _read(label: np.ndarray | Path) -> np.ndarray:
    if isinstance(label, np.ndarray):
        return label
    from PIL import Image

    with Image.open(os.fspath(label)) as file:
        return np.asarray(file)
