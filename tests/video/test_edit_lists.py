"""Files of which players show a part: the same frames at the same times as FFmpeg, with vectors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.mp4_edits import with_edits
from helpers.video_clips import busy_scene, pan, write_av

from arseg.inspect.reading import inspect
from arseg.video import NoFramesError, TruncatedStreamError, VideoFrame, VideoReader, transcode

COUNT, RATE, TICK = 48, 30, 512

# Encoder, ending, what the reader is asked for.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "one reference": ("libx264", "mp4", {"options": {"x264-params": "scenecut=0:ref=1:weightp=0"}, "gop": 24}),
    "B frames": ("libx264", "mp4", {"options": {"x264-params": "scenecut=0:b-adapt=0"}, "b_frames": 3}),
    "open groups": ("libx264", "mp4", {"options": {"x264-params": "scenecut=0:b-adapt=0:open-gop=1"}, "b_frames": 3}),
    "MPEG-4": ("mpeg4", "mp4", {"b_frames": 2}),
    "MPEG-2": ("mpeg2video", "mov", {"b_frames": 2}),
    "transcoded": ("mjpeg", "mov", {"pixels": "yuvj420p"}),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each kind, with all 48 frames shown."""
    folder, frames = tmp_path_factory.mktemp("edits"), busy_scene(COUNT, (64, 96))
    made = {}
    for kind, (codec, ending, settings) in KINDS.items():
        if codec in av.codecs_available:
            made[kind] = write_av(folder / f"{kind}.{ending}", frames, codec=codec, **settings)
    return made


