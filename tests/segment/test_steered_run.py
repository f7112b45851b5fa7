"""A budget over a part of a video, and over one that is gone on with: labels are those of a whole run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from helpers.streets import pictures
from helpers.tiny_segmenter import tiny_segmenter
from PIL import Image

from arseg.errors import InputError
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.selection import Selection
from arseg.segment.written import Written
from arseg.video import VideoFrame, encode
from arseg.video.picture_reader import PictureReader

FRAMES, RATE = 61, 10
STEERED = [{"budget": "20%"}, {"budget": "60%", "policy": "ar"}, {"budget": "12%", "policy": "warp"}]
STEERED += [{"policy": "ensemble"}]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(FRAMES), path, rate=RATE, gop=23)
    return path


def outputs(folder: Path) -> list:
    folder.mkdir(exist_ok=True)
    return [output_for(str(folder / name)) for name in ("a.npz", "o.mp4", "c.jsonl")]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def counted(segmenter) -> list[int]:
    """Frames that the network sees as keyframes, from now on."""
    seen, keyframes = [], segmenter._engine.keyframes
    segmenter._engine.keyframes = lambda frames, *a: seen.extend(f.index for f in frames) or keyframes(frames, *a)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("steered", [*STEERED, {"slowest": "60%"}], ids=str)
def test_a_part_has_the_labels_of_a_whole_run(clip, tmp_path, steered):
    segmenter = tiny_segmenter(**steered)
    whole = [result.labels for result in segmenter.stream(clip)]
    seen = counted(segmenter)
    selection = Selection(start=2.4, end=4.2, every=3)
    target = tmp_path / "part.npz"
    assert segment_file(segmenter, clip, [output_for(str(target))], selection=selection) == 6
    with np.load(target) as part:
        assert part["frames"].tolist() == [24, 27, 30, 33, 36, 39]
        for index in part["frames"]:
            assert (part[f"{index:06d}"] == whole[index]).all(), index
    if "slowest" not in steered:
        assert seen and min(seen) > 10 and max(seen) < 55, "others are passed over"


@pytest.mark.slow
@pytest.mark.parametrize("steered", STEERED, ids=str)
def test_gone_on_with_to_the_bit(clip, tmp_path, monkeypatch, steered):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    segment_file(tiny_segmenter(**steered), clip, outputs(whole), resume=True)
    usual = tmp_path / "usual"
    segment_file(tiny_segmenter(**steered), clip, outputs(usual))
    assert contents(usual) == contents(whole)
    write = Written.write
    for last in (14, 37, FRAMES - 1):

        def stop(self, result, last=last):
            write(self, result)
            if result.index == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Written, "write", stop)
            segment_file(tiny_segmenter(**steered), clip, outputs(stopped), resume=True)
    segmenter = tiny_segmenter(**steered)
    seen = counted(segmenter)
    segment_file(segmenter, clip, outputs(stopped), resume=True)
    assert contents(stopped) == contents(whole)
    assert all(index > 40 for index in seen), "finished groups are not seen again"


@pytest.mark.parametrize("policy", ["ensemble", "warp"])
def test_finished_frames_are_not_kept_in_memory(clip, tmp_path, monkeypatch, policy):
    """Each of them is decoded, and let go when it is written."""
    write = Written.write

    def stop(self, result):
        write(self, result)
        if result.index == FRAMES - 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Written, "write", stop)
        segment_file(tiny_segmenter(policy=policy), clip, outputs(tmp_path / "o"), resume=True)
    made, most = [], []
    make = VideoFrame.__init__

    def note(self, *a, **k):
        make(self, *a, **k)
        made.append(weakref.ref(self))
        most.append(sum(frame() is not None for frame in made))

    monkeypatch.setattr(VideoFrame, "__init__", note)
    assert segment_file(tiny_segmenter(policy=policy), clip, outputs(tmp_path / "o"), resume=True) == FRAMES
    assert max(most) <= 16, "a group of 12, and what is at hand"


@pytest.mark.slow
def test_killed(clip, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    segment_file(tiny_segmenter(budget="20%"), clip, outputs(whole), selection=Selection(start=1, every=2))
    program = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from helpers.tiny_segmenter import tiny_segmenter
from segment.test_steered_run import Selection, Written, outputs, segment_file
write = Written.write
def dies(self, result):
    write(self, result)
    if result.index == 38:
        os.kill(os.getpid(), signal.SIGKILL)
Written.write = dies
segment_file(tiny_segmenter(budget="20%"), {str(clip)!r}, outputs(Path({str(killed)!r})), resume=True,
             selection=Selection(start=1, every=2))
"""
    killed.mkdir()
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1]).returncode == -signal.SIGKILL
    assert not (killed / "a.npz").exists() and (killed / "a.npz.resume").stat().st_size > 1000
    how = {"resume": True, "selection": Selection(start=1, every=2)}
    with pytest.raises(InputError, match=r"made with budget 20% \(asked for 30%\)"):
        segment_file(tiny_segmenter(budget="30%"), clip, outputs(killed), **how)
    segment_file(tiny_segmenter(budget="20%"), clip, outputs(killed), **how)
    assert contents(killed) == contents(whole)
    assert not any(name.endswith(".resume") for name in os.listdir(killed))


@pytest.mark.parametrize(
    ("steered", "sentence"),
    [
        ({"slowest": "60%"}, "^--live: .*; leave out --resume$"),
        ({"budget": "1000ms"}, "^--budget in ms: .*; give gmacs or %; leave out --resume$"),
    ],
)
def test_what_cannot_be_gone_on_with(clip, tmp_path, steered, sentence):
    with pytest.raises(InputError, match=sentence):
        segment_file(tiny_segmenter(**steered), clip, outputs(tmp_path / "o"), resume=True)


def test_pictures_have_no_frames_between(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="pictures have no frames between keyframes"):
        segment_file(tiny_segmenter(budget="20%"), PictureReader((tmp_path / "a.png",)), outputs(tmp_path / "o"))
    plain, steered = outputs(tmp_path / "plain")[:1], outputs(tmp_path / "steered")[:1]
    segment_file(tiny_segmenter(), PictureReader((tmp_path / "a.png",)), plain)
    segment_file(tiny_segmenter(policy="ensemble"), PictureReader((tmp_path / "a.png",)), steered)
    assert contents(tmp_path / "plain") == contents(tmp_path / "steered")
