"""The network as it runs on a device: recorded, folded, in half precision; and what a GPU resizes otherwise."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.network_kinds import make
from torch import nn
from torch.nn.utils import prune

from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.conv_activation import ConvActivation
from arseg.networks.prepared import prepared
from arseg.preprocess import network_inputs, normalise, shrunk, shrunk_bytes
from arseg.segment.graphs import CudaGraphs, StandIn
from arseg.segment.modes import MODES
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import VideoReader
from arseg_ext._torch_private import mkldnn_convolution

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames(clip):
    with VideoReader(clip, gop=4) as reader:
        return [frame for frame, _ in zip(reader, range(14), strict=False)]


def labels_of(results):
    return np.stack([result.labels for result in results])


def recorded(net, **options):
    segmenter = VideoSegmenter(net, **{"gop": 4, **options})
    segmenter._engine.graphs = StandIn(CPU)
    return segmenter, segmenter._engine.graphs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_recorded_functions_give_the_same_labels(tiny, frames, mode, batch):
    expected = labels_of(VideoSegmenter(tiny, gop=4, mode=mode, batch=batch).segment_all(frames))
    segmenter, graphs = recorded(tiny, mode=mode, batch=batch)
    for _ in range(2):  # what is recorded serves the next video
        np.testing.assert_array_equal(labels_of(segmenter.segment_all(frames)), expected)
    assert graphs.replays > 0 and graphs.recordings


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["joined with the keyframe", "camvid-psp18", "camvid-bise18", "accelerated"])
def test_recorded_functions_of_other_networks(kind, frames):
    net = make(kind)
    expected = labels_of(VideoSegmenter(net, gop=4, batch=4, height="video").segment_all(frames[:10]))
    segmenter, graphs = recorded(net, batch=4, height="video")
    np.testing.assert_array_equal(labels_of(segmenter.segment_all(frames[:10])), expected)
    assert graphs.replays > 0


def test_a_group_outlives_later_replays(tiny, frames):
    """Two streams by turns: what one keeps of its keyframe is not where the other's is written."""
    expected = [VideoSegmenter(tiny).segment(frame, group) for group in [Group()] for frame in frames[:4]]
    segmenter, _ = recorded(tiny)
    for _ in range(2):
        mine, other = Group(), Group()
        for index in range(4):
            np.testing.assert_array_equal(segmenter.segment(frames[index], mine), expected[index])
            segmenter.segment(frames[4 + index], other)


def test_few_shapes_are_recorded(tiny, frames):
    segmenter, graphs = recorded(tiny, batch=4)
    list(segmenter.segment_all(frames))  # groups of 4, 4, 4 and 2: three frames after a keyframe, and one
    list(segmenter.segment_all(frames))
    assert len(graphs.recordings) == 3  # four keyframes; three frames after one, and one


@pytest.mark.slow
def test_half_precision_computes_in_it(frames):
    net, seen = make("joined with the keyframe"), []
    segmenter = VideoSegmenter(net, precision="bfloat16", gop=4)
    group = Group()
    for frame in frames[:3]:
        seen.append(segmenter.logits(frame, group).dtype)
    assert group.reference.dtype == seen[0] == torch.bfloat16
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}, "the user's own stays"
    results = [labels_of(VideoSegmenter(net, precision=p, gop=4).segment_all(frames)) for p in ("float32", "bfloat16")]
    assert 0.7 < (results[0] == results[1]).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["joined with the keyframe", "camvid-psp18", "camvid-bise18", "accelerated", "value"])
@pytest.mark.parametrize("batch", [1, 4])
def test_half_precision_of_other_networks(kind, batch, frames):
    net = make(kind)
    segmenter = VideoSegmenter(net, precision="bfloat16", gop=4, batch=batch, height="video")
    found = labels_of(segmenter.segment_all(frames[:6]))
    assert segmenter._engine._ready is not net and found.shape == (6, 64, 96)


