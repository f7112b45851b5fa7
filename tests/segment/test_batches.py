"""Frames in batches: the same labels as frame by frame, in order, within bounds, whatever happens in the middle."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.network_kinds import KINDS, make
from helpers.texture_clips import moving_texture
from helpers.tiny_transformers import save_segformer
from helpers.video_clips import write_av

import arseg
from arseg.errors import InputError, MemoryLimitError
from arseg.networks.fusion import FUSIONS
from arseg.segment.batches import KEYFRAMES, one_behind, windows
from arseg.segment.modes import FROM_KEYFRAME, MODES
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import VideoError, VideoReader, encode


@pytest.fixture(scope="module")
def frames(clip):
    """30 frames, groups of 12: the last is a short one."""
    with VideoReader(clip, gop=12) as reader:
        return list(reader)


def one_by_one(segmenter, frames):
    group = Group()
    return [segmenter.segment(frame, group) for frame in frames]


def other_labels(segmenter, frames):
    """Share of the labels that another segmenter's results differ in, frame by frame; checks their order."""

    def share(results):
        results = list(results)
        assert [result.index for result in results] == [frame.index for frame in frames]
        expected = one_by_one(segmenter, frames)
        return np.mean([np.mean(a.labels != b) for a, b in zip(results, expected, strict=True)])

    return share


