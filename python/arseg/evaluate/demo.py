"""`arseg demo`: a video in; an overlay, a contact sheet and a table of accuracy, compute and time out."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arseg.data.street import StreetScene
from arseg.data.street.recording import record
from arseg.errors import InputError
from arseg.files import StrPath, filling, same_file, save_json, save_png
from arseg.labels import CAMVID, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.preprocess import input_size
from arseg.segment import draw
from arseg.segment.compared import side_by_side
from arseg.segment.modes import NAMES, Mode
from arseg.segment.outputs import Overlay
from arseg.segment.run import open_video
from arseg.segment.segmenter import SegmentedFrame, VideoSegmenter
from arseg.terminal import out_console, progress_bar, say
from arseg.video import VideoFrame, VideoReader
from arseg.video.names import local_path, shown
from arseg.video.orientation import upright
from arseg.video.source import TIMEOUT

from .flops import gmacs
from .metrics import ConfusionMatrix

WAYS: tuple[Mode, ...] = ("hr", "lr", "ar")
GOP = 12
OUTPUTS = ("overlay.mp4", "contact-sheet.png", "table.json", "street.mp4")


@dataclass
class Measured:
    """What is collected of one way to segment the video."""

    segmenter: VideoSegmenter
    scores: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CAMVID.classes)))
    frames: int = 0
    keyframes: int = 0
    groups: list[list[float]] = field(default_factory=list)

    def add(self, frames: list[VideoFrame], seconds: float) -> None:
        """What frames that were read ahead together took; they begin a group, or go on with one."""
        if frames[0].keyframe:
            self.groups.append([0.0, 0.0])
        self.groups[-1][0] += seconds * 1e3
        self.groups[-1][1] += len(frames)
        self.frames += len(frames)
        self.keyframes += sum(frame.keyframe for frame in frames)

    def time(self) -> float:
        """Milliseconds a frame: the median over groups, or over groups that were read ahead together."""
        return statistics.median_low(milliseconds / count for milliseconds, count in self.groups)


def render_street(path: Path, frames: int, seed: int, height: int, progress: Progress) -> list[np.ndarray]:
    """Renders a synthetic drive in 4:3, encodes it to `path`, and returns its label maps."""
    labels: list[np.ndarray] = []
    task = progress.add_task("rendering the street", total=frames)

    def each(_: int, truth: np.ndarray) -> None:
        labels.append(truth)
        progress.advance(task)

    record(StreetScene(seed, width=round(height * 4 / 3), height=height), path, frames, each=each, gop=GOP)
    return labels


@contextmanager
def results(out: Path) -> Iterator[Path]:
    """A folder to work in; its files move to `out` once the block has ended well.

    There they take the place of an earlier demo's. What is not a demo's stays, and is a reason to refuse where its name
    is one that a demo writes.
    """

    def refuse(names: list[str]) -> None:
        foreign = [name for name in OUTPUTS if name in names]
        if foreign and "table.json" not in names:
            raise InputError(f"{out}: has a {foreign[0]} that is not an earlier demo's; name another folder with -o")

    with filling(out, refuse) as part:
        yield part
        made = {entry.name for entry in part.iterdir()}
    for name in set(OUTPUTS) - made:
        (out / name).unlink(missing_ok=True)


def run_demo(
    model: ARSegNet,
    out: StrPath,
    video: StrPath | None = None,
    *,
    frames: int = 96,
    seed: int = 7,
    height: int = 360,
    stream: int | None = None,
    timeout: float | None = TIMEOUT,
    precision: Literal["float32", "bfloat16"] | None = None,
    device: str = "cpu",
    batch: int | None = None,
    console: Console,
) -> None:
    """Segments `video` (or a rendered street of `frames` frames) in three ways and leaves the result in `out`.

    Leaves `overlay.mp4`, `contact-sheet.png` and `table.json` there, and prints the table on stdout; progress and
    remarks go to `console`. Raises `InputError` without a `video` for a network of other classes than the
    street's, which are CamVid's eleven.
    """
    out, labels = Path(out), model.known_labels()
    if video is not None:
        place = local_path(video)
        if place is not None and any(same_file(place, out / name) for name in OUTPUTS):
            raise InputError(f"{shown(video)}: lies where the demo writes; name another folder with -o")
        # What is no video is said before a folder is made.
        with VideoReader(video, stream=stream, timeout=timeout):
            pass
    elif labels.classes != CAMVID.classes:
        raise InputError(
            f"video: the synthetic street has CamVid's {len(CAMVID.classes)} classes, and these weights know "
            f"{labels}; give a video of your own"
        )
    with results(out) as folder, progress_bar(console) as progress:
        truth: list[np.ndarray] | None = None
        if video is None:
            street = folder / "street.mp4"
            truth = render_street(street, frames, seed, height, progress)
        overlay = folder / "overlay.mp4"
        how: dict[str, Any] = {"gop": GOP, "precision": precision, "device": device, "batch": batch}
        ways = {mode: Measured(VideoSegmenter(model, mode=mode, **how)) for mode in WAYS}
        samples, size = _segment(ways, video or street, overlay, truth, progress, stream=stream, timeout=timeout)
        _save_sheet(folder / "contact-sheet.png", samples, truth is not None, labels)
        rows = _rows(model, ways, size, truth is not None)
        save_json(folder / "table.json", rows)
    result = out_console()
    keyframes, frames = ways["ar"].keyframes, ways["ar"].frames
    name = os.path.basename(shown(video or street))
    title = f"{name}: {size[1]}x{size[0]}, {frames} frames, {keyframes} of them keyframes"
    result.print(f"{title}; the others at {model.scale:g}x", highlight=False, soft_wrap=True)
    result.print(_table(rows))
    for name in OUTPUTS:
        if (out / name).exists():
            result.print(out / name, highlight=False, soft_wrap=True)


def _segment(
    ways: dict[Mode, Measured],
    source: StrPath,
    overlay: Path,
    truth: list[np.ndarray] | None,
    progress: Progress,
    **options: Any,
) -> tuple[list[tuple[str, list[np.ndarray]]], tuple[int, int]]:
    """Runs the three ways side by side.

    Returns pictures for the contact sheet, and the video's (height, width).
    """
    samples: list[tuple[str, list[np.ndarray]]] = []
    label_set = ways["ar"].segmenter.label_set
    colours = label_set.palette
    with open_video(source, progress.console, gop=GOP, **options) as reader:
        size = (reader.height, reader.width)
        task = progress.add_task("segmenting", total=reader.frame_count)
        wanted = _sample_indices(reader.frame_count)
        output = Overlay(overlay)
        with output.opened(reader, label_set) as write:
            if output.remark is not None:
                say(progress.console, output.remark)
            for frame, labels in _labelled(reader, ways):
                if truth is not None:
                    for mode, way in ways.items():
                        way.scores.add(truth[frame.index], labels[mode])
                write(SegmentedFrame.of(frame, labels["ar"]))
                if frame.index in wanted or frame.index == 0:
                    pictures = [frame.image] + ([draw.colour(truth[frame.index], colours)] if truth is not None else [])
                    pictures += [draw.colour(labels[mode], colours) for mode in WAYS]
                    against = truth[frame.index] if truth is not None else labels["hr"]
                    pictures.append(draw.difference(labels["ar"], against, colours))
                    name = f"frame {frame.index}\nkeyframe\n+ {frame.distance}"
                    turned = [draw.thumbnail(upright(picture, reader.display_matrix)) for picture in pictures]
                    samples.append((name, turned))
                progress.advance(task)
    # The first frame is a sample only where the video is too short for another.
    return samples[1:] or samples, size


def _labelled(
    frames: Iterable[VideoFrame], ways: dict[Mode, Measured]
) -> Iterator[tuple[VideoFrame, dict[Mode, np.ndarray]]]:
    """Each frame with the label maps of all ways, which are timed."""
    for seen in side_by_side(frames, {mode: way.segmenter for mode, way in ways.items()}):
        for mode, way in ways.items():
            way.add(seen.frames, seen.seconds[mode])
        for place, frame in enumerate(seen.frames):
            yield frame, {mode: labels[place] for mode, labels in seen.labels.items()}


def _sample_indices(frames: int | None, rows: int = 4) -> set[int]:
    """Frames for the contact sheet: spread over the video, each further from its keyframe than the last."""
    groups = max(1, (frames or rows * GOP) // GOP)
    distances = np.linspace(2, GOP - 1, rows).round().astype(int)
    return {round(row * max(0, groups - 1) / (rows - 1)) * GOP + int(d) for row, d in enumerate(distances)}


def _save_sheet(path: Path, samples: list[tuple[str, list[np.ndarray]]], with_truth: bool, label_set: LabelSet) -> None:
    names = ["input", *(["truth"] if with_truth else []), "HR: every frame at full size", "LR: every frame shrunk"]
    names += ["AR-Seg", "where AR-Seg differs from " + ("truth" if with_truth else "HR")]
    save_png(path, draw.contact_sheet(names, samples, label_set))


def _rows(
    model: ARSegNet, ways: dict[Mode, Measured], size: tuple[int, int], with_truth: bool
) -> list[dict[str, str | float | None]]:
    """The table's rows: mIoU (None without truth), GMACs and milliseconds, each a frame, over the whole video."""
    macs = gmacs(model, *input_size(size, model.input_height))
    rows: list[dict[str, str | float | None]] = []
    for mode, way in ways.items():
        keyframes = way.keyframes / way.frames
        compute = macs["keyframe"] * keyframes + macs["ar"] * (1 - keyframes) if mode == "ar" else macs[mode]
        rows.append(
            {
                "way": NAMES[mode],
                "miou": round(way.scores.miou(), 2) if with_truth else None,
                "gmacs_a_frame": round(compute, 3),
                "milliseconds_a_frame": round(way.time(), 1),
            }
        )
    return rows


def _table(rows: list[dict[str, str | float | None]]) -> Table:
    table = Table()
    for column, justify in (("", "left"), ("mIoU %", "right"), ("GMACs a frame", "right"), ("ms a frame", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        miou = "no truth" if row["miou"] is None else f"{row['miou']:.2f}"
        table.add_row(str(row["way"]), miou, f"{row['gmacs_a_frame']:.2f}", f"{row['milliseconds_a_frame']:.1f}")
    return table
