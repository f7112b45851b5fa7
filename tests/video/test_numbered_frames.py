"""Frames by number and time are those of a pass from the start, whatever the stream; the length; bytes and files."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from helpers.mp4_edits import with_edits
from helpers.same_frames import differences
from helpers.video_clips import busy_scene, write_av

from arseg.errors import InputError
from arseg.video import VideoError, VideoReader

COUNT = 50
X264 = "scenecut=0:keyint=12:min-keyint=12"

# Ending, encoder and its settings; whether decoding can begin at keyframes in the middle.
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "one reference": ("mp4", {"options": {"x264-params": f"{X264}:ref=1:weightp=0:bframes=0"}}, True),
    "three references": ("mkv", {"options": {"x264-params": f"{X264}:ref=3:bframes=0"}}, True),
    "B frames": ("mp4", {"options": {"x264-params": f"{X264}:bframes=3:b-pyramid=normal:ref=3"}, "b_frames": 3}, True),
    "B frames, ts": ("ts", {"options": {"x264-params": f"{X264}:bframes=2:b-adapt=2"}, "b_frames": 2}, True),
    "open groups": ("mp4", {"options": {"x264-params": f"{X264}:b-adapt=0:open-gop=1"}, "b_frames": 3}, True),
    "open groups, ts": ("ts", {"options": {"x264-params": f"{X264}:b-adapt=0:open-gop=1"}, "b_frames": 3}, True),
    "gradual refresh": ("mp4", {"options": {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}}, False),
    "raw H.264": ("264", {"options": {"x264-params": f"{X264}:bframes=2"}, "b_frames": 2}, True),
    "AVI": ("avi", {"codec": "mpeg4"}, True),
    "FLV": ("flv", {"options": {"x264-params": f"{X264}:bframes=0"}}, True),
    "MPEG-4": ("mp4", {"codec": "mpeg4", "b_frames": 2}, True),
    "MPEG-2": ("mov", {"codec": "mpeg2video", "b_frames": 2}, True),
    "MPEG-1": ("mpg", {"codec": "mpeg1video", "b_frames": 2}, True),
    "VP9": ("webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}, False),  # transcoded
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, frames = tmp_path_factory.mktemp("numbered"), busy_scene(COUNT, (64, 96))
    files = {}
    for kind, (ending, settings, _) in KINDS.items():
        if settings.get("codec", "libx264") in av.codecs_available:
            files[kind] = write_av(folder / f"{kind}.{ending}", frames, **settings)
    return files


def check(path: Path, count: int = COUNT, **options: Any) -> VideoReader:
    """`count` frames by number, in an order by chance, are those of a pass; the reader, to look at how it did that."""
    with VideoReader(path, **options) as reader:
        frames = list(reader)
    order = list(range(len(frames)))
    random.Random(1).shuffle(order)
    with VideoReader(path, **options) as reader:
        assert len(reader) == len(frames)
        for index in order[:count]:
            assert differences(reader[index], frames[index]) == [], index
    return reader


def entries(reader: VideoReader) -> list[int]:
    """The frames at which decoding could begin; none as well after the table was found to be wrong."""
    table = reader._numbered._places._table
    return [] if table is None else [entry.index for entry in table.entries]


@pytest.mark.parametrize("gop", [48, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_by_number_as_in_a_pass(made: dict[str, Path], kind: str, gop: int) -> None:
    if kind not in made:
        pytest.skip(f"this build of FFmpeg has no encoder for {kind}")
    reader = check(made[kind], COUNT if KINDS[kind][2] else 8, gop=gop)
    assert entries(reader) == ([12, 24, 36, 48] if KINDS[kind][2] else [])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][2]])
def test_decoding_begins_at_the_keyframe(made: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pass from the start, and in one that goes on from frame to frame."""
    with VideoReader(made[kind]) as reader:
        places = reader._numbered._places
        monkeypatch.setattr(places, "_start", lambda: pytest.fail("decoded from the start"))
        opened = []
        monkeypatch.setattr(places, "_source", lambda source=places._source: opened.append(1) or source())
        assert [frame.index for frame in reader.frames_at([40, 30, 45, 30, -1])] == [40, 30, 45, 30, COUNT - 1]
        assert reader[49].index == 49
        assert len(opened) == 4  # at 24, 36 and twice at 48


@pytest.mark.parametrize("kind", ["one reference", "three references", "B frames", "open groups"])
def test_fields_to_the_frame_before(made: dict[str, Path], kind: str) -> None:
    """And links from keyframe to keyframe, where groups are shorter than the codec's."""
    with VideoReader(made[kind], gop=5, previous=True) as reader:
        frames = list(reader)
    assert any(frame.previous for frame in frames) and any(frame.link for frame in frames)
    assert entries(check(made[kind], 25, gop=5, previous=True)) == [12, 24, 36, 48]


def test_groups_that_start_at_a_word(made: dict[str, Path]) -> None:
    """All frames before are asked about again, for a word may depend on the ones before it."""
    reader = check(made["one reference"], 6, starts=lambda candidate: candidate.distance == 3 + candidate.groups % 2)
    assert entries(reader) == [] and reader.seeks_from_start == "starts= is asked about all frames before"