class Noted:
    """A function of a list of frames that notes how many came at once, and may fail."""

    def __init__(self, engine, name, monkeypatch, fails=lambda frames: None):
        self.counts, self._plain, self._fails = [], getattr(engine, name), fails
        monkeypatch.setattr(engine, name, self)

    def __call__(self, frames, *more, **options):
        self.counts.append(len(frames))
        self._fails(frames)
        return self._plain(frames, *more, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind in KINDS for mode in MODES if mode == "ar" or kind not in FUSIONS]
)
def test_batches_give_the_labels_of_single_frames(kind, mode, clip):
    """Of every kind of network, in every mode, with the paper's resizing and with scores that are enlarged twice."""
    with VideoReader(clip, gop=4) as reader:
        frames = [frame for frame, _ in zip(reader, range(7), strict=False)]
    net = make(kind)
    share = other_labels(VideoSegmenter(net, mode=mode, height="video"), frames)
    assert share(VideoSegmenter(net, gop=4, mode=mode, height="video", batch=4).segment_all(frames)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torchvision", "transformers", "smp"])
def test_batches_of_networks_that_were_cut(library, clip, tmp_path):
    """Of other libraries; in `lr` and `ar` some of their layers see the shrunk image."""
    pytest.importorskip("segmentation_models_pytorch" if library == "smp" else library)
    torch.manual_seed(0)
    if library == "transformers":
        save_segformer(tmp_path / "mine")
    line = {
        "torchvision": "torchvision:lraspp_mobilenet_v3_large?num_classes=5",
        "transformers": f"transformers:{tmp_path}/mine",
        "smp": "smp:FPN?encoder_name=resnet18&classes=5",
    }[library]
    net = arseg.accelerate(line, size=(64, 96))
    for parameter in net.fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with VideoReader(clip, gop=4) as reader:
        frames = [frame for frame, _ in zip(reader, range(7), strict=False)]
    for mode in MODES:
        share = other_labels(VideoSegmenter(net, mode=mode, height="video"), frames)
        found = VideoSegmenter(net, gop=4, mode=mode, height="video", batch=3).segment_all(frames)
        assert share(found) < 1e-3, mode


@pytest.mark.parametrize("batch", [1, 2, 4, 11, 40])
def test_every_size_of_a_batch(tiny, frames, batch):
    share = other_labels(VideoSegmenter(tiny, height=48), frames)
    assert share(VideoSegmenter(tiny, height=48, batch=batch).segment_all(frames)) < 1e-3


def test_what_the_network_sees_at_once(tiny, frames, monkeypatch):
    expected = {1: ([1] * 3, [1] * 27), 4: ([1] * 3, [4, 4, 3] * 2 + [4, 1]), 11: ([3], [11, 11, 5])}
    for batch, counts in expected.items():
        segmenter = VideoSegmenter(tiny, batch=batch)
        noted = [Noted(segmenter._engine, name, monkeypatch) for name in ("keyframes", "after")]
        assert len(list(segmenter.segment_all(frames))) == 30
        assert tuple(each.counts for each in noted) == counts
    segmenter = VideoSegmenter(tiny, batch=11, mode="hr")
    noted = Noted(segmenter._engine, "each", monkeypatch)
    assert len(list(segmenter.segment_all(frames))) == 30 and noted.counts == [11, 11, 8]


def test_the_usual_batch(tiny):
    assert VideoSegmenter(tiny, gop=12).batch == VideoSegmenter(tiny, gop=12)._keyframes * 4 == 4
    assert (VideoSegmenter(tiny, batch=11)._keyframes, VideoSegmenter(tiny, batch=10)._keyframes) == (KEYFRAMES, 1)
    assert VideoSegmenter(tiny, gop=1).batch == 4 == VideoSegmenter(tiny, gop=1)._keyframes
    for wrong in (0, -1, 2.0, True, "4"):
        with pytest.raises(InputError, match=r"^batch: expected at least 1 frame, got "):
            VideoSegmenter(tiny, batch=wrong)


@pytest.mark.parametrize("mode", FROM_KEYFRAME)
def test_a_scene_cut_begins_a_group(tiny, tmp_path, mode):
    """The encoder finds it and makes an I frame there, which nobody asked for."""
    first, other = moving_texture(22), [np.ascontiguousarray(255 - image[::-1]) for image in moving_texture(5)]
    options = {"x264-params": "scenecut=40:min-keyint=1:keyint=250:ref=1:weightp=0"}
    write_av(tmp_path / "cut.mp4", [*first[:8], *other, *first[8:]], gop=250, options=options)
    with VideoReader(tmp_path / "cut.mp4", gop=12) as reader:
        frames = list(reader)
    keyframes = [frame.index for frame in frames if frame.keyframe]
    assert keyframes == [0, 8, 13, 25] and [frames[index].frame_type for index in keyframes] == ["I", "I", "I", "P"]
    share = other_labels(VideoSegmenter(tiny, mode=mode), frames)
    for batch in (2, 11):
        assert share(VideoSegmenter(tiny, mode=mode, batch=batch).stream(tmp_path / "cut.mp4")) < 1e-3


def test_groups_of_any_length(tiny, tmp_path):
    cuts = [*moving_texture(5), *moving_texture(3)[::-1], *moving_texture(9, step=1)]
    encode(cuts, tmp_path / "cuts.mp4", rate=15, gop=3)
    with VideoReader(tmp_path / "cuts.mp4", gop=12) as reader:
        frames = list(reader)
    assert sum(frame.keyframe for frame in frames) > KEYFRAMES
    share = other_labels(VideoSegmenter(tiny), frames)
    for batch in (2, 11):
        assert share(VideoSegmenter(tiny, batch=batch).segment_all(frames)) < 1e-3


def in_one_row(*clips):
    """Frames of several videos, numbered as one."""
    rows, start = [], 0
    for clip in clips:
        rows += [replace(frame, index=start + frame.index, stream=None) for frame in clip]
        start = len(rows)
    return rows


@pytest.mark.parametrize("mode", MODES)
def test_the_size_may_change_at_a_keyframe(tiny, frames, tmp_path, mode):
    encode(moving_texture(14, 48, 80), tmp_path / "small.mp4", rate=15, gop=12)
    with VideoReader(tmp_path / "small.mp4") as reader:
        row = in_one_row(frames[:14], list(reader), frames[:4])
    share = other_labels(VideoSegmenter(tiny, mode=mode), row)
    assert share(VideoSegmenter(tiny, mode=mode, batch=11).segment_all(row)) < 1e-3


@pytest.mark.parametrize("mode", ["ar", "hr"])
@pytest.mark.parametrize("batch", [1, 4, 11])
@pytest.mark.parametrize("at", [0, 5, 12, 20])
def test_an_error_of_the_source_comes_after_the_frames_before(tiny, frames, mode, batch, at):
    def broken():
        yield from frames[:at]
        raise OSError("gone")

    results = VideoSegmenter(tiny, mode=mode, batch=batch).segment_all(broken())
    assert [next(results).index for _ in range(at)] == list(range(at))
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_a_damaged_file_gives_the_frames_before_the_fault(tiny, clip, tmp_path):
    data = bytearray(clip.read_bytes())
    middle = len(data) * 5 // 8
    data[middle : middle + 400] = bytes(400)
    (tmp_path / "damaged.mp4").write_bytes(data)
    found = {}
    for batch in (1, 4, 11):
        indices = []
        with pytest.raises(VideoError) as caught:
            for result in VideoSegmenter(tiny, batch=batch).stream(tmp_path / "damaged.mp4"):
                indices.append(result.index)
        found[batch] = indices, str(caught.value)
    assert found[1] == found[4] == found[11] and found[1][0] == list(range(len(found[1][0]))) != []


@pytest.mark.parametrize("mode", ["ar", "hr", "warp"])
@pytest.mark.parametrize("at", [0, 12, 13, 20, 24])
def test_an_error_of_the_network_comes_after_the_frames_before(tiny, frames, monkeypatch, mode, at):
    def fail(given):
        if any(frame.index == at for frame in given):
            raise ValueError("no such picture")

    segmenter = VideoSegmenter(tiny, mode=mode, batch=11)
    for name in ("keyframes", "after", "each"):
        Noted(segmenter._engine, name, monkeypatch, fail)
    results = segmenter.segment_all(frames)
    assert [next(results).index for _ in range(at)] == list(range(at))
    with pytest.raises(ValueError, match="no such picture"):
        next(results)


def test_a_frame_out_of_order_comes_after_the_frames_before(tiny, frames):
    row = [*frames[:6], *frames[14:16]]
    results = VideoSegmenter(tiny, batch=11).segment_all(row)
    assert [next(results).index for _ in range(6)] == list(range(6))
    with pytest.raises(InputError, match=r"^frame 14: its keyframe is frame 12 of its video"):
        next(results)
    with pytest.raises(InputError, match=r"^frame 3: not a keyframe, and no keyframe came before it"):
        next(VideoSegmenter(tiny, batch=11).segment_all(frames[3:]))


@pytest.mark.parametrize("most", [1, 3])
def test_where_memory_runs_out_a_smaller_batch_is_tried_and_that_is_said(tiny, frames, monkeypatch, caplog, most):
    def fail(given):
        if len(given) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    segmenter = VideoSegmenter(tiny, batch=11)
    keyframes, after = (Noted(segmenter._engine, name, monkeypatch, fail) for name in ("keyframes", "after"))
    with caplog.at_level(logging.WARNING):
        assert other_labels(VideoSegmenter(tiny), frames)(segmenter.segment_all(frames)) < 1e-3
    said = [record.getMessage() for record in caplog.records]
    steps = {1: ["3 frames at once: trying 1", "11", "5", "2 frames at once: trying 1"], 3: ["11", "5"]}[most]
    assert [line.startswith("not enough memory on cpu for ") for line in said] == [True] * len(steps)
    assert all(step in line for step, line in zip(steps, said, strict=True))
    # Found once: no later batch is as large.
    assert after.counts == {1: [11, 5, 2] + [1] * 27, 3: [11, 5] + [2] * 5 + [1] + [2] * 5 + [1] + [2, 2, 1]}[most]
    assert keyframes.counts == {1: [3, 1, 1, 1], 3: [3]}[most]


def test_memory_for_no_frame_is_a_sentence_after_the_frames_before(tiny, frames, monkeypatch):
    def fail(given):
        if given[-1].index >= 7:
            raise MemoryError

    segmenter = VideoSegmenter(tiny, batch=11, height=512)
    Noted(segmenter._engine, "after", monkeypatch, fail)
    results = segmenter.segment_all(frames[:12])
    assert [next(results).index for _ in range(7)] == list(range(7))
    with pytest.raises(MemoryLimitError, match=r"^frame 7: not enough memory on cpu for the network at 768x512 pixels"):
        next(results)


def test_a_live_source_is_not_read_ahead(tiny, frames):
    read = []

    def camera():
        for frame in frames:
            read.append(frame.index)
            yield frame

    for segmenter, live in ((VideoSegmenter(tiny, batch=11), True), (VideoSegmenter(tiny, batch=1), False)):
        read.clear()
        for result in segmenter.segment_all(camera(), live=live):
            assert read[-1] == result.index


def test_what_is_read_ahead_is_bounded(frames):
    size = frames[1].image.nbytes + frames[1].motion.vectors.nbytes + frames[1].records.nbytes
    lengths = [len(window) for window in windows(frames, 11, 4, held=8 * size)]
    assert sum(lengths) == 30 and 7 <= max(lengths) <= 10
    assert [len(window) for window in windows(frames, 11, 4, held=1)] == [1] * 30
    assert [len(window) for window in windows(frames, 11, 2)] == [24, 6]
    assert [len(window) for window in windows(frames, 4, 1)] == [5, 4, 3, 5, 4, 3, 5, 1]
    assert [len(window) for window in windows(frames, 7, None)] == [7, 7, 7, 7, 2]


def test_the_bound_may_part_a_group(tiny, frames, monkeypatch):
    monkeypatch.setattr(
        "arseg.segment.batches.windows", lambda *given: windows(*given, held=5 * frames[0].image.nbytes)
    )
    assert other_labels(VideoSegmenter(tiny), frames)(VideoSegmenter(tiny, batch=11).segment_all(frames)) < 1e-3


def test_closing_the_results_closes_the_source(tiny, frames):
    closed = []

    def source():
        try:
            yield from frames
        finally:
            closed.append(True)

    results = VideoSegmenter(tiny, batch=4).segment_all(source())
    next(results)
    results.close()
    gc.collect()
    assert closed == [True]


@pytest.mark.parametrize("batch", [1, 4])
def test_leaving_a_stream_early_leaves_no_thread_and_no_open_file(tiny, clip, batch):
    def opened():
        return [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]

    before = set(threading.enumerate())
    results = VideoSegmenter(tiny, batch=batch).stream(clip)
    next(results)
    assert str(clip) in opened()
    results.close()
    gc.collect()
    assert set(threading.enumerate()) == before and str(clip) not in opened()


@pytest.mark.parametrize("mode", ["ar", "hr"])
def test_a_caller_that_drops_results_holds_little(tiny, clip, mode):
    """Of a long video, what the next batch needs."""
    images, most = [], 0
    for result in VideoSegmenter(tiny, batch=4, mode=mode).stream(clip):
        images.append(weakref.ref(result.image))
        del result
        most = max(most, sum(image() is not None for image in images))
    assert most <= 6
    assert sum(image() is not None for image in images) == 0


def test_label_maps_do_not_hold_each_other(tiny, frames):
    results = list(VideoSegmenter(tiny, batch=11).segment_all(frames))
    assert all(result.labels.base.untyped_storage().nbytes() == result.labels.size for result in results)
    assert all(result.labels.flags.writeable for result in results)


@pytest.mark.parametrize("mode", FROM_KEYFRAME)
def test_single_frames_and_batches_share_a_group(tiny, frames, mode):
    segmenter, group = VideoSegmenter(tiny, mode=mode), Group()
    logits = [segmenter.logits(frame, group) for frame in frames[:3]]
    assert group.keyframe == (frames[0].stream, 0) and torch.equal(group.key_logits, logits[0])
    labels = segmenter.segment(frames[3], group)
    np.testing.assert_array_equal(labels, one_by_one(segmenter, frames[:4])[3])


def test_one_behind():
    seen = []

    def source():
        for number in range(3):
            seen.append(number)
            yield number
        raise OSError

    items = one_behind(source())
    assert next(items) == 0 and seen == [0, 1]
    assert next(items) == 1 and next(items) == 2
    with pytest.raises(OSError):
        next(items)
    assert list(one_behind([])) == []