class Late(nn.Module):
    """Calls its layers in another order than it defines them in: folded as they are defined, it would be another."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.classifier = nn.Conv2d(8, 11, 1)
        self.channels = 8
        nn.init.uniform_(self.norm.running_mean, 1, 2)

    def features(self, image):
        return self.norm(self.second(self.first(image)))

    def forward(self, image):
        return self.classifier(self.features(image))


class Stubborn(Late):
    """Makes 32-bit tensors of its own, as foreign code may."""

    def features(self, image):
        image = image.float()
        ramp = torch.linspace(0, 1, image.shape[3], device=image.device)
        return self.second(self.first(image + ramp))


IMAGE = torch.randn(1, 3, 32, 48)


def norms(net):
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_batch_norm_is_folded_where_that_changes_nothing(tiny):
    with torch.inference_mode():
        ready = prepared(tiny, IMAGE, torch.float32)
        assert norms(tiny) > 0 == norms(ready)
        fused = any(isinstance(module, ConvActivation) for module in ready.modules())
        assert fused == (mkldnn_convolution is not None) and type(ready.classifier) is nn.Conv2d
        torch.testing.assert_close(ready.keyframe(IMAGE), tiny.keyframe(IMAGE), atol=1e-3, rtol=1e-3)
        late = ARSegNet(Late(), channels=8).eval()
        assert prepared(late, IMAGE, torch.float32) is None  # as it is: no copy would be faster
        ready = prepared(late, IMAGE, torch.bfloat16)
        assert norms(ready) == norms(late) == 2


def test_the_engine_runs_the_folded_copy_on_the_cpu(tiny, frames):
    segmenter = VideoSegmenter(tiny, gop=4, height="video")
    found = labels_of(segmenter.segment_all(frames[:6]))
    assert norms(segmenter._engine._net()) == 0 < norms(tiny)
    with torch.inference_mode():
        pixels = torch.from_numpy(frames[0].image)[None]
        image = network_inputs(pixels, pixels.shape[1:3], tiny.label_set)
        plain = tiny.labels(tiny.classifier(tiny.keyframe(image)), image.shape[2:])[0].numpy()
    assert (found[0] == plain).mean() > 0.999


def test_networks_that_do_not_run_in_half_precision_run_under_autocast(frames):
    assert prepared(ARSegNet(Stubborn(), channels=8).eval(), IMAGE, torch.bfloat16) is None
    pruned = make("default")
    prune.l1_unstructured(pruned.classifier, "weight", 0.5)
    net = ARSegNet(Stubborn(), channels=8, label_set=CAMVID).eval()
    for each in (net, pruned):
        segmenter = VideoSegmenter(each, precision="bfloat16", gop=4, height="video")
        found = labels_of(segmenter.segment_all(frames[:6]))
        exact = labels_of(VideoSegmenter(each, gop=4, height="video").segment_all(frames[:6]))
        assert segmenter._engine._autocast and (found == exact).mean() > 0.7


def test_too_many_classes_are_said_in_batches_too(tiny, frames):
    net = ARSegNet(Late(), channels=8, label_set=tiny.label_set).eval()
    net.high.classifier = nn.Sequential(nn.Conv2d(8, 5, 1))
    for batch in (1, 4):
        with pytest.raises(InputError, match=r"^model: gives 5 classes, and its label_set says CamVid's 11 classes"):
            next(VideoSegmenter(net, batch=batch, gop=4).segment_all(frames))


@pytest.mark.parametrize("size", [(48, 64), (51, 80), (200, 300)])
def test_resizing_in_floats_is_resizing_in_bytes(frames, size):
    """A GPU has no other way: at most one step of 255 lies between them."""
    image = torch.from_numpy(np.stack([frame.image for frame in frames[:3]])).permute(0, 3, 1, 2)
    bytes_, floats = shrunk_bytes(image, size), shrunk(image.float(), size).round_()
    difference = (bytes_.float() - floats).abs()
    assert bytes_.dtype == torch.uint8 and difference.max() <= 1 and (difference > 0).float().mean() < 0.25


def test_normalised_images_lie_in_memory_alike():
    """However one came: torch's layouts, and with them the roundings, hang on the strides of a single image, too."""
    pixels = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8)
    ways = [pixels.permute(2, 0, 1)[None], pixels[None].permute(0, 3, 1, 2), pixels.permute(2, 0, 1)[None].contiguous()]
    images = [normalise(way, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)) for way in ways]
    assert {image.stride() for image in images} == {(64 * 96 * 3, 1, 96 * 3, 3)}
    small = [F.interpolate(image, (32, 48), mode="bilinear", antialias=True) for image in images]
    assert all(torch.equal(small[0], other) for other in small[1:])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["joined with the keyframe", "camvid-psp18", "camvid-bise18", "accelerated"])
def test_on_cuda_the_labels_are_those_of_the_cpu(kind, mode, frames):
    net = make(kind)
    expected = labels_of(VideoSegmenter(net, mode=mode, gop=4, height="video").segment_all(frames))
    for precision, batch, share in (("float32", 1, 0.98), ("float32", None, 0.98), (None, None, 0.8)):
        segmenter = VideoSegmenter(
            copy.deepcopy(net), mode=mode, gop=4, height="video", device="cuda", precision=precision, batch=batch
        )
        for _ in range(2):
            assert (labels_of(segmenter.segment_all(frames)) == expected).mean() > share
        assert isinstance(segmenter._engine.graphs, CudaGraphs) and segmenter._engine.graphs.recordings


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_waits_for_the_device_but_the_labels(tiny, frames):
    segmenter = VideoSegmenter(copy.deepcopy(tiny), gop=4, device="cuda")
    for _ in range(2):
        list(segmenter.segment_all(frames))  # all shapes are recorded
    engine = segmenter._engine
    torch.cuda.set_sync_debug_mode("error")
    try:
        labels, keys = engine.keyframes([frame for frame in frames if frame.keyframe])
        after = engine.after(frames[1:4], keys[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(labels()) == 4 and len(after()) == 3
