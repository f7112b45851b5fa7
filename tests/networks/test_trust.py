"""Trust in the warped keyframe: the formula by hand, its limits, and every way through a video alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.network_kinds import make
from helpers.texture_clips import moving_texture

from arseg.errors import InputError
from arseg.evaluate.flops import gmacs
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import enlarged
from arseg.networks.keyframe import joined, warped_logits
from arseg.networks.trust import KeyframeSignals, luma, photometric_error, trust, trusted
from arseg.preprocess import normalise
from arseg.segment.engine import Engine
from arseg.segment.graphs import StandIn
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.video import VideoReader, encode
from arseg.weights.build import build
from arseg.weights.files import load_checkpoint, save_checkpoint

SIZE, BLOCK = (32, 48), 4
WHERE = {"block": BLOCK, "frame_size": SIZE}
OPTIONS = {"keyframe_weight": 5.0, "keyframe_decay": 0.8, "keyframe_tau": 6.0}
RESIDUAL = {"keyframe_residual": 0.7, "residual_tau": 30.0}


def network(**options):
    torch.manual_seed(0)
    net = make("joined with the keyframe")
    for name, value in options.items():
        assert hasattr(net, name)
        setattr(net, name, value)
    return net


def step_inputs(seed=0, frames=2):
    torch.manual_seed(seed)
    key, *images = torch.rand(1 + frames, 1, 3, *SIZE)
    motion = torch.randint(-12, 12, (frames, SIZE[0] // BLOCK, SIZE[1] // BLOCK, 2), dtype=torch.int16)
    return key, torch.cat(images), motion, torch.arange(1, frames + 1)


def test_luma_is_that_of_the_picture():
    pixels = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.3), (0.2, 0.3, 0.1)
    red, green, blue = pixels.double().unbind(1)
    found = luma(normalise(pixels, mean, std), mean, std)
    torch.testing.assert_close(found[:, 0].double(), 0.299 * red + 0.587 * green + 0.114 * blue, rtol=0, atol=1e-3)
    assert found.shape == (2, 1, 6, 8) and found.dtype == torch.float32


def test_the_error_is_the_mean_difference_in_each_cell():
    frame, key = torch.rand(2, 1, 1, *SIZE) * 255
    motion = torch.zeros(1, 8, 12, 2, dtype=torch.int16)
    motion[..., 0] = 8  # two pixels to the right, the last two columns come from outside and stay
    moved = torch.cat([key[..., 2:], key[..., -2:]], 3)
    found = photometric_error(frame, key, motion, (8, 12), **WHERE)
    expected = (frame - moved).abs().view(1, 1, 8, 4, 12, 4).mean((3, 5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    still = photometric_error(frame, key, torch.zeros(1, 8, 12, 2), (8, 12))  # dense, in cells of the logits
    cells = [x.view(1, 1, 8, 4, 12, 4).mean((3, 5)) for x in (frame, key)]
    torch.testing.assert_close(still, (cells[0] - cells[1]).abs(), rtol=1e-4, atol=1e-3)


def test_trust_falls_from_one_to_nothing():
    error = torch.tensor([0.0, 6.0, 1e6])
    torch.testing.assert_close(trust(error, 6.0), torch.tensor([1.0, np.exp(-1), 0.0]).float())
    assert trust(error, None) == 1


@torch.no_grad()
def test_a_step_is_the_formula():
    """own + g exp(-e/tau') warp(HR - LR of the keyframe), joined with a exp(-e/tau)/d^p of the warped logits."""
    key, image, motion, distance = step_inputs()
    net = network(**OPTIONS, **RESIDUAL, keyframe_detail=0.0)
    reference = net.keyframe(key)
    kept = net.classifier(reference)
    signals = net.keyframe_signals(key, reference, kept)
    found = net.step(image, reference, motion, distance, kept, **WHERE, signals=signals)
    own = net.fused_logits(net.low_res(image), reference.expand(2, -1, -1, -1), motion, **WHERE)
    low = torch.nn.functional.interpolate(
        net.classifier(net.low_res(key)), kept.shape[2:], mode="bilinear", align_corners=True
    )
    torch.testing.assert_close(signals.residual, kept - low)
    for one in range(2):
        here = motion[one : one + 1]
        error = photometric_error(net.luma(image[one : one + 1]), net.luma(key), here, kept.shape[2:], **WHERE)
        added = 0.7 * torch.exp(-error / 30) * warped_logits(kept - low, here, **WHERE)
        weight = 5 * torch.exp(-error / 6) / (one + 1) ** 0.8
        expected = joined(own[one : one + 1] + added, warped_logits(kept, here, **WHERE), weight)
        torch.testing.assert_close(found[one : one + 1], expected)
    outputs = net.step_outputs(image, reference, motion, distance, kept, **WHERE, signals=signals)
    torch.testing.assert_close(outputs.logits, found, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_classifier_that_enlarges_is_given_the_map_that_a_step_gives_it():
    """The residual's branch and the keyframe's logits are those of maps of the same size."""
    key, image, motion, distance = step_inputs()
    net = network(**OPTIONS, **RESIDUAL, keyframe_detail=0.0)
    channels, classes = net.classifier.in_channels, net.classifier.out_channels
    net.high.classifier = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(channels, channels, 2, 2), torch.nn.ReLU(), torch.nn.Conv2d(channels, classes, 1)
    )
    reference = net.keyframe(key)
    kept = net.classifier(reference)
    signals = net.keyframe_signals(key, reference, kept)
    assert kept.shape[2:] == signals.residual.shape[2:] == (2 * reference.shape[2], 2 * reference.shape[3])
    assert torch.equal(signals.residual, kept - net.classifier(enlarged(net.low_res(key), reference)))
    assert net.step(image, reference, motion, distance, kept, **WHERE, signals=signals).shape[2:] == kept.shape[2:]


def test_where_it_is_off_the_bits_are_those_without():
    key, image, motion, distance = step_inputs()
    plain, off = network(), network(keyframe_tau=None, keyframe_residual=0.0, residual_tau=9.0)
    off.load_state_dict(plain.state_dict())
    reference = plain.keyframe(key)
    assert off.keyframe_signals(key, reference, off.classifier(reference)) is None
    seen = image, reference, motion, distance
    assert torch.equal(plain.step(*seen, **WHERE), off.step(*seen, **WHERE))
    assert torch.equal(plain.step_outputs(*seen, **WHERE).logits, off.step_outputs(*seen, **WHERE).logits)


@torch.no_grad()
def test_alike_pictures_are_trusted_wholly_and_others_not_at_all():
    key, _, motion, _ = step_inputs()
    motion.zero_()
    net = network(**OPTIONS, **RESIDUAL)
    reference = net.keyframe(key)
    kept = net.classifier(reference)
    signals = net.keyframe_signals(key, reference, kept)
    twice = KeyframeSignals(*(x.expand(2, -1, -1, -1) for x in signals.tensors()))
    logits, counts = torch.zeros(2, *kept.shape[1:]), (6.0, 0.7, 30.0)
    alike = trusted(twice.luma, twice, motion, logits, *counts, **WHERE)
    assert torch.equal(alike["trust"], torch.ones_like(alike["trust"]))
    torch.testing.assert_close(alike["residual"], 0.7 * twice.residual)
    plain = trusted(1e6 + twice.luma, twice, motion, logits, None, 0.7, None, **WHERE)
    assert plain["trust"] == 1, "no tau: the weight and the residual are the plain ones whatever the pictures say"
    torch.testing.assert_close(plain["residual"], 0.7 * twice.residual)
    other = trusted(1e6 + twice.luma, twice, motion, logits, *counts, **WHERE)
    assert not other["trust"].any() and not other["residual"].any()


def test_the_constants_can_be_learned():
    torch.manual_seed(0)
    signals = KeyframeSignals(255 * torch.rand(1, 1, 16, 24).double(), torch.randn(1, 3, 4, 6).double())
    frame, logits = 255 * torch.rand(1, 1, 16, 24).double(), torch.zeros(1, 3, 4, 6).double()
    motion = torch.zeros(1, 4, 6, 2, dtype=torch.int16)

    def constants(tau, gain, residual_tau):
        where = {"block": 4, "frame_size": (16, 24)}
        found = trusted(frame, signals, motion, logits, tau, gain, residual_tau, **where)
        return found["trust"], found["residual"]

    values = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (40.0, 0.7, 60.0)]
    assert torch.autograd.gradcheck(constants, values)


