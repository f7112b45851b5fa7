"""Processes that share a video or files: results are those of one process, whatever dies on the way."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import util
from pathlib import Path

import pytest
import torch
from helpers.streets import pictures
from helpers.tiny_segmenter import Dying, tiny_segmenter
from helpers.told import that_tells_of_frame
from PIL import Image

from arseg.data.street import StreetScene
from arseg.errors import ArsegError
from arseg.interruptions import exit_on_signals
from arseg.segment import run
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.selection import Selection
from arseg.segment.shards import groups
from arseg.segment.shards.groups import Shard, shards_of
from arseg.segment.shards.jobs import Told, in_order
from arseg.segment.shards.pool import LocalPool
from arseg.segment.shards.worker import Worker
from arseg.segment.written import Written
from arseg.video import encode
from arseg.video.picture_reader import PictureReader

FRAMES = 60
FILES = ("o.mp4", "a.npz", "label-video:l.mkv", "c.jsonl")
LABELS = FILES[1:]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(FRAMES), path, rate=15, gop=5)
    return path


@pytest.fixture(scope="module")
def pool():
    with LocalPool(tiny_segmenter, 2, threads=torch.get_num_threads()) as processes:
        yield processes


@pytest.fixture(autouse=True)
def short_shards(monkeypatch):
    monkeypatch.setattr(groups, "LEAST", 10)


def made(folder: Path, video, names=FILES, segmenter=None, **how) -> dict[str, bytes]:
    """What is in the files that a run writes."""
    folder.mkdir(exist_ok=True)
    targets = [name.rpartition(":") for name in names]
    outputs = [output_for(f"{kind}{colon}{folder / name}") for kind, colon, name in targets]
    segment_file(segmenter or tiny_segmenter(), video, outputs, **how)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def gone_on_with(folder: Path, video, last: int, first, second, monkeypatch, segmenter=None) -> dict[str, bytes]:
    """What a run by a second runner writes, after one by the first was stopped at frame `last`."""
    write = Written.write

    def stop(self, result):
        write(self, result)
        if result.index == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Written, "write", stop)
        made(folder, video, segmenter=segmenter, runner=first, resume=True)
    assert os.listdir(folder) == ["o.mp4.resume"]
    return made(folder, video, segmenter=segmenter, runner=second, resume=True)


def test_shards_begin_where_decoding_may():
    shards = shards_of("v", [0, 4, 12, 15, 40], 47, range(13, 44, 2), {})
    assert [(shard.first, shard.last, shard.wanted) for shard in shards] == [
        (12, 40, range(13, 40, 2)),
        (40, 47, range(41, 44, 2)),
    ]
    assert shards_of("v", [0, 12], 24, range(24), {}, {*range(15), 99}) == [
        Shard("v", 12, 24, range(12, 24), {}, frozenset([12, 13, 14]))
    ]
    assert shards_of("v", [0], 5, range(0), {}) == []


def test_what_is_told_comes_in_order():
    told = [Told(1, "b"), Told(0, "a"), Told(2, ended=True), Told(1, ended=True), Told(0, ended=True)]
    assert [(one.job, one.message) for one in in_order(told)] == [(0, "a"), (0, None), (1, "b"), (1, None), (2, None)]


@pytest.mark.slow
@pytest.mark.parametrize("selection", [None, Selection(start=0.5, end=3.1, every=3), Selection(start=1, limit=7)])
def test_to_the_bit_as_by_one_process(clip, tmp_path, pool, selection):
    whole = made(tmp_path / "one", clip, selection=selection)
    assert made(tmp_path / "two", clip, selection=selection, runner=pool) == whole
    for name in LABELS:  # without pictures nothing is decoded here
        made(tmp_path / "alone", clip, [name], selection=selection, runner=pool)
    assert {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()} == {
        name.rpartition(":")[2]: whole[name.rpartition(":")[2]] for name in LABELS
    }


@pytest.mark.slow
def test_pictures(tmp_path, pool):
    files = tuple(tmp_path / f"{number:02d}.png" for number in range(25))
    for file, (image, _) in zip(files, StreetScene(3, width=64, height=48).frames(25), strict=True):
        Image.fromarray(image).save(file)
    folders = {}
    for name, runner in (("one", None), ("two", pool)):
        segment_file(tiny_segmenter(), PictureReader(files), [output_for(f"labels:{tmp_path / name}/")], runner=runner)
        folders[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert folders["one"] == folders["two"] and len(folders["one"]) == 25


@pytest.mark.slow
def test_a_worker_that_is_killed(clip, tmp_path, pool, monkeypatch):
    whole = made(tmp_path / "one", clip)
    marks = tmp_path / "marks"
    marks.mkdir()

    def second_dies(*arguments):
        shards = shards_of(*arguments)
        return [Dying(shard, marks, 2) if number == 1 else shard for number, shard in enumerate(shards)]

    monkeypatch.setattr(run, "shards_of", second_dies)
    assert made(tmp_path / "two", clip, runner=pool) == whole
    assert len(list(marks.iterdir())) == 3
    for mark in marks.iterdir():
        mark.unlink()
    dying = {"times": 99}
    monkeypatch.setattr(
        run, "shards_of", lambda *a: [replace(Dying(one, marks), **dying) for one in shards_of(*a)[1:2]]
    )
    with pytest.raises(ArsegError, match=r"street.mp4, frames 10 to 19: given up after 3 tries \(.*SIGKILL") as error:
        made(tmp_path / "three", clip, LABELS, runner=pool)
    assert "\n" not in str(error.value) and os.listdir(tmp_path / "three") == []
    assert len(list(marks.iterdir())) == 3


@pytest.mark.slow
def test_stopped_and_gone_on_with(clip, tmp_path, pool, monkeypatch):
    whole = made(tmp_path / "one", clip)
    for first, second in ((pool, None), (None, pool)):
        assert gone_on_with(tmp_path / f"{first is None}", clip, 33, first, second, monkeypatch) == whole


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory) -> Path:
    """I frames every 14 frames, and a cut between two of them, which the encoder does not mark."""
    path = tmp_path_factory.mktemp("cut") / "cut.mp4"
    frames = list(pictures(FRAMES))
    frames[31:] = [255 - frame for frame in frames[31:]]
    encode(frames, path, rate=15, gop=14)
    return path


class InTurn:
    """Two workers in this process, which take the jobs in turn."""

    slots, elsewhere = 2, False

    def __init__(self, make) -> None:
        self.workers = [Worker(make), Worker(make)]

    def run(self, jobs):
        for number, job in enumerate(jobs):
            told: list = []
            pickle.loads(pickle.dumps(job)).run(self.workers[number % 2], told.append)
            yield from (Told(number, message) for message in told)
            yield Told(number, ended=True)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["ensemble", "ar"])
def test_a_policy_is_shared_to_the_bit(cut_clip, tmp_path, policy, capfd, monkeypatch):
    segmenter, runner = tiny_segmenter(policy=policy), InTurn(partial(tiny_segmenter, policy=policy))
    whole = made(tmp_path / "one", cut_clip, segmenter=segmenter)
    assert made(tmp_path / "two", cut_clip, segmenter=segmenter, runner=runner) == whole
    keyframes = [result.index for result in segmenter.stream(cut_clip) if result.keyframe]
    assert {32 if policy == "ensemble" else 31, 14, 28, 42} <= {*keyframes}, "the cut, and the I frames"
    parts = {"selection": Selection(start=0.5, end=3.1, every=3)}, {"frames": 31}
    for number, part in enumerate(parts):
        alone = made(tmp_path / f"part {number}", cut_clip, LABELS, segmenter, **part)
        assert made(tmp_path / f"shared {number}", cut_clip, LABELS, segmenter, **part, runner=runner) == alone
    assert "one process segments it" not in capfd.readouterr().err
    if policy == "ar":
        return
    for first, second in ((runner, None), (None, runner)):
        found = gone_on_with(tmp_path / f"{first is None}", cut_clip, 36, first, second, monkeypatch, segmenter)
        assert found == whole


@pytest.mark.slow
def test_what_cannot_be_shared_is_said(clip, tmp_path, pool, capfd):
    whole = made(tmp_path / "one", clip, on_error="resync")
    assert made(tmp_path / "two", clip, on_error="resync", runner=pool) == whole
    assert "street.mp4: one process segments it: what is lost (on_error='resync')" in capfd.readouterr().err
    made(tmp_path / "three", clip, LABELS, tiny_segmenter(budget="25%"), runner=InTurn(tiny_segmenter))
    assert "street.mp4: one process segments it: where its keyframes are follows" in capfd.readouterr().err


@pytest.mark.slow
def test_a_signal_while_a_process_starts_comes_after_that(clip, tmp_path, monkeypatch, capfd):
    """To another thread, which no mask of the main one keeps from it; the new process has what it is to do."""
    over, start, started = threading.Event(), util.spawnv_passfds, []
    other = threading.Thread(target=over.wait)
    other.start()

    def signalled(path, arguments, handles):
        process = start(path, arguments, handles)
        if any("spawn_main" in str(word) for word in arguments):  # not the watcher over semaphores
            started.append(process)
            signal.pthread_kill(other.ident, signal.SIGTERM)
            time.sleep(0.2)
        return process

    monkeypatch.setattr(util, "spawnv_passfds", signalled)
    code = None
    try:
        with exit_on_signals(), LocalPool(tiny_segmenter, 2) as runner:
            made(tmp_path / "one", clip, runner=runner)
    except SystemExit as error:  # and nothing holds what it has seen, such as pipes
        code = error.code
    finally:
        over.set()
    gc.collect()
    for process in started:
        with suppress(ChildProcessError):  # the pool has seen its end
            os.waitpid(process, 0)
    assert started and code == 128 + signal.SIGTERM and "Traceback" not in capfd.readouterr().err


def children(process: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(clip, tmp_path, number):
    clips = [tmp_path / f"{name}.mp4" for name in "ab"] if number == signal.SIGTERM else [tmp_path / "a.mp4"]
    for path in clips:
        path.symlink_to(clip)
    if len(clips) == 1:
        command = that_tells_of_frame(7, "segment", "a.mp4", "-o", "o.mp4", "--workers", "2", stays=True)
    else:
        command = that_tells_of_frame(-1, "segment", "a.mp4", "b.mp4", "-o", "{stem}-o.mp4", "--workers", "2")
    running = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if len(clips) == 1:
        assert running.stdout.readline() == "frame 7\n"
    while len(workers := children(running.pid)) < 2:
        time.sleep(0.05)
    running.send_signal(number)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 128 + number and "Traceback" not in err, err
    deadline = time.monotonic() + 10  # one of them only watches over semaphores, and ends by itself
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(os.listdir(tmp_path)) == [path.name for path in clips]
