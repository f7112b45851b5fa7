"""Data sets as compressed video: every labelled frame at chosen distances from its keyframe.

Hu et al. (CVPR 2023) encode each labelled frame anew for every distance d, so that its group of pictures starts d
frames before it. `prepare` does so on several processes. Each video is there whole or not at all, so that a stopped run
goes on where it was; `manifest.json` lists what there is (see `prepared.py`, which reads it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arseg.errors import ArsegError, InputError, refuse_other_settings
from arseg.files import StrPath, replacing, save_json, working_in
from arseg.memory import workers_ended
from arseg.video import VideoError, VideoReader, encode

from .datasets import LabelledFrame, LabelledFrames, read_image

MANIFEST = "manifest.json"
VERSION = 1
BLOCK = 4


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded: H.264, one reference frame, no B frames.

    Attributes:
        gop: frames from keyframe to keyframe.
        rate: frames a second.
        bitrate: bits a second; None: quality `crf` in its place.
        crf, preset: x264's.
    """

    gop: int = 12
    rate: float = 30
    bitrate: int | None = None
    crf: float = 23
    preset: str = "medium"


@dataclass(frozen=True)
class Job:
    """One video to make: `frames`, its keyframe first, of which `labelled` (name, place) are listed in the manifest."""

    name: str
    frames: tuple[Path, ...]
    labelled: tuple[tuple[str, int], ...]
    vectors: bool


def snippet_jobs(data: LabelledFrames, distances: Sequence[int], gop: int) -> tuple[list[Job], list[str]]:
    """A job for each labelled frame and distance: one group of pictures, `d` frames of it before the labelled one.

    Returns the jobs, and a sentence for each labelled frame that too few frames precede.
    """
    jobs, lacking = [], []
    for frame in data.frames:
        for d in distances:
            start = frame.index - d
            if not frame.frames or start < 0:
                have = frame.index if frame.frames else "no"
                lacking.append(f"{frame.name}: {have} frames before it, {d} are needed")
                continue
            jobs.append(Job(f"{frame.name}-d{d}", frame.frames[start : start + gop], ((frame.name, d),), True))
    return jobs, lacking


def run_jobs(data: LabelledFrames, distances: Sequence[int], gop: int) -> tuple[list[Job], list[str]]:
    """Jobs for videos labelled frame by frame: each whole run, once for each place of its keyframes.

    The first `gop - 1` frames of a run cannot be met at every distance and are not listed; a run that has no others is
    said to lack some.
    """
    runs: dict[tuple[Path, ...], list[LabelledFrame]] = {}
    for frame in data.frames:
        runs.setdefault(frame.frames, []).append(frame)
    jobs, lacking = [], []
    for number, (run, frames) in enumerate(runs.items()):
        name = f"run{number}" if len(runs) > 1 else "run"
        if len(frames) < gop:
            lacking.append(f"{frames[0].name}: its video has {len(frames)} labelled frames, {gop} are needed")
        for offset in range(gop):
            places = [(f.name, f.index - offset) for f in frames[gop - 1 :] if (f.index - offset) % gop in distances]
            if places:
                jobs.append(Job(f"{name}-o{offset}", run[offset:], tuple(places), False))
    return jobs, lacking


