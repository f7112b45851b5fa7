"""Each kind of output: what is in its file, and that label maps come back as they were."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.audio.frame import AudioFrame
from helpers.streets import pictures
from PIL import Image

from arseg import VideoSegmenter
from arseg.errors import ArsegError, InputError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.segment.outputs import OUTPUTS, output_for, read_labels
from arseg.segment.outputs.rle import as_text, decode, encode_classes
from arseg.segment.records import FrameRecords
from arseg.segment.run import segment_file
from arseg.video import ResolutionChangedError, VideoReader, encode
from arseg.video.given import as_source
from arseg.video.orientation import Matrix, orientation, turned, upright
from arseg.video.sound import Sound

COUNT, RATE = 12, 10
MIRRORED: Matrix = (-65536, 0, 0, 0, 65536, 0, 96 * 65536, 0, 1 << 30)


@pytest.fixture(scope="module")
def segmenter() -> VideoSegmenter:
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8)
    net.label_set = CAMVID
    return VideoSegmenter(net, logits=True)


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "street.mp4"
    encode(pictures(COUNT), path, rate=RATE)
    return path


def with_sound(path: Path, source: Path, matrix: Matrix | None = None, codec: str = "aac") -> Path:
    """A copy of `source` with two seconds of a tone, from before its pictures to after them."""
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        video = writer.add_stream_from_template(reader.streams.video[0])
        audio = writer.add_stream(codec, rate=48000, layout="mono")
        if matrix is not None:
            video.set_display_matrix(matrix)
        for packet in reader.demux(reader.streams.video[0]):
            if packet.size:
                packet.stream = video
                writer.mux(packet)
        wave = (np.sin(np.arange(96000) / 20) * 8000).astype(np.int16)
        format = audio.codec_context.format.name
        for start in range(0, 96000, 1024):
            part = wave[None, start : start + 1024]
            samples = part.astype(np.float32) / 32768 if format.startswith("flt") else part
            frame = AudioFrame.from_ndarray(samples, format=format, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            writer.mux(audio.encode(frame))
        writer.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def turned_clip(street, tmp_path_factory) -> Path:
    return with_sound(tmp_path_factory.mktemp("clip") / "turned.mp4", street, turned(90))


@pytest.fixture(scope="module")
def results(segmenter, street):
    return list(segmenter.stream(street))


@pytest.fixture(scope="module")
def written(segmenter, street, tmp_path_factory) -> Path:
    """All kinds of outputs, of one run."""
    out = tmp_path_factory.mktemp("out")
    names = ["o.mp4", "o.webm", "o.gif", "side-by-side:side.mkv", "overlay-pictures:pictures", "labels", "a.npz"]
    names += ["label-video:ids.mkv", "c.jsonl", "logits:l.npz", "probabilities:p.npz", "t.csv"]
    kinds = [name.rpartition(":") for name in names]
    outputs = [output_for(f"{kind}{colon}{out / name}") for kind, colon, name in kinds]
    assert segment_file(segmenter, street, outputs) == COUNT
    assert len(list(out.iterdir())) == len(names)
    return out


@pytest.mark.parametrize("name", ["labels", "a.npz", "ids.mkv", "c.jsonl"])
def test_the_very_ids_come_back(written, results, name):
    found = list(read_labels(written / name))
    assert len(found) == COUNT
    for labels, result in zip(found, results, strict=True):
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, result.labels)


def test_label_videos_keep_times_and_any_size_and_id(written, tmp_path, results):
    with av.open(str(written / "ids.mkv")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "ffv1" and stream.codec_context.pix_fmt == "gray"
        assert [float(frame.time) for frame in container.decode(stream)] == [
            pytest.approx(result.time - results[0].time, abs=1e-3) for result in results
        ]
    from dataclasses import replace

    from arseg.video.properties import VideoProperties

    labels = np.random.default_rng(0).integers(0, 256, (35, 51), np.uint8)
    result = replace(results[0], labels=labels, image=np.zeros((35, 51, 3), np.uint8))
    with output_for(f"label-video:{tmp_path / 'a.mkv'}").opened(
        VideoProperties("x", 51, 35, Fraction(10)), CAMVID
    ) as write:
        write(result)
        with pytest.raises(ResolutionChangedError, match="changes size"):
            write(results[1])
    np.testing.assert_array_equal(next(read_labels(tmp_path / "a.mkv")), labels)


def test_label_arrays_say_what_they_are(written, results):
    with np.load(written / "a.npz") as arrays:
        assert arrays["classes"].tolist() == list(CAMVID.classes)
        assert arrays["frames"].tolist() == list(range(COUNT))
        np.testing.assert_array_equal(arrays["times"], [result.time for result in results])


def test_scores_of_classes(written, results, segmenter, street, tmp_path):
    with np.load(written / "l.npz") as logits, np.load(written / "p.npz") as shares:
        for result in results:
            name = f"{result.index:06d}"
            assert logits[name].dtype == shares[name].dtype == np.float16
            np.testing.assert_array_equal(logits[name], result.logits.astype(np.float16))
            expected = torch.from_numpy(result.logits).softmax(0).numpy()
            np.testing.assert_allclose(shares[name], expected, atol=5e-4)
    out = output_for(f"logits:{tmp_path / 'l.npz'}", {"classes": ["road", 8, "0"], "opacity": 0.5})
    assert segment_file(segmenter, street, [out], frames=2) == 2
    with np.load(tmp_path / "l.npz") as logits:
        assert logits["classes"].tolist() == ["road", "car", "sky"]
        np.testing.assert_array_equal(logits["000001"], results[1].logits[[3, 8, 0]].astype(np.float16))
    for wrong in ("cat", 11):
        with pytest.raises(InputError, match="classes: expected names or ids of sky"):
            segment_file(segmenter, street, [output_for(f"logits:{tmp_path / 'm.npz'}", {"classes": [wrong]})])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.npz"]


def test_the_table_is_the_records(written, results):
    head, *rows = csv.reader((written / "t.csv").read_text().splitlines())
    records = FrameRecords(CAMVID.classes)
    assert head == records.columns() and len(rows) == COUNT
    for row, result in zip(rows, results, strict=True):
        cells, expected = dict(zip(head, row, strict=True)), records.of(result).row()
        assert (cells["type"], cells["keyframe"]) == (result.frame_type, str(result.keyframe).lower())
        for name in ("frame", "time", "distance", "intra", "share_road"):
            assert float(cells[name]) == pytest.approx(expected[name], rel=1e-5)
        error = expected["warp_error"]
        assert cells["warp_error"] == ("" if error is None else f"{error:.6g}")
        assert float(cells["write_ms"]) > 0 and float(cells["network_ms"]) > 0  # the others are written before


def test_parquet(segmenter, street, tmp_path):
    out = tmp_path / "t.parquet"
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(ImportError, match=r"Parquet needs pyarrow.*pip install 'arseg\[parquet\]'"):
            segment_file(segmenter, street, [output_for(str(out))])
        assert list(tmp_path.iterdir()) == []
        return
    segment_file(segmenter, street, [output_for(str(out))])
    assert pyarrow.parquet.read_table(out).column_names == FrameRecords(CAMVID.classes).columns()


def test_masks_are_coco_s(written, results):
    mask = pytest.importorskip("pycocotools.mask")
    lines = [json.loads(line) for line in (written / "c.jsonl").read_text().splitlines()]
    for line, result in zip(lines, results, strict=True):
        assert [one["category_id"] for one in line["annotations"]] == np.unique(result.labels).tolist()
        for one in line["annotations"]:
            exact = mask.encode(np.asfortranarray(result.labels == one["category_id"]).view(np.uint8))
            assert one["segmentation"]["counts"] == exact["counts"].decode()
            assert one["area"] == mask.area(exact) and one["bbox"] == mask.toBbox(exact).tolist()
            assert one["category"] == CAMVID.classes[one["category_id"]] and one["image_id"] == result.index


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 9), (64, 48), (300, 200)])
def test_runs_of_any_map(size):
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(size)
    for labels in (rng.integers(0, 3, size, np.uint8), np.full(size, 255, np.uint8), np.eye(*size, dtype=np.uint8)):
        found = encode_classes(labels)
        assert list(found) == np.unique(labels).tolist()
        for label, one in found.items():
            exact = mask.encode(np.asfortranarray(labels == label).view(np.uint8))
            assert one["segmentation"]["counts"] == exact["counts"].decode()
            assert one["bbox"] == mask.toBbox(exact).tolist() and one["area"] == mask.area(exact)
            np.testing.assert_array_equal(decode(one["segmentation"]), labels == label)


def test_long_runs():
    mask = pytest.importorskip("pycocotools.mask")
    counts = [0, 5, 100_000, 3, 7, 2_000_000, 1, 0]
    size = [sum(counts), 1]
    exact = mask.frPyObjects({"size": size, "counts": counts}, *size)
    assert as_text(np.array(counts)) == exact["counts"].decode()


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(("name", "codec"), [("o.mp4", "h264"), ("o.webm", "vp9"), ("o.gif", "gif")])
def test_overlays_look_as_they_should(written, results, name, codec):
    with av.open(str(written / name)) as container:
        assert container.streams.video[0].codec_context.name == codec
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times == [pytest.approx(number / RATE, abs=1e-3) for number in range(COUNT)]
    for picture, result in zip(frames_of(written / name), results, strict=True):
        error = np.abs(picture.astype(float) - result.overlay()).mean()
        assert error < 8, "near to what was written, in a codec that loses something"


def test_side_by_side(written, results):
    pictures = frames_of(written / "side.mkv")
    assert len(pictures) == COUNT and pictures[0].shape == (72, 192, 3)
    for picture, result in zip(pictures, results, strict=True):
        assert np.abs(picture[:, :96].astype(float) - result.image).mean() < 8
        assert np.abs(picture[:, 96:].astype(float) - result.overlay()).mean() < 8


def test_overlays_as_pictures(written, results):
    with Image.open(written / "pictures" / "000003.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), results[3].overlay())


def audio_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(container.streams.audio[0]) if p.size]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("matrix", [turned(90), MIRRORED], ids=["turned", "mirrored"])
def test_sound_turn_and_mirror_go_with_the_overlay(segmenter, street, tmp_path, ending, matrix):
    source = with_sound(tmp_path / "in.mp4", street, matrix)
    out = tmp_path / f"out{ending}"
    assert segment_file(segmenter, source, [output_for(str(out))]) == COUNT
    with VideoReader(source) as before, VideoReader(out) as after:
        assert orientation(after.display_matrix) == orientation(before.display_matrix) != (0, False)
    sent, came = audio_of(source), audio_of(out)
    last = COUNT / RATE
    sent = [(time, data) for time, data in sent if 0 <= time < last]
    if ending == ".ts":
        came = [(time - came[0][0] + sent[0][0], data) for time, data in came]  # a transport stream starts at 1.4 s
        assert len(came) == len(sent)
    else:
        assert [data for _, data in came] == [data for _, data in sent], "packets as they were"
    np.testing.assert_allclose([time for time, _ in came], [time for time, _ in sent], atol=2e-3)


def test_sound_starts_and_ends_with_the_pictures(segmenter, turned_clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert segment_file(segmenter, turned_clip, [output_for(str(out))], frames=4) == 4
    assert 0.3 < audio_of(out)[-1][0] < 0.4
    assert segment_file(segmenter, turned_clip, [output_for(str(out), {"audio": False})], frames=4) == 4
    assert audio_of(out) == []


def test_sound_goes_on_where_recordings_were_joined(segmenter, turned_clip, tmp_path):
    """A transport stream twice: its times start again in the middle, and its AAC has no header for Matroska."""
    once, twice = tmp_path / "once.ts", tmp_path / "twice.ts"
    with av.open(str(turned_clip)) as source, av.open(str(once), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in (*source.streams.video, *source.streams.audio)}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    twice.write_bytes(once.read_bytes() * 2)
    for ending in (".mp4", ".mkv"):
        out = tmp_path / f"out{ending}"
        assert segment_file(segmenter, twice, [output_for(str(out))]) == 2 * COUNT
        came = audio_of(out)
        times = np.array([time for time, _ in came])
        assert times[-1] > 1.8 * COUNT / RATE and (np.diff(times) > 0).all() and np.diff(times).max() < 0.3
        assert len(came) >= 2.3 * 48000 / 1024, "to the end of the pictures"


def test_sound_of_data_is_theirs(turned_clip, street, tmp_path, monkeypatch):
    """What an open file is called names nothing: another file of that name is not read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(street.read_bytes())  # silent
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "clip.mp4").write_bytes(turned_clip.read_bytes())
    with open("sub/clip.mp4", "rb") as file:
        assert Sound(as_source(file)).streams == 1
    assert Sound("clip.mp4").streams == 0


