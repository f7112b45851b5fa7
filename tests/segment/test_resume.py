"""A run that is killed at random goes on, and gives to the bit what one gives that is not; what a journal refuses."""

from __future__ import annotations

import csv
import random
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.streets import pictures
from PIL import Image

from arseg import VideoSegmenter
from arseg.data.street import StreetScene
from arseg.errors import InputError
from arseg.files import BusyError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.segment.finished import FinishedGroup
from arseg.segment.journal import Journal
from arseg.segment.outputs import output_for
from arseg.segment.result import SegmentedFrame
from arseg.segment.run import forget, segment_file
from arseg.segment.written import Written
from arseg.video import encode
from arseg.video.picture_reader import PictureReader

FRAMES = 60
FILES = ("o.mp4", "a.npz", "label-video:l.mkv", "c.jsonl", "t.csv")


def tiny() -> ARSegNet:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return net


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(FRAMES), path, rate=15, gop=5)
    return path


def outputs(folder: Path) -> list:
    names = [name.rpartition(":") for name in FILES]
    return [output_for(f"{kind}{colon}{folder / name}") for kind, colon, name in names]


def contents(folder: Path) -> dict:
    """What is in the files; of the table all but the milliseconds, which no two runs share."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".csv"}
    with (folder / "t.csv").open() as file:
        rows = [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in csv.DictReader(file)]
    return found | {"t.csv": rows}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ar", "hr"])
def test_killed_at_random_it_ends_as_if_it_had_not_been(clip, tmp_path, mode):
    segmenter = VideoSegmenter(tiny(), gop=5, mode=mode, batch=3)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert segment_file(segmenter, clip, outputs(whole), resume=True) == FRAMES
    program = f"""
import os, signal, sys, threading, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from segment.test_resume import outputs, tiny
from arseg import VideoSegmenter
from arseg.segment import run
from arseg.segment.written import Written
write = Written.write
last, delay = int(sys.argv[1]), float(sys.argv[2])
def slowly(self, result):
    write(self, result)
    if result.index == last:  # a little later, whatever is at work then; not from outside, where a busy machine is late
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    time.sleep(0.01)
Written.write = slowly
run.segment_file(VideoSegmenter(tiny(), gop=5, mode={mode!r}, batch=3), {str(clip)!r}, outputs(Path({str(killed)!r})),
                 resume=True)
