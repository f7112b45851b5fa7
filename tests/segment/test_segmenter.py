from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from helpers.texture_clips import moving_texture
from torch.nn.utils import prune

from arseg.errors import InputError, MemoryLimitError
from arseg.labels import CAMVID, CITYSCAPES
from arseg.memory import is_out_of_memory
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet
from arseg.preprocess import input_size, normalise
from arseg.segment.modes import MODES
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import UnsupportedCodecError, VideoReader, encode
from arseg.weights.files import CheckpointError, save_checkpoint


@pytest.mark.slow
def test_stream_gives_labels_timestamps_and_types(tiny, clip):
    results = list(VideoSegmenter(tiny).stream(clip))
    assert [r.index for r in results] == list(range(30))
    assert [r.keyframe for r in results] == [i % 12 == 0 for i in range(30)]
    assert [r.distance for r in results] == [i % 12 for i in range(30)]
    assert [r.frame_type for r in results] == ["I" if i % 12 == 0 else "P" for i in range(30)]
    for r in results:
        assert r.labels.dtype == np.uint8 and r.labels.shape == (64, 96) and r.labels.max() < 11
        assert r.pts is not None and r.pts * r.time_base == Fraction(r.index, 15)
        assert r.time == pytest.approx(r.index / 15)


@pytest.mark.slow
def test_keyframes_are_the_high_resolution_result(tiny, clip):
    ours, high = (list(VideoSegmenter(tiny, mode=mode).stream(clip)) for mode in ("ar", "hr"))
    for a, h in zip(ours, high, strict=True):
        if a.keyframe:
            np.testing.assert_array_equal(a.labels, h.labels)
    assert any((a.labels != h.labels).any() for a, h in zip(ours, high, strict=True))


def test_compute_saved_is_what_frames_between_keyframes_do_not_take(tiny):
    size, saved = (72, 96), {}
    for mode in ("hr", "ar", "warp"):
        saved[mode] = VideoSegmenter(tiny, mode=mode, height="video").compute_saved(size, None)
    assert saved["hr"](24, 2) == 0
    assert saved["warp"](24, 2) == pytest.approx(22 / 24)
    assert 0 < saved["ar"](24, 2) < 22 / 24
    assert saved["warp"](24, 24) == 0


def test_warp_beats_keep_where_things_move(tiny, clip):
    """The keyframe's result moved by the vectors agrees better with segmenting each frame than left in place."""
    results = {mode: list(VideoSegmenter(tiny, mode=mode).stream(clip)) for mode in ("hr", "warp", "keep")}
    agreement = {
        mode: np.mean([(r.labels == h.labels).mean() for r, h in zip(results[mode], results["hr"], strict=True)])
        for mode in ("warp", "keep")
    }
    assert agreement["warp"] > agreement["keep"]


def test_the_keyframe_counts_for_less_with_distance(tiny, clip):
    """The mean of both ways' logits, the warped keyframe's weighted by 1 / distance."""
    with VideoReader(clip) as reader:
        frames = list(reader)[:4]
    weighted = copy.deepcopy(tiny)
    weighted.keyframe_weight = 0.7
    groups = {name: Group() for name in ("fused", "warped", "both")}
    fused, warped, both = VideoSegmenter(tiny), VideoSegmenter(tiny, mode="warp"), VideoSegmenter(weighted)
    with torch.inference_mode():
        for frame in frames:
            first, second = fused.logits(frame, groups["fused"]), warped.logits(frame, groups["warped"])
            weight = 0 if frame.keyframe else 0.7 / frame.distance
            expected = (first + weight * second) / (1 + weight)
            torch.testing.assert_close(both.logits(frame, groups["both"]), expected)


def test_the_keyframes_weight_is_stored_with_the_weights(tiny, tmp_path):
    config = {"classes": 11, "channels": 16, "wide": 16, "scale": 0.5, "window": 7, "keyframe_weight": 0.7}
    save_checkpoint(tiny.state_dict(), tmp_path / "ar.safetensors", kind="ar", config=config)
    assert VideoSegmenter(tmp_path / "ar.safetensors").model.keyframe_weight == 0.7
    assert tiny.keyframe_weight == 0  # the paper's method, where nothing else is said