def test_sound_that_a_container_cannot_hold_is_said(segmenter, turned_clip, tmp_path, capsys):
    out = output_for(str(tmp_path / "out.webm"))
    segment_file(segmenter, turned_clip, [out])
    assert "its sound (aac) is left out, which webm cannot hold" in capsys.readouterr().err
    assert audio_of(out.target) == [] and len(frames_of(out.target)) == COUNT


@pytest.mark.parametrize("kind", ["labels", "label-video", "label-arrays", "coco", "logits", "overlay", "side-by-side"])
def test_as_shown(segmenter, turned_clip, tmp_path, kind):
    name = {"labels": "l", "label-video": "l.mkv", "coco": "l.jsonl", "overlay": "l.mp4", "side-by-side": "l.mp4"}
    target = tmp_path / name.get(kind, "l.npz")
    segment_file(segmenter, turned_clip, [output_for(f"{kind}:{target}", {"orientation": "shown"})], frames=3)
    expected = list(segmenter.stream(turned_clip))[:3]
    if kind == "logits":
        with np.load(target) as arrays:
            for result in expected:
                turned_logits = np.rot90(result.logits, axes=(1, 2)).astype(np.float16)
                np.testing.assert_array_equal(arrays[f"{result.index:06d}"], turned_logits)
        return
    if kind in ("overlay", "side-by-side"):
        with VideoReader(target) as reader:
            assert reader.display_matrix is None
            assert (reader.width, reader.height) == (72 * (1 + (kind == "side-by-side")), 96)
        picture = frames_of(target)[0][:, -72:]
        assert np.abs(picture.astype(float) - upright(expected[0].overlay(), turned(90))).mean() < 8
        return
    found = list(read_labels(target))
    assert len(found) == 3
    for labels, result in zip(found, expected, strict=True):
        np.testing.assert_array_equal(labels, np.rot90(result.labels))