def first_time(path: Path) -> int:
    """The first frame's time without an edit list: how far B frames delay it."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        return min(packet.pts for packet in container.demux(video=0) if packet.pts is not None)


def edited(path: Path, target: Path, *edits: tuple[int, int | None] | tuple[int, int | None, float]) -> Path:
    """Edits given as (number of frames, first frame or None for nothing, speed)."""
    start = first_time(path)
    listed = [
        (round(e[0] * 1000 / RATE), -1 if e[1] is None else start + e[1] * TICK, e[2] if len(e) > 2 else 1.0)
        for e in edits
    ]
    return with_edits(path, target / f"edited{path.suffix}", listed)


def shown(path: Path) -> list[tuple[int | None, bytes]]:
    """Time and picture of each frame, as PyAV alone gives them."""
    with av.open(str(path)) as container:
        return [(frame.pts, frame.to_ndarray(format="rgb24").tobytes()) for frame in container.decode(video=0)]


def read(path: Path, **options: Any) -> list[VideoFrame]:
    with VideoReader(path, **options) as reader:
        frames = list(reader)
        assert reader.frame_count == len(frames) and reader.losses == []
    return frames


def check(path: Path, **options: Any) -> list[VideoFrame]:
    """The reader's frames, which are FFmpeg's."""
    frames, wanted = read(path, **options), shown(path)
    assert [frame.pts for frame in frames] == [pts for pts, _ in wanted]
    assert [frame.image.tobytes() for frame in frames] == [picture for _, picture in wanted]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].keyframe
    for frame in frames:
        assert frame.keyframe == (frame.distance == 0) == (frame.motion is None)
        assert frame.distance <= frame.index
    return frames


EDITS = {
    "none": [],
    "cut in mid-group": [(30, 13)],
    "cut at a B frame": [(20, 10)],
    "cut after the first frame": [(20, 1)],
    "cut in the second half": [(10, 25)],
    "the end is cut off": [(17, 0)],
    "starts late": [(15, None), (30, 5)],
    "the middle is cut out": [(10, 0), (10, 30)],
    "repeats": [(10, 5), (10, 5)],
    "reorders": [(10, 30), (10, 3)],
    "slow motion": [(20, 5, 0.5)],
    "still picture": [(5, 5, 0.0), (20, 5)],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_that_players_show(kind: str, whole: dict[str, Path], tmp_path: Path) -> None:
    if kind not in whole:
        pytest.skip(f"this FFmpeg has no {KINDS[kind][0]}")
    for name, edits in EDITS.items():
        path = edited(whole[kind], tmp_path, *edits)
        frames = check(path, transcode=kind == "transcoded")
        assert len(frames) == COUNT or edits, name
        assert frames[0].time == (0.5 if name == "starts late" else pytest.approx(0, abs=first_time(path) / 15360))


def test_b_frames_are_not_late(whole: dict[str, Path]) -> None:
    """FFmpeg writes an edit list of its own, that takes the delay of B frames back."""
    assert first_time(whole["B frames"]) > 0
    assert read(whole["B frames"])[0].time == 0


def test_hidden_frames_carry_the_vectors(whole: dict[str, Path], tmp_path: Path) -> None:
    """As if the hidden frames were there, in groups that start where those of the cut start."""
    path = edited(whole["one reference"], tmp_path, (30, 13))
    cut = check(path)
    full = read(whole["one reference"], gop=13)[13:43]  # keyframes at 13, 24, 37
    assert [frame.frame_type for frame in cut[:2]] == ["P", "P"]
    assert [frame.distance for frame in cut] == [*range(11), *range(19)]
    for a, b in zip(cut[:24], full[:24], strict=True):
        assert a.distance == b.distance
        if a.motion is not None and b.motion is not None:
            assert a.motion.origin == "exact" and np.array_equal(a.motion.vectors, b.motion.vectors)


def test_each_shown_frame_has_a_way_to_its_keyframe(whole: dict[str, Path], tmp_path: Path) -> None:
    """B frames at the cut, whose references are hidden, stand alone: no field that is nothing but made up."""
    settings = {"x264-params": "scenecut=0:b-adapt=0:b-pyramid=none"}
    flat = write_av(tmp_path / "flat.mp4", busy_scene(24, (64, 96)), options=settings, b_frames=3)
    for first in range(1, 13):
        for frame in check(edited(flat, tmp_path, (10, first))):
            assert frame.motion is None or frame.motion.missing < 0.9, first


def test_repeats_from_a_keyframe_that_others_reach_over(whole: dict[str, Path], tmp_path: Path) -> None:
    """Where FFmpeg, which does not tell its decoder of the jump, mixes pictures up and drops some."""
    pictures = [picture for _, picture in shown(whole["open groups"])]
    path = edited(whole["open groups"], tmp_path, (20, 14), (20, 14), (5, 1))
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.frame_count == len(frames) >= 45 and reader.losses == []
    places = [pictures.index(frame.image.tobytes()) for frame in frames]
    joins = [i for i, (a, b) in enumerate(pairwise([-9, *places])) if b != a + 1]
    assert [places[i] for i in joins] == [14, 14, 1] and joins[0] == 0
    assert joins[1] >= 20 and joins[2] - joins[1] >= 20 and len(places) - joins[2] >= 5
    for frame in frames:
        assert frames[frame.index - frame.distance].keyframe


def test_a_stream_that_is_refreshed_step_by_step(tmp_path: Path) -> None:
    """It has no whole picture after the first; frames that the decoder recovers by are not shown, and no loss."""
    settings = {"x264-params": "intra-refresh=1:ref=1:keyint=16"}
    path = write_av(tmp_path / "whole.mp4", busy_scene(COUNT, (64, 96)), options=settings, gop=16)
    frames = check(edited(path, tmp_path, (20, 25)))
    assert len(frames) >= 20 and frames[1].motion is not None and frames[1].motion.origin == "exact"


def test_an_edit_list_that_shows_nothing(whole: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("one reference", "MPEG-4"):
        path = edited(whole[kind], tmp_path, (10, 100))
        with pytest.raises(NoFramesError, match="shows none of its frames: its edit list"):
            list(VideoReader(path))
        with pytest.raises(NoFramesError, match="shows none of its frames: its edit list"):
            transcode(path, tmp_path / "out.mp4")
        assert not (tmp_path / "out.mp4").exists()
    with VideoReader(path, options={"ignore_editlist": "1"}) as reader:
        assert len(list(reader)) == COUNT


def test_cut_off_in_what_is_shown_and_in_what_is_not(tmp_path: Path) -> None:
    frames = pan(24, (64, 64), 2, 1)
    path = write_av(tmp_path / "whole.mp4", frames, options={"x264-params": "scenecut=0:ref=1:weightp=0"})
    edit = with_edits(path, tmp_path / "edit.mp4", [(400, 5 * TICK, 1.0)])  # frames 5 to 16
    with av.open(str(edit)) as container:
        at = [packet.pos or 0 for packet in container.demux(video=0) if packet.size]
    data = edit.read_bytes()
    index = data[data.index(b"moov") - 4 :]
    place = data.index(b"mdat") - 4
    for kept, good in ((at[10], 5), (at[20], 12)):
        # The index first, as in a file that is streamed, so that the end can be missing.
        moved = bytearray(index)
        table = moved.index(b"stco") + 12
        offset = int.from_bytes(moved[table : table + 4], "big") + len(index)
        moved[table : table + 4] = offset.to_bytes(4, "big")
        assert moved[table - 4 : table] == b"\0\0\0\1"  # one chunk
        (tmp_path / "cut.mp4").write_bytes(data[:place] + moved + data[place:kept])
        got = []
        with VideoReader(tmp_path / "cut.mp4") as reader:
            assert reader.frame_count == 12
            if good == 12:
                got = list(reader)
            else:
                with pytest.raises(TruncatedStreamError, match="at frame 5 of 12") as caught:
                    for frame in reader:
                        got.append(frame)
                assert caught.value.frame == 5
        assert len(got) == good


@pytest.mark.slow
def test_encode_and_inspect_take_the_same_frames(whole: dict[str, Path], tmp_path: Path) -> None:
    path = edited(whole["B frames"], tmp_path, (6, None), (30, 13))
    frames = read(path)
    assert transcode(path, tmp_path / "out.mp4") == len(frames)
    again = read(tmp_path / "out.mp4")
    passed = [[f.time - some[0].time for f in some] for some in (frames, again)]  # type: ignore[operator]
    assert passed[1] == pytest.approx(passed[0], abs=1e-3)
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(frames, again, strict=True)) < 6
    for kind in ("B frames", "transcoded"):
        path = edited(whole[kind], tmp_path, (30, 13))
        found = inspect(path)
        assert found.frames == found.stated == len(read(path, transcode=True)) and not found.losses


def test_damage_before_the_first_shown_frame_is_told(whole: dict[str, Path], tmp_path: Path) -> None:
    """What is shown is predicted from it."""
    path = edited(whole["one reference"], tmp_path, (30, 13))
    with av.open(str(path)) as container:
        packets = [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    start, size = packets[5]
    data[start + 12 : start + size] = b"\xff" * (size - 12)
    path.write_bytes(data)
    with VideoReader(path, on_error="resync") as reader:
        frames = list(reader)
    assert reader.losses and frames[0].frame_type == "I"
    assert frames[0].index == 11 and sum(loss.count or 0 for loss in reader.losses) == 11
