"""A frame that is not a keyframe is seen in one place: whoever asks gets the same bits."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from helpers.network_kinds import KINDS, make

from arseg.data.groups import store_groups
from arseg.errors import InputError
from arseg.evaluate.agreement import measure
from arseg.evaluate.flops import gmacs
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.folding import fold_batch_norm
from arseg.preprocess import network_input, normalise
from arseg.segment.modes import MODES
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.segment.ways import see
from arseg.train.adapt import AdaptRecipe, adaptation_loss
from arseg.train.calibration import ADDING, gain_losses
from arseg.train.default.ar import ArRecipe, fst_loss
from arseg.train.trust import sample_cells
from arseg.video import VideoReader


@pytest.fixture(params=KINDS)
def net(request) -> ARSegNet:
    """Without batch normalisation: `VideoSegmenter` folds it, which rounds otherwise."""
    return fold_batch_norm(make(request.param), partly=True)


@pytest.fixture(scope="module")
def frames(clip):
    with VideoReader(clip) as reader:
        return [frame for frame, _ in zip(reader, range(4), strict=False)]


def inputs(net, frame):
    """Image and motion of a frame, as the network takes them."""
    image = network_input(frame.image, frame.image.shape[:2], net.label_set, torch.device("cpu"))
    return image, None if frame.keyframe else torch.from_numpy(frame.motion.vectors.copy())[None]


def seen_by(monkeypatch, name):
    """What calls of `ARSegNet.name` give from here on."""
    found, plain = [], getattr(ARSegNet, name)

    def call(*args, **options):
        found.append(plain(*args, **options))
        return found[-1]

    monkeypatch.setattr(ARSegNet, name, call)
    return found


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("mode", MODES)
def test_segmenter_and_ways_give_the_same_bits(net, mode, frames):
    segmenter, group = VideoSegmenter(net, mode=mode, height="video"), Group()
    reference = key_logits = None
    for frame in frames:
        image, motion = inputs(net, frame)
        if reference is None:
            reference = net.keyframe(image)
            key_logits = net.classifier(reference)
        where = {"block": 4, "frame_size": frame.image.shape[:2]}
        found = see(net, mode, image, reference, key_logits, motion, frame.distance, **where)
        assert torch.equal(segmenter.logits(frame, group), found)


@pytest.mark.slow
@torch.inference_mode()
def test_all_who_measure_give_the_same_bits(net, frames, clip, tmp_path, monkeypatch):
    segmenter, group = VideoSegmenter(net, height="video"), Group()
    expected = [segmenter.logits(frame, group) for frame in frames][1:]
    reference, key_logits = group.reference, group.key_logits
    for frame, logits in zip(frames[1:], expected, strict=True):
        image, motion = inputs(net, frame)
        where = {"block": 4, "frame_size": frame.image.shape[:2]}
        whole = net(image, reference, motion, frame.distance, **where)
        assert torch.equal(whole, net.enlarge(logits, image))
        assert torch.equal(whole, net(image, reference, motion, frame.distance, key_logits, **where))
    groups = [replace(stored, frames=4) for stored in store_groups(clip, tmp_path)[:1]]
    steps = seen_by(monkeypatch, "step")
    measure(net, groups, ("ar",), gop=4, autocast=nullcontext)
    assert len(steps) == 3 and all(map(torch.equal, steps, expected))
    if not net.keyframe_weight:  # which it takes out, to try others
        steps.clear()
        sample_cells(net, groups, gop=4, autocast=nullcontext)
        assert len(steps) == 3 and all(map(torch.equal, steps, expected))


def pair(net, frames):
    """A batch of two frames of one group, as the trainings have it, not normalised."""
    key, *later = (torch.from_numpy(frame.image.copy()).permute(2, 0, 1).float() for frame in frames[:3])
    motion = torch.stack([torch.from_numpy(frame.motion.vectors.copy()) for frame in frames[1:3]])
    image, size = torch.stack(later), frames[0].image.shape[:2]
    label = torch.zeros(2, *size, dtype=torch.long)
    distance = torch.tensor([1, 2])
    return {
        "key": torch.stack([key, key]),
        "image": image,
        "motion": motion,
        "distance": distance,
        "label": label,
        "frame_size": size,
    }


@pytest.mark.slow
@torch.no_grad()
def test_all_who_train_give_the_same_bits(net, frames, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    plain = pair(net, frames)
    normalised = {name: normalise(plain[name], net.label_set.mean, net.label_set.std) for name in ("key", "image")}
    batch = plain | normalised
    reference, _ = net.keyframe(torch.cat([batch["key"], batch["image"]])).chunk(2)
    arguments = (batch["image"], reference, batch["motion"], batch["distance"])
    where = {"block": 4, "frame_size": batch["frame_size"]}
    expected, alone = net.step_outputs(*arguments, **where), net.step(*arguments, **where)
    torch.testing.assert_close(alone, expected.logits, rtol=1e-3, atol=1e-3)  # one pass rounds otherwise than two
    trained, measured = seen_by(monkeypatch, "step_outputs"), seen_by(monkeypatch, "step")
    fst_loss(net, net.keyframe, batch, torch.ones(net.classifier.out_channels), ArRecipe())
    adaptation_loss(net, plain, AdaptRecipe(), nullcontext)
    assert len(trained) == 2
    for outputs in trained:
        assert torch.equal(outputs.logits, expected.logits) and torch.equal(outputs.feature, expected.feature)
    if isinstance(net.fusion, ADDING):
        gain_losses(net, net.keyframe, [batch], block=4)
        assert torch.equal(measured[-1], alone)  # the last gain is 1


@torch.no_grad()
def test_compute_is_counted_on_the_step(net, monkeypatch):
    counted = seen_by(monkeypatch, "step_outputs")
    assert gmacs(net, 64, 96)["ar"] > 0 and len(counted) == 1


@pytest.mark.slow
@torch.inference_mode()
def test_frames_of_one_group_at_once(net, frames):
    """One reference for all; the same as one by one, but for rounding."""
    images, fields = zip(*(inputs(net, frame) for frame in frames[1:]), strict=True)
    reference = net.keyframe(inputs(net, frames[0])[0])
    key_logits, where = net.classifier(reference), {"block": 4, "frame_size": frames[0].image.shape[:2]}
    distance = torch.tensor([1, 2, 3])
    found = net.step(torch.cat(images), reference, torch.cat(fields), distance, key_logits, **where)
    for index, (image, motion) in enumerate(zip(images, fields, strict=True)):
        one = net.step(image, reference, motion, index + 1, **where)
        torch.testing.assert_close(found[index : index + 1], one, rtol=1e-3, atol=1e-3)
    each = net.step(
        torch.cat(images), reference.expand(3, -1, -1, -1), torch.cat(fields), distance, key_logits, **where
    )
    assert torch.equal(each, found)
    with pytest.raises(InputError, match=r"^reference: expected that of one keyframe, or one of each of the 3 images"):
        net.step(torch.cat(images), reference.expand(2, -1, -1, -1), torch.cat(fields), distance, **where)