def test_a_gif_has_no_display_matrix_and_is_turned(segmenter, turned_clip, tmp_path):
    segment_file(segmenter, turned_clip, [output_for(str(tmp_path / "a.gif"))], frames=2)
    assert frames_of(tmp_path / "a.gif")[0].shape == (96, 72, 3)


def test_which_output_a_name_asks_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("there.v2").mkdir()
    kinds = {"a.mp4": "overlay", "a.MKV": "overlay", "a.gif": "overlay", "a": "labels", "a.b/": "labels", ".": "labels"}
    kinds |= {"there.v2": "labels", "a.npz": "label-arrays", "a.jsonl": "coco", "a.csv": "table"}
    kinds |= {"a.parquet": "table", "label-video:a.mkv": "label-video", "probabilities:a.npz": "probabilities"}
    kinds |= {"labels:a.mp4": "labels", "10:00.mp4": "overlay"}
    for text, kind in kinds.items():
        assert type(output_for(text)) is OUTPUTS[kind], text
    assert output_for("10:00.mp4").target == Path("10:00.mp4")
    for text, words in {
        "a.avi": "does not keep the times",
        "a.xyz": r"no output has the ending .xyz; expected one of .*\.mp4",
        "label-video:a.mp4": "label-video:a.mp4: expected .mkv, got .mp4",
        "coco:a": "expected .jsonl, got a name without an ending",
        "tabel:a.csv": "did you mean table:a.csv",
        "http://host/a.mp4": "results go to files, not to URLs",
    }.items():
        with pytest.raises(ArsegError, match=words):
            output_for(text)
    for options, words in (({"opacity": 2}, "opacity: expected 0"), ({"orientation": "up"}, "orientation: expected")):
        with pytest.raises(InputError, match=words):
            output_for("a.mp4", options)