def test_frames_are_seen_at_the_height_that_the_weights_were_trained_for(tiny, clip, tmp_path):
    config = {"classes": 11, "channels": 16, "wide": 16, "scale": 0.5, "window": 7, "height": 48}
    save_checkpoint(tiny.state_dict(), tmp_path / "ar.safetensors", kind="ar", config=config, half=False)
    trained = VideoSegmenter(tmp_path / "ar.safetensors")
    assert trained.height == 48 and VideoSegmenter(trained.model, height="video").height is None
    ways = {"48": trained, "asked for 48": VideoSegmenter(tiny, height=48), "as it is": VideoSegmenter(tiny)}
    found = {name: next(iter(way.stream(clip))).labels for name, way in ways.items()}
    assert (found["48"] == found["asked for 48"]).all() and (found["48"] != found["as it is"]).any()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_at_another_height(tiny, clip, mode):
    first = next(iter(VideoSegmenter(tiny, mode=mode, height=33).stream(clip)))
    assert first.labels.shape == (64, 96)


def test_a_shorter_group_than_the_codec_has(tiny, clip):
    results = list(VideoSegmenter(tiny, gop=5).stream(clip))
    assert [r.distance for r in results[:14]] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 0, 1]


@pytest.mark.slow
def test_bfloat16_is_close(tiny, clip):
    exact, rough = (list(VideoSegmenter(tiny, precision=p).stream(clip)) for p in ("float32", "bfloat16"))
    assert np.mean([(a.labels == b.labels).mean() for a, b in zip(exact, rough, strict=True)]) > 0.9


def test_odd_sizes(tiny, tmp_path):
    encode(moving_texture(6, 51, 77), tmp_path / "odd.mp4", rate=15, gop=12)
    assert [r.labels.shape for r in VideoSegmenter(tiny).stream(tmp_path / "odd.mp4")] == [(51, 77)] * 6


def test_results_do_not_pile_up(tiny, clip):
    """A caller that drops results holds no frame but the one it looks at."""
    stream = VideoSegmenter(tiny).stream(clip)
    seen = []
    for result in stream:
        seen.append(weakref.ref(result.image))
        del result
    gc.collect()
    assert sum(reference() is not None for reference in seen) == 0


def test_two_streams_at_once_do_not_mix(tiny, clip, tmp_path):
    encode(moving_texture(14, step=1)[::-1], tmp_path / "other.mp4", rate=15, gop=12)
    segmenter = VideoSegmenter(tiny)
    alone = [r.labels for r in segmenter.stream(clip)]
    together = [
        a.labels for a, _ in zip(segmenter.stream(clip), segmenter.stream(tmp_path / "other.mp4"), strict=False)
    ]
    for one, other in zip(alone, together, strict=False):
        np.testing.assert_array_equal(one, other)


def test_frames_may_come_through_other_processes(tiny, clip):
    with VideoReader(clip) as reader:
        frames = list(reader)[:14]
    alone = [VideoSegmenter(tiny).segment_all(frames)]
    sent = (pickle.loads(pickle.dumps(frame)) for frame in frames)
    for a, b in zip(alone[0], VideoSegmenter(tiny).segment_all(sent), strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)


def test_frames_of_no_known_video_go_by_their_group(tiny, clip):
    with VideoReader(clip) as reader:
        frames = [frame for frame, _ in zip(reader, range(3), strict=False)]
    segmenter, group, known = VideoSegmenter(tiny), Group(), Group()
    for frame in frames:
        found = segmenter.segment(replace(frame, stream=None), group)
        np.testing.assert_array_equal(found, segmenter.segment(frame, known))


def test_a_classifier_with_a_hook_is_called(tiny, clip):
    """Pruning makes the weight in a hook: a fused operator that reads the weight alone would take an old one."""
    net = copy.deepcopy(tiny)
    prune.l1_unstructured(net.classifier, "weight", 0.5)
    net.classifier.weight_orig.data.mul_(3)
    reference, low = torch.randn(1, 16, 16, 24), torch.randn(1, 16, 8, 12)
    where = {"motion": torch.zeros(1, 16, 24, 2, dtype=torch.int16), "block": 4, "frame_size": (64, 96)}
    with torch.no_grad():
        found = net.fused_logits(low, reference, **where)
        torch.testing.assert_close(found, net.classifier(net.fuse(low, reference, **where)), atol=1e-4, rtol=1e-4)


def test_two_videos_frame_by_frame_are_refused_where_they_would_mix(tiny, clip, tmp_path):
    encode(moving_texture(14, step=1)[::-1], tmp_path / "other.mp4", rate=15, gop=12)
    with VideoReader(clip) as one, VideoReader(tmp_path / "other.mp4") as two:
        ours, theirs = list(one), list(two)
    alone = VideoSegmenter(tiny)
    mine = Group()
    expected = [alone.segment(frame, mine) for frame in ours[:3]]
    segmenter, shared = VideoSegmenter(tiny), Group()
    segmenter.segment(ours[0], shared)
    segmenter.segment(theirs[0], shared)
    with pytest.raises(InputError, match=r"frame 1: its keyframe is frame 0 of its video, and the last one .* Group"):
        segmenter.segment(ours[1], shared)
    groups = Group(), Group()
    for index in range(3):
        np.testing.assert_array_equal(segmenter.segment(ours[index], groups[0]), expected[index])
        segmenter.segment(theirs[index], groups[1])
    segmenter.segment(ours[12], shared)
    with pytest.raises(InputError, match=r"frame 2: its keyframe is frame 0"):
        segmenter.segment(ours[2], shared)