def prepare(
    data: LabelledFrames,
    folder: StrPath,
    encoding: Encoding,
    distances: Sequence[int],
    *,
    whole_run: bool = False,
    workers: int = 1,
    report: Callable[[str], None] = print,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Encodes `data` into `folder`; goes on with what is there if it was made with the same settings.

    Writes `videos/*.mp4`, `vectors/*.npz` (int16 quarter pixels at 4x4 blocks, of the labelled frames), `labels/*.png`
    (ids, 255 ignored) and, last, the manifest.

    Args:
        distances: of labelled frames to their keyframes, each 0..gop-1.
        whole_run: `data` is runs of consecutive labelled frames (see `run_jobs`).
        workers: processes.
        progress: called with the number of videos done and of all.

    Returns the path of the manifest. Raises `InputError` for bad settings, for a folder made with others, and where no
    labelled frame has enough frames before it.
    """
    folder, distances = Path(folder), sorted(set(distances))
    if not distances or distances[0] < 0 or distances[-1] >= encoding.gop:
        raise InputError(f"distances: expected numbers from 0 to gop - 1 = {encoding.gop - 1}, got {distances}")
    if workers < 1:
        raise InputError(f"workers: expected at least 1, got {workers}")
    jobs, lacking = (run_jobs if whole_run else snippet_jobs)(data, distances, encoding.gop)
    if not jobs:
        raise InputError(
            f"{data.name}: no labelled frame has {distances[0]} frames before it "
            f"({lacking[0] if lacking else 'no frames'}); are the frames of the videos where they were said to be?"
        )
    settings = {
        "version": VERSION,
        "dataset": data.name,
        "frames": len(data),
        "whole_run": whole_run,
        "distances": distances,
        **asdict(encoding),
    }
    _claim(folder, settings)
    with working_in(folder):
        labels = {frame.name: frame for frame in data.frames}
        for done, _ in enumerate(_made(jobs, folder, encoding, workers), 1):
            if progress is not None:
                progress(done, len(jobs))
        _save_labels(data, folder)
        for line in lacking[:3]:
            report(f"left out: {line}")
        if len(lacking) > 3:
            report(f"left out: {len(lacking) - 3} more")
        items = [item for job in jobs for item in _items(job, labels, encoding.gop)]
        manifest = {
            "settings": settings,
            "classes": list(data.classes),
            "palette": data.palette.tolist(),
            "items": items,
        }
        save_json(folder / MANIFEST, manifest | {"left_out": lacking})
        for left in (*folder.glob("*/.*.part*"), folder / ".settings.json"):  # of runs that were killed
            left.unlink(missing_ok=True)
    return folder / MANIFEST


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Refuses a folder that was made with other settings, or that holds something else."""
    folder.mkdir(parents=True, exist_ok=True)
    claim = folder / ".settings.json"
    found = None
    for path, pick in ((folder / MANIFEST, lambda record: record["settings"]), (claim, lambda record: record)):
        if path.exists():
            try:
                found = pick(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: cannot be read ({error}); give another folder") from error
            break
    else:
        if any(folder.iterdir()):
            raise InputError(f"{folder}: exists already and is no prepared data; give the name of a new folder")
    if found is not None:
        refuse_other_settings(folder, found, settings)
    save_json(claim, settings)
    for name in ("videos", "vectors", "labels"):
        (folder / name).mkdir(exist_ok=True)


def _made(jobs: Sequence[Job], folder: Path, encoding: Encoding, workers: int) -> Iterator[None]:
    """Works on the jobs; one item for each that is done."""
    if workers == 1:
        for job in jobs:
            make(job, folder, encoding)
            yield
        return
    # Fresh processes: a fork would copy the threads' locks of whoever calls.
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        coming: list[Future[None]] = [pool.submit(make, job, folder, encoding) for job in jobs]
        try:
            for future in as_completed(coming):
                yield future.result()
        except BrokenProcessPool as error:
            raise workers_ended(workers) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def make(job: Job, folder: Path, encoding: Encoding) -> None:
    """Encodes one video and keeps the vectors of its labelled frames; does nothing where they are there."""
    try:
        _make(job, folder, encoding)
    except VideoError as error:  # its fields would not come through from another process
        raise ArsegError(str(error)) from error


def _make(job: Job, folder: Path, encoding: Encoding) -> None:
    video, kept = folder / "videos" / f"{job.name}.mp4", folder / "vectors" / f"{job.name}.npz"
    if video.exists() and any(path.stat().st_mtime > video.stat().st_mtime for path in job.frames):
        video.unlink()  # of before a picture was changed
        kept.unlink(missing_ok=True)
    if not video.exists():
        images = (read_image(path) for path in job.frames)
        options: dict[str, Any] = {key: value for key, value in asdict(encoding).items() if value is not None}
        encode(images, video, **options)
    if not job.vectors or kept.exists():
        return
    ((_, place),) = job.labelled
    with VideoReader(video, block=BLOCK, gop=encoding.gop) as reader:
        frame = next(frame for frame in reader if frame.index == place)
    if frame.distance != place:
        raise InputError(f"{video}: frame {place} lies {frame.distance} from its keyframe; delete the file and go on")
    shape = tuple(-(-side // BLOCK) for side in frame.image.shape[:2])
    vectors = np.zeros((*shape, 2), np.int16) if frame.motion is None else frame.motion.vectors
    with replacing(kept) as part, part.open("wb") as file:
        np.savez_compressed(file, vectors=vectors)


def _save_labels(data: LabelledFrames, folder: Path) -> None:
    """All of them, for those that are there may be of before a correction."""
    for frame in data.frames:
        path, label = folder / "labels" / f"{frame.name}.png", data.label(frame)
        if not (path.exists() and np.array_equal(_stored(path), label)):
            with replacing(path) as part:
                Image.fromarray(label).save(part, format="PNG")


def _stored(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def _items(job: Job, labels: dict[str, LabelledFrame], gop: int) -> Iterator[dict[str, Any]]:
    for name, place in job.labelled:
        yield {
            "name": name,
            "video": f"videos/{job.name}.mp4",
            "frame": place,
            "distance": place % gop,
            "label": f"labels/{name}.png",
            "vectors": f"vectors/{job.name}.npz" if job.vectors else None,
            "image": str(labels[name].image.resolve()),
            "key_image": str(job.frames[place - place % gop].resolve()),
        }
