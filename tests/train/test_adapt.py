"""Adaptation on unlabelled video: it learns, it resumes, and it measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.texture_clips import TileNet, moving_texture, moving_tiles

import arseg
from arseg.acceleration.network import AcceleratedNet
from arseg.data.groups import held_out, sample_groups, store_groups
from arseg.errors import InputError, MemoryLimitError
from arseg.evaluate.consistency import Consistency
from arseg.networks.keyframe import details
from arseg.preprocess import normalise
from arseg.segment import draw
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.train.adapt import AdaptRecipe, adapt, adaptation_loss
from arseg.train.adapt_report import table
from arseg.train.schedule import Schedule
from arseg.train.trust import GRID, PLAIN
from arseg.video import VideoReader, encode
from arseg_ext import ops

pytestmark = pytest.mark.slow  # trains

TINY = AdaptRecipe(steps=1, batch=1, crop=(64, 96), scales=(1.0, 1.0), measured=1)
RECIPE = AdaptRecipe(steps=40, batch=4, crop=(64, 96), scales=(1.0, 1.0), lr=3e-2)


def silent(line: str) -> None:
    pass


def network() -> AcceleratedNet:
    torch.manual_seed(0)
    return arseg.accelerate(TileNet(), size=(96, 128), mean=(0.4, 0.4, 0.4), std=(0.3, 0.2, 0.3))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    """60 frames of 128x96, five groups of 12."""
    path = tmp_path_factory.mktemp("tiles") / "tiles.mp4"
    encode(moving_tiles(60), path, rate=15, gop=12, crf=18)
    return path


@pytest.fixture(scope="module")
def adapted(tiles, tmp_path_factory):
    net, folder = network(), tmp_path_factory.mktemp("adapted")
    record = adapt(net, [tiles], folder, RECIPE, report=silent)
    return net, record, folder


def test_it_learns_from_the_video_alone(adapted):
    _, record, folder = adapted
    before, after = (record["agreement"][name] for name in ("ar before", "ar after"))
    for measure in ("pixel_accuracy", "miou"):
        assert before[measure][0] == after[measure][0] == 100, "keyframes are the teacher's own"
        assert all(late > early for early, late in zip(before[measure][1:], after[measure][1:], strict=True)), measure
    assert after["mean_pixel_accuracy"] > before["mean_pixel_accuracy"] + 5
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["similarity"] < 0.9 * log[0]["similarity"] and log[-1]["prediction"] < log[0]["prediction"]


def test_the_teacher_stays_as_it_was(adapted):
    net, _, _ = adapted
    fresh = network()
    for key, value in fresh.high.state_dict().items():
        assert torch.equal(value, net.high.state_dict()[key]), key
    assert any(not torch.equal(value, net.low.state_dict()[key]) for key, value in fresh.low.state_dict().items())
    assert not net.training and all(not parameter.requires_grad for parameter in net.parameters())


def test_what_it_says_is_what_the_segmenter_gives(adapted, tiles):
    """The held-out group again, through the video reader: the same agreement at every distance."""
    net, record, _ = adapted
    segmenters = {name: VideoSegmenter(net, mode=mode) for name, mode in (("hr", "hr"), ("ar after", "ar"))}
    segmenters |= {"lr": VideoSegmenter(net, mode="lr"), "warp": VideoSegmenter(net, mode="warp")}
    labels = {name: [r.labels for r in segmenter.stream(tiles)][48:] for name, segmenter in segmenters.items()}
    for name in ("lr", "warp", "ar after"):
        shares = [100 * (a == b).mean() for a, b in zip(labels[name], labels["hr"], strict=True)]
        np.testing.assert_allclose(record["agreement"][name]["pixel_accuracy"], shares, atol=0.02)
    with VideoReader(tiles, gop=12) as reader:
        last = list(reader)[48:]
    for name, row in (("hr", record["hr"]), *((name, record["agreement"][name]) for name in ("lr", "ar after"))):
        consistency = Consistency(12)
        for frame, one in zip(last, labels[name], strict=True):
            consistency.add(frame.index, frame.distance, one, frame.motion)
        assert row["temporal_consistency"]["mean"] == pytest.approx(consistency.mean(), abs=0.05)


def test_a_stopped_run_goes_on_to_the_same_weights(adapted, tiles, tmp_path, monkeypatch):
    whole, record, _ = adapted
    from arseg.train import adapt as module

    def stopped(*arguments, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return adaptation_loss(*arguments, **options)

    left = 25
    monkeypatch.setattr(module, "Schedule", lambda *a, **k: Schedule(*a, **{**k, "save_every": 10}))
    with monkeypatch.context() as patch:
        patch.setattr(module, "adaptation_loss", stopped)
        with pytest.raises(KeyboardInterrupt):
            adapt(network(), [tiles], tmp_path, RECIPE, report=silent)
    lines: list[str] = []
    net = network()
    again = adapt(net, [tiles], tmp_path, RECIPE, report=lines.append)
    assert "resumed at step 20 of 40" in lines
    assert not any("lr, warp" in line for line in lines), "what was measured before is not measured again"
    assert again == record
    for key, value in whole.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key


def test_other_settings_or_another_network_do_not_go_on(adapted, tiles):
    _, _, folder = adapted
    with pytest.raises(InputError, match=r"made with .*temperature 2.0 \(asked for 1.0\)"):
        adapt(network(), [tiles], folder, AdaptRecipe(**{**vars(RECIPE), "temperature": 1.0}), report=silent)
    other = arseg.accelerate(TileNet(), size=(96, 128))
    with pytest.raises(InputError, match=r"made with teacher \d+ \(asked for \d+\)"):
        adapt(other, [tiles], folder, RECIPE, report=silent)


def test_the_losses_by_hand():
    """Without attention, against the formulas; gradients reach the trained parts alone."""
    net = network()
    batch = {
        "key": torch.rand(2, 3, 64, 96) * 255,
        "image": torch.rand(2, 3, 64, 96) * 255,
        "motion": torch.zeros(2, 16, 24, 2, dtype=torch.int16),
        "distance": torch.tensor([1, 4]),
        "frame_size": (64, 96),
    }
    net.low.requires_grad_(True)
    recipe = AdaptRecipe(temperature=2.0, similarity=3.0, prediction=5.0)
    terms = adaptation_loss(net, batch, recipe, lambda: torch.autocast("cpu", enabled=False))
    key, image = (normalise(batch[name], net.label_set.mean, net.label_set.std) for name in ("key", "image"))
    with torch.no_grad():
        wanted = net.keyframe(image)
        fused = torch.nn.functional.interpolate(net.low_res(image), (16, 24), mode="bilinear", align_corners=True)
        kept = torch.tensor([1, 1 / 2]).view(2, 1, 1, 1)  # nothing moves: the keyframe's logits stay where they are
        before = net.classifier(net.keyframe(key))
        added = details(before, net.classifier(fused), net.low_res(image).shape[2:])
        joined = (net.classifier(fused) + added / torch.tensor([1, 2]).view(2, 1, 1, 1) + kept * before) / (1 + kept)
        teacher, student = (logits.div(2).softmax(1) for logits in (net.classifier(wanted), joined))
        divergence = (teacher * (teacher.log() - student.log())).sum(1).mean()
    similarity = ((fused - wanted) ** 2).mean() / wanted.var()
    torch.testing.assert_close(terms["similarity"].detach(), 3 * similarity)
    torch.testing.assert_close(terms["prediction"].detach(), 5 * 4 * divergence, rtol=1e-4, atol=1e-6)
    sum(terms.values()).backward()
    assert all(parameter.grad is None for parameter in net.high.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.low.parameters())
    assert net.fusion.hr_value_conv.weight.grad.abs().sum() > 0


def test_attention_starts_at_the_features_scale():
    net = network()
    for size in (0.01, 100.0):
        feature = size * (torch.randn(1, 8, 16, 24) + 3)
        net.start_fusion_for(feature, logit=6, value=0)
        query, key = net.fusion.lr_query_conv(feature), net.fusion.hr_key_conv(feature)
        assert (query * key).sum(1).mean().item() == pytest.approx(6, rel=0.01)
        assert query.mean().abs() < 1e-2
    assert not net.fusion.hr_value_conv.weight.any()


def test_groups_are_decoded_once(tiles, tmp_path):
    groups = store_groups(tiles, tmp_path, height=48)
    assert [(g.first, g.frames, g.coded, g.stored) for g in groups] == [
        (first, 12, (96, 128), (48, 64)) for first in range(0, 60, 12)
    ]
    with VideoReader(tiles, gop=12) as reader:
        frames = list(reader)
    np.testing.assert_array_equal(groups[2].vectors(5), frames[29].motion.vectors)
    shrunk = frames[29].image.reshape(48, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(groups[2].image(5) - shrunk).mean() < 12
    written = groups[0].path.stat().st_mtime_ns
    assert store_groups(tiles, tmp_path, height=48) == groups and groups[0].path.stat().st_mtime_ns == written
    assert store_groups(tiles, tmp_path, height=None)[0].stored == (96, 128)
    np.testing.assert_array_equal(store_groups(tiles, tmp_path)[1].image(3), frames[15].image)


def test_a_long_video_is_thinned_out(tiles, tmp_path):
    whole = 60 * (96 * 128 * 3 + 24 * 32 * 4)
    assert [g.first for g in store_groups(tiles, tmp_path, budget=whole)] == [0, 12, 24, 36, 48]
    assert [g.first for g in store_groups(tiles, tmp_path, budget=whole * 0.6)] == [0, 24, 48]


def test_the_end_of_a_video_is_held_out(tiles, tmp_path):
    groups = store_groups(tiles, tmp_path)
    assert [len(part) for part in held_out(groups, 0.2)] == [4, 1]
    assert [len(part) for part in held_out(groups, 0.01)] == [4, 1]
    assert [len(part) for part in held_out(groups, 0.9)] == [1, 4]
    assert [len(part) for part in held_out(groups, 0)] == [5, 0]
    assert held_out(groups, 0.4)[1] == groups[3:]


@pytest.mark.parametrize("height", [None, 48, 130])
def test_views_keep_image_and_motion_together(tmp_path, height):
    """At any processing height, cut and mirrored: the vectors lead from the later frame's view to the keyframe's."""
    encode(moving_texture(24, height=96, width=144), tmp_path / "t.mp4", rate=15, gop=12, crf=10)
    groups = store_groups(tmp_path / "t.mp4", tmp_path, height=height)
    ratio = (height or 96) / 96
    crop = (int(64 * ratio), int(96 * ratio))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        batch = sample_groups(groups, rng, batch=6, crop=crop, scales=(0.9, 1.2), colour=0)
        assert batch["key"].shape == (6, 3, *crop)
        warped = ops.mv_warp(batch["key"], batch["motion"], block=4, frame_size=batch["frame_size"])
        inside = ops.mv_warp(
            torch.ones_like(batch["key"][:, :1]), batch["motion"], block=4, frame_size=batch["frame_size"]
        )
        inside = (inside > 0.99).expand_as(warped)
        error = (warped - batch["image"])[inside].abs().mean()
        still = (batch["key"] - batch["image"])[inside].abs().mean()
        assert error < 0.35 * still, (error, still)


def test_videos_of_several_sizes_are_not_mixed_in_a_batch(tiles, tmp_path):
    encode(moving_tiles(24, 64, 192), tmp_path / "wide.mp4", rate=15, gop=12)
    groups = store_groups(tiles, tmp_path) + store_groups(tmp_path / "wide.mp4", tmp_path)
    shapes = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        batch = sample_groups(groups, rng, batch=3, crop=(64, 96), scales=(1, 1))
        shapes.add((batch["frame_size"], tuple(batch["key"].shape)))
    assert shapes == {((64, 96), (3, 3, 64, 96))}


def test_short_videos(tmp_path):
    encode(moving_tiles(9), tmp_path / "short.mp4", rate=15, gop=12)
    encode(moving_tiles(1), tmp_path / "one.mp4", rate=15, gop=12)
    with pytest.raises(InputError, match=r"short.mp4: is one group of 9 frames, too short to hold a part out"):
        adapt(network(), [tmp_path / "short.mp4"], tmp_path / "run", RECIPE, report=silent)
    with pytest.raises(InputError, match=r"one.mp4: is a single frame"):
        adapt(network(), [tmp_path / "one.mp4"], tmp_path / "run", RECIPE, report=silent)
    recipe = AdaptRecipe(**{**vars(RECIPE), "held_out": 0, "steps": 2})
    record = adapt(network(), [tmp_path / "short.mp4"], tmp_path / "run", recipe, report=silent)
    assert record["agreement"] == {} and record["gmacs"]["lr"] < record["gmacs"]["ar"]


@pytest.mark.parametrize("most", [2, 1, 0])
def test_where_memory_runs_out_a_batch_is_worked_on_in_parts(tiles, tmp_path, monkeypatch, most):
    """And gives nearly the same weights, since gradients are averaged over the parts."""
    lines, recipe = [], AdaptRecipe(**{**vars(RECIPE), "steps": 2, "measured": 1})

    def little(net, batch, *more):
        if len(batch["image"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return adaptation_loss(net, batch, *more)

    whole, parted = network(), network()
    monkeypatch.setattr("arseg.train.adapt.adaptation_loss", little)
    if most == 0:
        with pytest.raises(
            MemoryLimitError, match=r"^not enough memory on cpu to train with one view of 64x96; choose"
        ):
            adapt(parted, [tiles], tmp_path / "parted", recipe, report=lines.append)
        return
    adapt(parted, [tiles], tmp_path / "parted", recipe, report=lines.append)
    told = ["not enough memory on cpu for 4 views at once: trying 2"]
    told += ["not enough memory on cpu for 2 views at once: trying 1"] * (most == 1)
    assert [line for line in lines if "memory" in line] == told
    monkeypatch.undo()
    adapt(whole, [tiles], tmp_path / "whole", recipe, report=silent)
    pairs = [(one, parted.state_dict()[name]) for name, one in whole.low.state_dict(prefix="low.").items()]
    assert any((one != other).any() for one, other in pairs)
    start = network().state_dict()
    moved = sum(float((one - start[name]).norm()) for name, one in whole.low.state_dict(prefix="low.").items())
    assert sum(float((one - other).norm()) for one, other in pairs) < 0.5 * moved


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"gop": 1}, "gop: expected at least 2, got 1"),
        ({"crop": (8, 96)}, "crop: expected at least 16, got 8"),
        ({"held_out": 1.0}, "held_out: expected a number below 1, got 1.0"),
        ({"precision": "int8"}, "precision: expected one of float32, bfloat16, got 'int8'"),
        ({"temperature": 0}, "temperature: expected a number above 0, got 0"),
        ({"lr": -1.0}, r"lr: expected a number above 0, got -1\.0"),
        ({"cache_gb": 0.0}, r"cache_gb: expected a number above 0, got 0\.0"),
    ],
)
def test_bad_settings(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        AdaptRecipe(**settings)


def test_the_table_has_a_row_for_each_distance(adapted):
    _, record, _ = adapted
    shown = table(record)
    assert [column.header for column in shown.columns] == [
        "distance",
        "LR only",
        "keyframe warped",
        "AR, before",
        "AR, after",
    ]
    cells = list(shown.columns[0].cells)
    assert cells == ["mean", *map(str, range(12)), "temporal consistency", "GMACs a frame"]
    assert list(shown.columns[2].cells)[1] == "100.0 / 100.0"


def test_normalisation_and_corners_come_from_the_model(tiles):
    net = network()
    with VideoReader(tiles, gop=12) as reader:
        frame = next(iter(reader))
    labels = VideoSegmenter(net).segment(frame, Group())
    image = torch.from_numpy(frame.image.copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in ((0.4, 0.4, 0.4), (0.3, 0.2, 0.3)))
    torch.manual_seed(0)
    with torch.no_grad():
        own = TileNet()((image - mean) / std)["out"].argmax(1)[0].numpy()
    assert (labels == own).mean() > 0.999
    net.high.align_corners = True
    assert (VideoSegmenter(net).segment(frame, Group()) != labels).any()


def test_overlays_take_the_models_colours():
    labels = np.array([[0, 1, 4, 255]], np.uint8)
    colours = network().label_set.palette
    assert draw.colour(labels, colours).tolist() == [[[0, 0, 0], [128, 0, 0], [0, 0, 128], [0, 0, 0]]]


def test_how_much_the_keyframe_counts_is_chosen_by_agreement(adapted):
    """Tiles only move: the warped keyframe is nearly right, and comes to count for more than the 1 it starts with."""
    net, record, _ = adapted
    chosen = {name: getattr(net, name) for name in PLAIN}
    assert all(value in GRID[name] for name, value in chosen.items())
    assert net.keyframe_weight > 1 or net.keyframe_residual > 0
    assert record["keyframe"] == {
        "weight": net.keyframe_weight,
        "decay": net.keyframe_decay,
        "detail": net.keyframe_detail,
        "tau": net.keyframe_tau,
        "residual": net.keyframe_residual,
        "residual_tau": net.residual_tau,
    }


def test_the_papers_method_stays_without_the_keyframe(tiles, tmp_path):
    net = network()
    net.keyframe_weight = 0.0
    adapt(net, [tiles], tmp_path, AdaptRecipe(**{**vars(RECIPE), "steps": 2, "held_out": 0}), report=silent)
    assert (net.keyframe_weight, net.keyframe_decay) == (0.0, 0.5)


@pytest.mark.parametrize("one", [True, False])
def test_paths_may_be_strings(tiles, tmp_path, one):
    record = adapt(network(), str(tiles) if one else [str(tiles)], str(tmp_path / "run"), TINY, report=silent)
    assert record["size"] == [96, 128]


def test_what_a_video_without_motion_lacks_is_said(tmp_path):
    frames = moving_tiles(6)
    encode(frames, tmp_path / "intra.mp4", rate=15, gop=1)
    encode(frames[:1], tmp_path / "one.mp4", rate=15)
    for name, sentence in (
        ("intra", r"intra\.mp4: each of its 6 frames is a keyframe \(all-intra\), .* `arseg encode`"),
        ("one", r"one\.mp4: is a single frame, and motion takes two"),
    ):
        for _ in range(2):  # nothing of it is kept that a second run would take for groups
            with pytest.raises(InputError, match=sentence):
                adapt(network(), [tmp_path / f"{name}.mp4"], tmp_path / "run", RECIPE, report=silent)