@pytest.mark.slow
@pytest.mark.parametrize(("weight", "detail"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.8), (1.0, 1.0)])
def test_forward_is_what_the_segmenter_does(tiny, clip, weight, detail):
    net = copy.deepcopy(tiny)
    net.keyframe_weight, net.keyframe_detail = weight, detail
    segmenter, group, reference = VideoSegmenter(net), Group(), torch.empty(0)
    with VideoReader(clip, gop=12) as reader, torch.inference_mode():
        for frame in reader:
            labels = segmenter.segment(frame, group)
            pixels = torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None]
            image = normalise(pixels, CAMVID.mean, CAMVID.std)
            if frame.keyframe:
                reference = net.keyframe(image)
                found = net.classify(reference, image)
            else:
                motion = torch.from_numpy(frame.motion.vectors.copy())[None]
                where = {"block": frame.motion.block, "frame_size": frame.image.shape[:2]}
                found = net(image, reference, motion, frame.distance, **where)
                kept = net.classifier(reference)
                assert torch.equal(found, net(image, reference, motion, frame.distance, kept, **where))
                if weight or detail:
                    with pytest.raises(InputError, match=r"^distance: "):
                        net(image, reference, motion, **where)
            np.testing.assert_array_equal(found.argmax(1)[0].numpy(), labels)


def test_the_shipped_network_called_by_hand_agrees_with_the_segmenter(tmp_path):
    encode(moving_texture(4, 96, 128), tmp_path / "texture.mp4", rate=15, gop=12)
    segmenter = VideoSegmenter(height="video")
    net, means, group = segmenter.model, segmenter.label_set, Group()
    assert net.keyframe_weight and net.keyframe_detail, "else this would show nothing"
    with VideoReader(tmp_path / "texture.mp4") as reader, torch.inference_mode():
        for frame in reader:
            image = normalise(torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None], means.mean, means.std)
            labels = segmenter.segment(frame, group)
            if frame.keyframe:
                reference = net.keyframe(image)
                continue
            motion = torch.from_numpy(frame.motion.vectors.copy())[None]
            logits = net(image, reference, motion, frame.distance, block=4, frame_size=frame.image.shape[:2])
            assert (logits.argmax(1)[0].numpy() == labels).mean() > 0.9999


def test_a_network_of_unknown_classes_is_refused(tmp_path):
    net = ARSegNet(PyramidNet(num_classes=19, channels=8, wide=8), channels=8)
    with pytest.raises(
        InputError, match=r"model: nobody has said what its classes are .*; set its attribute label_set"
    ):
        VideoSegmenter(net)
    net.label_set = CAMVID
    with pytest.raises(InputError, match=r"classifier has 19 classes and its label_set 11 \(CamVid's 11 classes\)"):
        VideoSegmenter(net)
    net.label_set = CITYSCAPES
    assert VideoSegmenter(net).label_set == CITYSCAPES
    config = {"classes": 19, "channels": 8, "wide": 8, "scale": 0.5, "window": 7}
    save_checkpoint(net.state_dict(), tmp_path / "ar.safetensors", kind="ar", config=config)
    with pytest.raises(InputError, match="nobody has said what its classes are"):
        VideoSegmenter(tmp_path / "ar.safetensors")


def test_a_classifier_that_says_nothing_of_its_classes_is_checked_by_what_it_gives(clip):
    net = ARSegNet(PyramidNet(num_classes=19, channels=8, wide=8), channels=8, label_set=CAMVID)
    net.high.classifier = torch.nn.Sequential(net.high.classifier)
    with pytest.raises(InputError, match=r"model: gives 19 classes, and its label_set says CamVid's 11 classes"):
        next(VideoSegmenter(net).stream(clip))


def test_very_wide_frames_are_not_blown_up(tiny, tmp_path):
    encode(moving_texture(3, 16, 2000), tmp_path / "wide.mp4", rate=15, gop=12)
    assert input_size((16, 2000), 576) == (145, 18128)
    assert input_size((360, 480), 576) == (576, 768) and input_size((1000, 8000), 576) == (576, 4608)
    found = list(VideoSegmenter(tiny, height=64).stream(tmp_path / "wide.mp4"))
    assert [frame.labels.shape for frame in found] == [(16, 2000)] * 3


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: …"), MemoryError()]
)
def test_too_little_memory_is_a_sentence(tiny, clip, monkeypatch, error):
    net = copy.deepcopy(tiny)

    def fail(image):
        raise error

    monkeypatch.setattr(net, "keyframe", fail)
    sentence = r"^frame 0: not enough memory on cpu for the network at 768x512 pixels; choose a smaller height"
    with pytest.raises(MemoryLimitError, match=sentence):
        next(VideoSegmenter(net, height=512).stream(clip))