EDITS: dict[str, list[tuple[int, int, float]]] = {
    "starts in a group": [(1000, 512 * 8, 1.0)],
    "ends early": [(700, 0, 1.0)],
    "twice": [(500, 0, 1.0), (500, 0, 1.0)],
    "empty first": [(400, -1, 1.0), (900, 512 * 5, 1.0)],
}


@pytest.mark.parametrize("edits", EDITS)
@pytest.mark.parametrize("kind", ["one reference", "B frames", "open groups", "MPEG-4"])
def test_edit_lists(made: dict[str, Path], kind: str, edits: str, tmp_path: Path) -> None:
    if kind not in made:
        pytest.skip(f"this build of FFmpeg has no encoder for {kind}")
    check(with_edits(made[kind], tmp_path / "edited.mp4", EDITS[edits]), 12, gop=9)


def test_joined_recordings(made: dict[str, Path], tmp_path: Path) -> None:
    """Times start again in the middle; frames have those of a pass, which go on."""
    path = tmp_path / "joined.ts"
    path.write_bytes(made["B frames, ts"].read_bytes() * 2)
    with VideoReader(path) as reader:
        frames = list(reader)
        times = [frame.time for frame in frames]
        assert times == sorted(times) and len(frames) == 2 * COUNT
    check(path, 12)


def test_damaged_in_the_middle(made: dict[str, Path], tmp_path: Path) -> None:
    """What a pass cannot give is no frame by number either; with resync frames are those of a pass."""
    data = bytearray(made["three references"].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 900] = bytes(900)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(data)
    with VideoReader(path, on_error="resync") as reader:
        frames = list(reader)
        assert reader.losses and "resync" in (reader.seeks_from_start or "")
        assert all(differences(reader[frame.index], frame) == [] for frame in (frames[3], frames[-1]))
        lost = reader.losses[0].frame
    with VideoReader(path) as reader:
        with pytest.raises(VideoError):
            reader[lost]
        assert differences(reader[lost - 3], frames[lost - 3]) == []  # after an error, too
        assert np.array_equal(reader[-1].image, frames[-1].image)  # of a later group


@pytest.mark.parametrize("kind", ["B frames", "B frames, ts", "VP9"])
def test_by_time(made: dict[str, Path], kind: str) -> None:
    """The frame that a player shows: the last that begins by then."""
    if kind not in made:
        pytest.skip(f"this build of FFmpeg has no encoder for {kind}")
    with VideoReader(made[kind]) as reader:
        frames = list(reader)
        start = frames[0].time
        for frame in (frames[0], frames[7], frames[-1]):
            assert reader[frame.time].index == frame.index
            assert reader[frame.time + 0.02].index == frame.index
        assert reader[np.float32(start + 1)].index == 30
        assert [frame.index for frame in reader.frames_at([start + 0.5, 3, Fraction(1, 1) + Fraction(start)])] == [
            15,
            3,
            30,
        ]
        assert [frame.index for frame in reader.seek(start + 1.5)] == list(range(45, COUNT))
        for beyond in (-0.5, frames[-1].time + 0.1):
            with pytest.raises(IndexError, match="expected seconds from 0 to"):
                reader[beyond]


def test_as_a_sequence(made: dict[str, Path]) -> None:
    with VideoReader(made["B frames"]) as reader:
        assert len(reader) == COUNT and reader.metadata.counted == "container"
        assert [frame.index for frame in reader[3:20:7]] == [3, 10, 17]
        assert [frame.index for frame in reader[::-10]] == [49, 39, 29, 19, 9]
        assert reader[-1].index == reader[np.int64(COUNT - 1)].index == COUNT - 1
        assert len({frame.stream for frame in reader.frames_at([0, 20])}) == 1
        for wrong in (COUNT, -COUNT - 1):
            with pytest.raises(IndexError, match=f"expected a frame from 0 to {COUNT - 1}, got {wrong}"):
                reader[wrong]
        with pytest.raises(InputError, match="expected the number of a frame, or seconds as a float, got '1'"):
            reader["1"]  # type: ignore[call-overload]
        # An iteration under way is not disturbed.
        frames = iter(reader)
        assert next(frames).index == 0 and reader[30].index == 30 and next(frames).index == 1


def test_length_is_counted_where_the_container_does_not(made: dict[str, Path]) -> None:
    with VideoReader(made["B frames, ts"]) as reader:
        assert reader.frame_count is None and reader.metadata.counted == "unknown"
        assert len(reader) == reader.frame_count == COUNT and reader.metadata.counted == "packets"


@pytest.mark.parametrize("kind", KINDS)
def test_where_decoding_begins_and_when_frames_are(made: dict[str, Path], kind: str) -> None:
    if kind not in made:
        pytest.skip("this PyAV has no encoder for it")
    with VideoReader(made[kind]) as reader:
        frames = list(reader)
        assert reader.times == [frame.time for frame in frames]
        assert (len(reader.entries) > 1) == KINDS[kind][2] and reader.entries[0] == 0
        assert all(frames[entry].frame_type == "I" for entry in reader.entries)