@pytest.mark.parametrize(("name", "words"), [("a.txt", "expected a folder, or a file"), ("none.npz", "no label maps")])
def test_what_has_no_label_maps(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        list(read_labels(tmp_path / name))


def test_a_video_of_pictures_is_no_label_video(written):
    with pytest.raises(InputError, match="not of label maps"):
        list(read_labels(written / "side.mkv"))


def test_the_palette_may_be_another(segmenter, street, tmp_path, results):
    palette = np.arange(36, dtype=np.uint8).reshape(12, 3) * 7
    outputs = [output_for(str(tmp_path / "l")), output_for(f"overlay-pictures:{tmp_path / 'p'}", {"opacity": 1})]
    segment_file(segmenter, street, outputs, palette=palette, frames=1)
    for name in ("l", "p"):
        with Image.open(tmp_path / name / "000000.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette[results[0].labels])


def test_late_times_keep_their_digits(segmenter, street, tmp_path):
    late = tmp_path / "late.ts"
    with av.open(str(street)) as source, av.open(str(late), "w", options={"muxdelay": "0"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                base = packet.time_base
                packet.pts, packet.dts = (int(time + 36_000 / base) for time in (packet.pts, packet.dts))
                packet.stream = stream
                target.mux(packet)
    segment_file(segmenter, late, [output_for(str(tmp_path / "t.csv"))])
    with open(tmp_path / "t.csv", newline="") as file:
        times = [float(row["time"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(np.diff(times), 1 / RATE, atol=2e-4)