def test_memory_that_cannot_be_had_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value) and not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_frames_must_start_with_a_keyframe(tiny, clip):
    with VideoReader(clip) as reader:
        frames = list(reader)
    with pytest.raises(ValueError, match=r"frame 3: not a keyframe, and no keyframe came before it"):
        VideoSegmenter(tiny).segment(frames[3], Group())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "best"}, r"mode: expected one of ar, hr, lr, warp, keep, got 'best'"),
        ({"gop": 0}, r"gop: expected at least 1 frame, got 0"),
        ({"gop": "12"}, r"gop: expected at least 1 frame, got '12'"),
        ({"model": torch.nn.Conv2d(3, 3, 1)}, r"model: expected an ARSegNet .* got a Conv2d; arseg.accelerate makes"),
        ({"height": 0}, r"height: expected at least 16 pixels, or 'video', got 0"),
        ({"height": "full"}, r"height: expected at least 16 pixels, or 'video', got 'full'"),
        ({"precision": "int8"}, r"precision: expected float32 or bfloat16, got 'int8'"),
        ({"device": "meta"}, r"device: the operators of this build run on the CPU, got meta"),
    ],
)
def test_bad_arguments(tiny, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        VideoSegmenter(**{"model": tiny, **arguments})


def test_weights_of_phase_1_are_not_enough(tmp_path):
    net = PyramidNet(num_classes=2, channels=8, wide=8)
    save_checkpoint(net.state_dict(), tmp_path / "hr.st", kind="hr", config={"classes": 2, "channels": 8, "wide": 8})
    with pytest.raises(CheckpointError, match=r"weights of the keyframe network alone"):
        VideoSegmenter(tmp_path / "hr.st")


def test_no_gradients_are_kept(tiny, clip):
    with VideoReader(clip) as reader:
        segmenter, group = VideoSegmenter(tiny), Group()
        segmenter.segment(next(iter(reader)), group)
    assert group.reference is not None and group.reference.is_inference()
    assert all(p.grad is None for p in tiny.parameters())
    assert torch.is_grad_enabled()


def test_a_codec_without_vectors_is_transcoded_by_default(tiny, tmp_path):
    """As on the command line: one default."""
    with av.open(str(tmp_path / "vp9.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=15, width=96, height=64)
        for image in moving_texture(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    found = list(VideoSegmenter(tiny).stream(str(tmp_path / "vp9.webm")))
    assert [frame.keyframe for frame in found] == [True, False, False, False]
    with pytest.raises(UnsupportedCodecError, match="VP9"):
        next(VideoSegmenter(tiny).stream(tmp_path / "vp9.webm", transcode=False))


def test_another_scale_is_of_the_segmenter_and_not_of_the_network(tiny, clip):
    """Frames between keyframes are seen at it; keyframes are not."""
    usual, other = VideoSegmenter(tiny), VideoSegmenter(tiny, scale=0.25)
    assert (usual.scale, other.scale, other.trained_scale, tiny.scale) == (0.5, 0.25, 0.5, 0.5)
    with VideoReader(clip, gop=12) as reader:
        frames = [frame for frame, _ in zip(reader, range(4), strict=False)]
    for a, b in zip(usual.segment_all(frames), other.segment_all(frames), strict=True):
        assert np.array_equal(a.labels, b.labels) == a.keyframe
    seen = copy.copy(tiny)
    seen.scale = 0.25
    for a, b in zip(VideoSegmenter(seen).segment_all(frames), other.segment_all(frames), strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("scale", [0, 1.5, -0.5, True, "0.5", float("nan")])
def test_a_scale_that_is_none(tiny, scale):
    with pytest.raises(InputError, match=r"scale: expected a factor above 0, up to 1"):
        VideoSegmenter(tiny, scale=scale)


@pytest.mark.parametrize("how", [{"mode": "hr"}, {"mode": "warp"}, {"budget": "25%"}])
def test_a_scale_where_nothing_is_seen_at_it(tiny, how):
    with pytest.raises(InputError, match="no network sees a frame at low resolution"):
        VideoSegmenter(tiny, scale=0.3, **how)
    assert VideoSegmenter(tiny, scale=0.3, mode="lr").scale == 0.3