"""
    rng, kept = random.Random(mode), []
    for _ in range(3):
        when = [str(rng.randrange(7, FRAMES - 5)), str(rng.random() * 0.02)]
        done = subprocess.run([sys.executable, "-c", program, *when], cwd=Path(__file__).parents[1])
        assert done.returncode == -signal.SIGKILL
        assert not any((killed / name.rpartition(":")[2]).exists() for name in FILES)
        kept.append((killed / "o.mp4.resume").stat().st_size)
    assert kept == sorted(kept), "what was found is kept"
    calls = []
    segmenter._engine.keyframes, keyframes = (
        lambda frames: calls.append(1) or keyframes(frames),
        segmenter._engine.keyframes,
    )
    segmenter._engine.each, each = lambda frames: calls.append(1) or each(frames), segmenter._engine.each
    assert segment_file(segmenter, clip, outputs(killed), resume=True) == FRAMES
    assert len(calls) < FRAMES // 5, "finished groups are not seen again"
    assert contents(killed) == contents(whole)


def test_it_is_the_usual_result(clip, tmp_path):
    for folder, resume in (("a", True), ("b", False)):
        (tmp_path / folder).mkdir()
        segmenter = VideoSegmenter(tiny(), gop=5, batch=3)
        segment_file(segmenter, clip, outputs(tmp_path / folder), resume=resume, frames=20)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_settings_are_refused(clip, tmp_path, monkeypatch):
    from arseg.segment.written import Written

    write = Written.write

    def stop(self, result):
        write(self, result)
        if result.index == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(Written, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        segment_file(VideoSegmenter(tiny(), gop=5), clip, outputs(tmp_path), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4.resume"]
    with pytest.raises(InputError, match=r"made with gop 5 \(asked for 4\)"):
        segment_file(VideoSegmenter(tiny(), gop=4), clip, outputs(tmp_path), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4.resume"]


def group(first: int) -> FinishedGroup:
    """Of three frames, the first one a keyframe."""
    labels, image = np.full((4, 5), first, np.uint8), np.zeros((4, 5, 3), np.uint8)
    rest = {"pts": None, "time_base": Fraction(1, 25), "time": None, "rotation": 0}
    return FinishedGroup.of([SegmentedFrame(first + n, labels, image, "IPP"[n], n == 0, n, **rest) for n in range(3)])


@pytest.mark.parametrize("cut", [1, 5, 16, 30])
def test_a_torn_record_is_dropped(tmp_path, cut):
    path = tmp_path / "j"
    journal = Journal(path, {"a": 1})
    for first in (0, 3):
        journal.add(group(first))
    with pytest.raises(BusyError, match="another run is at work"):
        Journal(path, {"a": 1})
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path, {"a": 1})
    assert journal.frames == {0, 1, 2}
    assert (journal.take(0).labels == 0).all() and journal.take(3) is None
    journal.add(group(3))
    journal.close()
    journal = Journal(path, {"a": 1})
    assert journal.frames == {*range(6)} and journal.take(7) is None and (journal.take(0).labels == 0).all()
    assert (journal.take(3).labels == 3).all()
    journal.close()


def test_what_is_no_journal(tmp_path):
    (tmp_path / "j").write_bytes(b"\x89PNG\n")
    with pytest.raises(InputError, match="is no journal"):
        Journal(tmp_path / "j", {})
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "no" / "j", {})


def test_pictures_are_gone_on_with_as_they_were(tmp_path):
    """Others of the same folder are not taken for them, nor others under the same names."""
    for number, (image, _) in enumerate(StreetScene(2, width=64, height=48).frames(8)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(8)]
    target = tmp_path / "o.npz"

    def run(pictures, frames=None):
        return segment_file(VideoSegmenter(tiny()), PictureReader(pictures), [output_for(str(target))], resume=True,
                            frames=frames)  # fmt: skip

    with pytest.raises(RuntimeError, match="stopped"), pytest.MonkeyPatch.context() as patch:
        write = Written.write

        def stop(self, result):
            write(self, result)
            if result.index == 3:
                raise RuntimeError("stopped")

        patch.setattr(Written, "write", stop)
        run(files)
    with pytest.raises(InputError, match="resume"):
        run(files[::-1])
    shutil.copy(files[0], files[6])
    with pytest.raises(InputError, match="resume"):
        run(files)


def test_a_finished_file_among_others_is_passed_over(clip, tmp_path):
    """As long as it is what it was: with other outputs, or one that was changed since, it is made again."""

    def run(*targets, frames=10):
        segmenter, network, told = VideoSegmenter(tiny(), gop=5, batch=3), [], []
        all_of = segmenter.segment_all
        segmenter.segment_all = lambda *given, **options: network.append(1) or all_of(*given, **options)
        outs = [output_for(str(tmp_path / target)) for target in targets]
        done = {"frames": frames, "resume": True, "remember": True, "on_frame": lambda *so_far: told.append(so_far)}
        assert segment_file(segmenter, clip, outs, **done) == 10 and told[-1] == (10, 2)
        return bool(network), outs

    assert run("a.npz", "masks/")[0]
    assert (tmp_path / "a.npz.resume").stat().st_size < 4000, "no label maps are kept twice"
    seen, outs = run("a.npz", "masks/")
    assert not seen
    assert run("a.npz")[0]
    assert not run("a.npz")[0]
    (tmp_path / "a.npz").write_bytes(b"mine")
    assert run("a.npz")[0] and (tmp_path / "a.npz").stat().st_size > 100
    with pytest.raises(InputError, match=r"made with .*frames 10 \(asked for 20\)"):
        run("a.npz", frames=20)
    forget(outs)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "masks"}


@pytest.mark.parametrize("length", [1, 20])
def test_a_note_that_was_torn_is_none(tmp_path, length):
    """The kill came when it was written: nothing is taken for finished, and nothing of it for a record."""
    journal = Journal(tmp_path / "j", {})
    journal.add(group(0))

    def stop(data):
        with journal.path.open("r+b") as file:
            file.seek(journal._file.tell())
            file.write(data[:length])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal._file, "write", stop)
        journal.finish(3, 1, [])
    journal.close()
    torn = Journal(tmp_path / "j", {})
    assert torn.finished([]) is None and not torn.frames
    torn.add(group(3))
    torn.close()
    after = Journal(tmp_path / "j", {})
    assert after.groups == [3]
    after.close()