def test_raw_streams_have_no_times(made: dict[str, Path]) -> None:
    with VideoReader(made["raw H.264"]) as reader, pytest.raises(InputError, match="no times"):
        reader[1.0]


def test_live_sources_are_read_from_the_present_on(made: dict[str, Path]) -> None:
    with VideoReader(made["B frames, ts"], live=True, reconnect=0) as reader:
        for ask in (lambda: reader[3], lambda: reader.seek(1.0), lambda: reader.frames_at([1])):
            with pytest.raises(InputError, match="is live: its frames come one after the other"):
                ask()
        with pytest.raises(TypeError, match="is live"):
            len(reader)
        assert next(iter(reader)).index == 0


class Pipe(io.RawIOBase):
    """What can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)

    def readable(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["B frames", "B frames, ts"])
def test_bytes_and_open_files(made: dict[str, Path], kind: str) -> None:
    data = made[kind].read_bytes()
    with VideoReader(made[kind]) as reader:
        frames = list(reader)
    with made[kind].open("rb") as file:
        file.seek(0)
        for given in (data, memoryview(data), io.BytesIO(data), file):
            with VideoReader(given) as reader:
                first, second = iter(reader), iter(reader)  # each reading has its own place
                for wanted in frames[:20]:
                    assert differences(next(first), wanted) == differences(next(second), wanted) == []
                assert differences(reader[33], frames[33]) == [] and len(reader) == COUNT


def test_a_file_with_something_before_the_video(made: dict[str, Path]) -> None:
    file = io.BytesIO(b"header" + made["B frames"].read_bytes())
    file.seek(6)
    with VideoReader(file) as reader:
        assert reader[20].index == 20


def test_what_cannot_be_sought_is_read_once(made: dict[str, Path]) -> None:
    with VideoReader(Pipe(made["B frames, ts"].read_bytes())) as reader:
        assert len(list(reader)) == COUNT
        with pytest.raises(InputError, match="can be read only once"):
            reader[3]
        with pytest.raises(InputError, match="was read already"):
            iter(reader)


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="expected the name of a video, bytes, or a file opened for reading in binary, got int"
    ):
        VideoReader(3)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="<bytes> cannot be opened as a video"):
        VideoReader(b"no video")
    (tmp_path / "words.txt").write_text("no video")
    with (tmp_path / "words.txt").open() as file, pytest.raises(InputError, match='"rb", got text'):
        VideoReader(file)  # type: ignore[arg-type]


def test_a_reader_says_what_it_reads(made: dict[str, Path]) -> None:
    with VideoReader(made["one reference"].read_bytes()) as reader:
        size = f"{reader.width}x{reader.height}"
        assert repr(reader) == f"<VideoReader <bytes>: h264, {size}, {float(reader.rate):g} frames/s>"
        assert str(reader.path) == "<bytes>"


def test_tensors(made: dict[str, Path]) -> None:
    with VideoReader(made["one reference"]) as reader:
        frame = reader[5]
    assert frame.motion is not None
    assert frame.tensor().shape == (64, 96, 3) and frame.tensor().dtype == torch.uint8
    assert torch.equal(frame.tensor("CHW"), torch.from_numpy(frame.image).permute(2, 0, 1))
    vectors = frame.motion.tensor()
    assert vectors.dtype == torch.int16 and np.array_equal(vectors.numpy(), frame.motion.vectors)
    assert torch.equal(frame.motion.tensor(torch.float32), vectors.float() / 4)
    with pytest.raises(InputError, match="layout"):
        frame.tensor("NCHW")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="dtype"):
        frame.motion.tensor(torch.int32)


def test_metadata(made: dict[str, Path]) -> None:
    with VideoReader(made["B frames"]) as reader:
        found = reader.metadata
    assert (found.codec, found.pixel_format, found.width, found.height) == ("h264", "yuv420p", 96, 64)
    assert found.rate == 30 and found.start == 0 and found.frame_count == COUNT
    assert not found.has_sound and "mp4" in found.container and found.bit_rate and found.bit_rate > 1000


def test_a_table_that_is_wrong_is_not_trusted(made: dict[str, Path]) -> None:
    """Packets other than those that were counted (a file that was replaced): the pass from the start is taken."""
    with VideoReader(made["one reference"]) as reader:
        wanted = list(reader)[40]
        table = reader._numbered._places._table
        assert table is not None and reader[30].index == 30
        table.sizes[41] += 1  # type: ignore[index]
        assert differences(reader[40], wanted) == [] and entries(reader) == []


@pytest.mark.parametrize("kind", ["B frames", "AVI", "gradual refresh"])
def test_a_reader_that_is_closed_gives_no_more_frames(made, kind):
    """What was under way touched the closed file, which ended the process."""
    reader = VideoReader(made[kind])
    frames = reader.seek(14)
    assert next(frames).index == 14
    reader.close()
    assert list(frames) == []
    reader = VideoReader(made[kind])
    assert reader[14].index == 14
    reader.close()
    with pytest.raises(InputError, match="the reader is closed"):
        reader[15]