@torch.no_grad()
@pytest.mark.parametrize("options", [OPTIONS, RESIDUAL])
def test_what_is_missing_is_said(options):
    key, image, motion, distance = step_inputs()
    net = network(**options)
    reference = net.keyframe(key)
    with pytest.raises(InputError, match=r"^signals: this network trusts its keyframe .* give keyframe_signals\("):
        net.step(image, reference, motion, distance, **WHERE)
    if "keyframe_residual" in options:
        with pytest.raises(InputError, match=r"^signals\.residual: expected that of the keyframe, got None"):
            net.step(image, reference, motion, distance, **WHERE, signals=KeyframeSignals(net.luma(key)))
    three = KeyframeSignals(*(torch.zeros(3, 1, *SIZE),) * 2)
    with pytest.raises(InputError, match=r"^signals: expected that of one keyframe, or one of each of the 2 images"):
        net.step(image, reference, motion, distance, **WHERE, signals=three)


@pytest.mark.parametrize(
    ("name", "value"), [("keyframe_tau", 0), ("residual_tau", float("inf")), ("keyframe_residual", -1)]
)
def test_constants_out_of_range_are_refused(name, value):
    high = make("default").high
    with pytest.raises(InputError, match=rf"^{name}: expected a number"):
        ARSegNet(high, channels=8, **{name: value})


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("trust") / "texture.mp4"
    encode(moving_texture(8, 48, 64), path, rate=15, gop=4, crf=23)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("options", [OPTIONS, RESIDUAL, {**OPTIONS, **RESIDUAL}])
