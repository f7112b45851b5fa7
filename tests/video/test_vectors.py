"""Vectors by themselves: the field to the frame before, and what is written read back."""

from __future__ import annotations

import io
import weakref
from pathlib import Path

import numpy as np
import pytest
from helpers.video_clips import pan, write_av

from arseg.errors import InputError
from arseg.video import VideoReader
from arseg.video.field_builder import FieldBuilder
from arseg.video.fields import PendingFrame
from arseg.video.motion import RECORD, BlockField
from arseg.video.pictures import Decoded
from arseg.video.vector_files import FIELDS, read_stream, stream, writer
from arseg.video.vectors import FrameVectors, read_vectors, vectors_of

COUNT = 20
ONE = {"x264-params": "ref=1:weightp=0:bframes=0:scenecut=0:keyint=8", "crf": "4"}
B_FRAMES = {"x264-params": "bframes=2:b-adapt=0:scenecut=0:keyint=12:ref=2", "crf": "4"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, frames = tmp_path_factory.mktemp("vectors"), pan(COUNT, (96, 128), 2, 1)
    return {
        "one": write_av(folder / "one.mp4", frames, options=ONE),
        "b": write_av(folder / "b.mp4", frames, options=B_FRAMES, b_frames=2),
    }


@pytest.mark.parametrize("block", [4, 8])
def test_to_the_frame_before_as_the_codec_has_it(clips: dict[str, Path], block: int) -> None:
    """With one reference: what groups of one frame lead along."""
    with VideoReader(clips["one"], gop=1, block=block) as reader:
        links = [frame.link for frame in reader]
    frames = list(read_vectors(clips["one"], block=block))
    assert [frame.to_previous is None for frame in frames] == [link is None for link in links]
    assert sum(link is not None for link in links) == COUNT - 3
    for frame, link in zip(frames, links, strict=True):
        if link is not None:
            assert frame.to_previous is not None and frame.to_previous.origin == "exact"
            np.testing.assert_array_equal(frame.to_previous.vectors, link.vectors)
            np.testing.assert_array_equal(frame.to_previous.valid, link.valid)


@pytest.mark.parametrize("gop", [48, 5, 1])
def test_to_the_frame_before_past_b_frames(clips: dict[str, Path], gop: int) -> None:
    """The pan's own motion in every cell, whatever the frame is predicted from; and said to be inferred."""
    frames = list(read_vectors(clips["b"], gop=gop))
    assert [f.index for f in frames if f.to_previous is None] == [0, 12]  # the I frames
    for field in (frame.to_previous for frame in frames):
        if field is not None:
            assert field.origin == "inferred" and field.valid.mean() > 0.9
            assert _right(field, 1) > 0.97


def test_a_keyframes_link_leads_to_the_keyframe_before(clips: dict[str, Path]) -> None:
    """Also to B frames that are keyframes by themselves."""
    with VideoReader(clips["b"], gop=1) as reader:
        frames = list(reader)
    assert all(frame.keyframe for frame in frames) and {frame.frame_type for frame in frames} == set("IPB")
    assert all(_right(frame.link, 1) > 0.97 for frame in frames if frame.link is not None)
    assert [frame.index for frame in frames if frame.link is None] == [0, 12]


def test_references_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each frame would keep the one before, and so all."""
    options = {"x264-params": "bframes=2:b-adapt=0:scenecut=0:keyint=60:ref=2"}
    clip = write_av(tmp_path / "b.mp4", pan(60, (48, 64), 2, 1), options=options, gop=60, b_frames=2)
    made: list[weakref.ref[PendingFrame]] = []
    add = FieldBuilder.add

    def watched(self: FieldBuilder, decoded: Decoded) -> list[PendingFrame]:
        finished = add(self, decoded)
        made.extend(weakref.ref(item) for item in finished)
        return finished

    monkeypatch.setattr(FieldBuilder, "add", watched)
    for frame in read_vectors(clip, ["previous"]):
        left = sum(item() is not None for item in made)
        assert left < 30, frame.index  # 16 that may be referred to, and those on their way
    assert len(made) > 50


def _right(field: BlockField, distance: int) -> float:
    """Share of cells, but for the edge, whose vector is within half a pixel of the pan's."""
    off = np.abs(field.vectors[3:-3, 3:-3] - np.array([-8, -4]) * distance)
    return float((off <= 2).all(-1).mean())


def test_what_was_not_asked_for(clips: dict[str, Path]) -> None:
    with VideoReader(clips["one"]) as reader:
        whole = list(reader)
    for frame, of in zip(read_vectors(clips["one"], ["records"], images=True), whole, strict=True):
        assert frame.to_keyframe is None and frame.to_previous is None and frame.records is not None
        np.testing.assert_array_equal(frame.image, of.image)
        assert (frame.index, frame.keyframe, frame.time) == (of.index, of.keyframe, of.time)
        assert len(frame.records) == (0 if of.records is None else len(of.records))
    with pytest.raises(InputError, match="what: expected some of records, keyframe, previous"):
        next(read_vectors(clips["one"], ["motion"]))  # type: ignore[list-item]


def check(frame: FrameVectors, found: dict[str, np.ndarray]) -> None:
    """`found`: one frame's arrays."""
    for name in ("index", "keyframe", "distance", "frame_type", "time", "pts"):
        assert found[name] == getattr(frame, name), name
    for name in FIELDS:
        field = getattr(frame, name)
        if field is None:
            assert name not in found or found[f"{name}_origin"] == "none"
            continue
        assert found[f"{name}_origin"] == field.origin and found["block"] == field.block
        np.testing.assert_array_equal(found[name], field.vectors)
        np.testing.assert_array_equal(found[f"{name}_valid"], field.valid)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("clip", ["one", "b"])
def test_a_file_for_each_group(clips: dict[str, Path], clip: str, compress: bool, tmp_path: Path) -> None:
    frames = list(read_vectors(clips[clip], images=True))
    with writer(tmp_path / "out", compress=compress) as write:
        for frame in frames:
            write(frame)
    files = sorted((tmp_path / "out").iterdir())
    assert [int(file.stem) for file in files] == [frame.index for frame in frames if frame.keyframe]
    left = iter(frames)
    for file in files:
        with np.load(file) as group:
            arrays = dict(group)
        assert arrays["records"].dtype == RECORD and arrays["offsets"][-1] == len(arrays["records"])
        for place in range(len(arrays["index"])):
            frame = next(left)
            one = {n: a[place] for n, a in arrays.items() if n not in ("records", "offsets", "block", "size")}
            check(frame, {**one, "block": arrays.get("block", np.int32(0))})
            begin, end = arrays["offsets"][place : place + 2]
            np.testing.assert_array_equal(arrays["records"][begin:end], frame.records)
            np.testing.assert_array_equal(one["images"], frame.image)
    assert next(left, None) is None


class Pipe(io.RawIOBase):
    """Cannot be sought; gives at most 4096 bytes at once."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self.data.readinto(buffer[:4096])


def test_a_stream_through_a_pipe(clips: dict[str, Path]) -> None:
    frames, file = list(read_vectors(clips["b"])), io.BytesIO()
    with stream(file) as write:
        for frame in frames:
            write(frame)
    data = file.getvalue()
    for frame, (found, records) in zip(frames, read_stream(io.BufferedReader(Pipe(data))), strict=True):
        check(frame, {name: found[name] for name in found.dtype.names or ()})
        np.testing.assert_array_equal(records, frame.records)
    with pytest.raises(InputError, match="the stream of vectors breaks off"):
        list(read_stream(io.BytesIO(data[:-7])))


def test_parquet(clips: dict[str, Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'arseg[parquet]'")
    frames = list(read_vectors(clips["b"], images=True))
    with writer(tmp_path / "v.parquet") as write:
        for frame in frames:
            write(frame)
    file = parquet.ParquetFile(tmp_path / "v.parquet")
    assert file.num_row_groups == sum(frame.keyframe for frame in frames)
    for frame, row in zip(frames, file.read().to_pylist(), strict=True):
        assert (row["index"], row["time"], row["frame_type"]) == (frame.index, frame.time, frame.frame_type)
        assert frame.records is not None and frame.image is not None
        assert [tuple(record.values()) for record in row["records"]] == frame.records.tolist()
        assert row["image"] == frame.image.tobytes()
        for name in FIELDS:
            field = getattr(frame, name)
            assert row[f"{name}_origin"] == (field and field.origin)
            assert row[name] == (field and field.vectors.ravel().tolist())
            assert row[f"{name}_valid"] == (field and field.valid.ravel().tolist())


def test_nothing_is_left_of_what_breaks_off(clips: dict[str, Path], tmp_path: Path) -> None:
    for name in ("out", "v.npy"):
        with pytest.raises(KeyError), VideoReader(clips["one"]) as reader, writer(tmp_path / name) as write:
            for frame in vectors_of(reader):
                write(frame)
                if frame.index == 10:
                    raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_another_ending(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected \.parquet, \.npy, or a folder"):
        writer(tmp_path / "v.csv")
    with pytest.raises(InputError, match=r"only a folder of \.npz can be compressed"):
        writer(tmp_path / "v.npy", compress=True)