def test_batches_and_recordings_give_what_frame_by_frame_does(video, options):
    net = network(**options)
    one = [frame.labels for frame in VideoSegmenter(net, gop=4, batch=1, height="video").stream(video)]
    together = VideoSegmenter(net, gop=4, batch=4, height="video")
    for _ in range(2):
        for frame, expected in zip(together.stream(video), one, strict=True):
            assert (frame.labels != expected).mean() < 0.002, "but for rounding"
    replayed = StandIn(torch.device("cpu"))
    engine = together._engine
    settings = {"height": None, "half": False, "device": torch.device("cpu")}
    together._engine = Engine(net, "ar", engine.label_set, **settings, graphs=replayed)
    for _ in range(2):
        for frame, expected in zip(together.stream(video), one, strict=True):
            assert (frame.labels != expected).mean() < 0.002
    assert replayed.replays
    segmenter, group = VideoSegmenter(net, gop=4, height="video"), Group()
    with VideoReader(video, gop=4) as reader:
        for frame, expected in zip(reader, one, strict=True):
            np.testing.assert_array_equal(segmenter.segment(frame, group), expected)


def test_it_changes_something(video):
    def logits(net):
        segmenter, group = VideoSegmenter(net, gop=4, height="video"), Group()
        with VideoReader(video, gop=4) as reader:
            return torch.stack([segmenter.logits(frame, group) for frame in reader])

    plain = logits(network())
    for options in (OPTIONS, RESIDUAL):
        assert (logits(network(**options)) - plain).abs().max() > 1e-3
    torch.testing.assert_close(logits(network(keyframe_tau=1e30)), plain)


@pytest.mark.slow
def test_the_branch_on_the_keyframe_is_counted():
    plain, residual, weighed = (gmacs(network(**options), 64, 96) for options in ({}, RESIDUAL, OPTIONS))
    assert plain["keyframe"] == plain["hr"] == weighed["keyframe"]
    assert residual["keyframe"] > plain["hr"] + 0.9 * plain["lr"] and residual["ar"] == plain["ar"]


def test_a_weights_file_has_the_constants(tmp_path):
    config = {"classes": 11, "channels": 8, "wide": 8, "scale": 0.5, "window": 7}
    given = {**OPTIONS, **RESIDUAL}
    for name, options in (("old", {}), ("new", given)):
        net = build("ar", {**config, **options})
        save_checkpoint(net.state_dict(), tmp_path / f"{name}.safetensors", kind="ar", config={**config, **options})
    old, new = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("old", "new"))
    assert {name: getattr(new, name) for name in given} == given
    assert (old.keyframe_tau, old.keyframe_residual, old.residual_tau) == (None, 0.0, None)
