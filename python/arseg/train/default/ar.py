"""Phase 2: the low-resolution branch and CReFF, by feature similarity training (FST) under the frozen keyframe network.

Source: Hu et al., CVPR 2023: segmentation loss + MSE between the fused feature and the one that the
high-resolution network finds in the same frame; the 1x1 classifier is shared and frozen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from arseg.data.augment import jitter, random_view
from arseg.data.pairs import GOP, Clip, cached_clips, cached_video_clips
from arseg.data.stills import ROWS, Still, camvid_stills, fingerprint
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID, targets
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.folding import fold_batch_norm
from arseg.preprocess import normalise
from arseg.train import distributed
from arseg.train.calibration import ADDING, GAINS, gain_losses, scale_fusion
from arseg.train.loop import Batch, Schedule, moved, train
from arseg.video.names import video_file
from arseg.weights.build import build
from arseg.weights.files import load_into, read_checkpoint, save_checkpoint

from .hr import class_weights, start_settings
from .low import Clips, Teacher, counts, imitation_loss, train_low

BLOCK = 4


@dataclass(frozen=True)
class ArRecipe:
    """Phase 2's settings; the defaults made the shipped weights, to which `keyframe_detail` was added afterwards.

    Attributes:
        low_steps, low_batch, low_rate: of the first stage, the low-resolution branch alone; 0 steps: without it.
        steps, batch, rate: of the second, on pairs, with the fusion.
        branch_rate: the low-resolution branch's rate in it, as a share of `rate`.
        street_share, video_share: of a batch of pairs; the rest are of labelled stills.
        calibration: batches of unlabelled pairs by which the fusion's gain is found in the end; 0: it stays.
        scales: of the frames as they are stored.
    """

    low_steps: int = 2400
    low_batch: int = 8
    low_rate: float = 6e-4
    steps: int = 2000
    batch: int = 6
    crop: tuple[int, int] = (384, 512)
    scales: tuple[float, float] = (1.28, 2.4)
    rate: float = 7e-4
    branch_rate: float = 0.2
    streets: int = 150
    street_share: float = 1 / 6
    video_share: float = 1 / 3
    calibration: int = 20
    scale: float = 0.5
    window: int = 7
    fusion: str = "attention"
    warp: bool = True
    keyframe_weight: float = 1.0
    keyframe_detail: float = 1.0
    overlap: float = 1.0
    similarity: float = 1.0
    distillation: float = 0.5
    distances: tuple[int, ...] = tuple(range(1, 12))
    seed: int = 0


class Pairs:
    """Frames of clips that lie at one of `distances` from their keyframe."""

    def __init__(self, clips: Sequence[Clip], distances: Sequence[int]):
        self.all = [(clip, k) for clip in clips for k in np.flatnonzero(np.isin(clip.distances, distances))]
        if not self.all:
            raise InputError(f"distances: expected some of 1..{GOP - 1}, none of the clips' frames is at {distances}")


def sample_pairs(sources: Sequence[tuple[Pairs, int]], recipe: ArRecipe, rng: np.random.Generator) -> Batch:
    """Random views of pairs; `motion` is in the window's own pixels, `frame_size` is that window's size.

    All samples of a batch share one window size, so that their fields stack.
    """
    frame = sources[0][0].all[0][0].key.shape[:2]
    shape = random_view(rng, frame, recipe.crop, recipe.scales)
    keys, images, labels, motion, distances = [], [], [], [], []
    for pairs, count in sources:
        for index in rng.integers(0, len(pairs.all), count):
            clip, k = pairs.all[index]
            view = shape.moved(rng, clip.key.shape[:2])
            keys.append(view.image(clip.key, recipe.crop))
            images.append(view.image(clip.images[k], recipe.crop))
            labels.append(view.label(clip.labels[k], recipe.crop))
            motion.append(view.field(clip.vectors[k], BLOCK) * np.int16(recipe.warp))
            distances.append(clip.distances[k])
    key, image = jitter([torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) for x in (keys, images)], rng, 0.3)
    return {
        "key": normalise(key, CAMVID.mean, CAMVID.std),
        "image": normalise(image, CAMVID.mean, CAMVID.std),
        "label": torch.from_numpy(targets(np.stack(labels), len(CAMVID.classes))),
        "motion": torch.from_numpy(np.stack(motion)),
        "distance": torch.tensor(np.array(distances)),
        "frame_size": (shape.height, shape.width),
    }


def fst_loss(net: ARSegNet, teacher: Teacher, batch: Batch, weights: Tensor, recipe: ArRecipe) -> dict[str, Tensor]:
    """The fused frame against its label, against the teacher's feature of the same frame, and against its classes.

    Unlabelled frames of the batch count in the latter two alone.
    """
    where: dict[str, Any] = {"block": BLOCK, "frame_size": batch["frame_size"]}
    with torch.autocast(batch["image"].device.type, torch.bfloat16):
        with torch.no_grad():
            reference, wanted = teacher(torch.cat([batch["key"], batch["image"]])).chunk(2)
        logits, fused, _ = net.step_outputs(batch["image"], reference, batch["motion"], batch["distance"], **where)
    return imitation_loss(net, fused, logits, wanted, batch["label"], weights, recipe)


class _Trained(nn.Module):
    """The part of the network that phase 2 changes, so that only it is kept in the training state."""

    def __init__(self, net: ARSegNet):
        super().__init__()
        self.low, self.fusion = net.low, net.fusion


def training_clips(
    stills: Sequence[Still],
    folder: Path,
    videos: Sequence[Path],
    recipe: ArRecipe,
    report: Callable[[str], None],
) -> Clips:
    """Clips of stills, streets and unlabelled videos; they are kept in `folder`."""
    clips: dict[str, list[Clip]] = {"still": [], "street": [], "video": []}
    total = len(stills) + recipe.streets
    for made, (source, clip) in enumerate(cached_clips(folder, stills, recipe.streets, seed=recipe.seed), 1):
        clips[source].append(clip)
        if made % 50 == 0 or made == total:
            report(f"pairs: {made} of {total} clips")
    for video in videos:
        found = list(cached_video_clips(folder, [video], seed=recipe.seed))
        if not found:
            raise InputError(f"{video}: expected at least {2 * GOP} frames, a group of every second one; it has fewer")
        clips["video"] += found
    if videos:
        report(f"pairs: {len(clips['video'])} clips of {len(videos)} videos")
    return clips


def training_pairs(clips: Clips, recipe: ArRecipe) -> list[tuple[Pairs, int]]:
    """The pairs of each kind, with their number in a batch."""
    shares = {"street": recipe.street_share, "video": recipe.video_share}
    found = counts(recipe.batch, shares, clips)
    return [(Pairs(clips[kind], recipe.distances), count) for kind, count in found.items() if count]


def _check(recipe: ArRecipe, videos: Sequence[Path]) -> None:
    """Raises `InputError` before hours of work rather than after them."""
    for name, least in (("low_steps", 0), ("calibration", 0), ("low_batch", 1), ("batch", 1)):
        if getattr(recipe, name) < least:
            raise InputError(f"{name}: expected at least {least}, got {getattr(recipe, name)}")
    street, video = recipe.street_share, recipe.video_share
    if min(street, video) < 0 or street + video > 1:
        raise InputError(
            f"street_share, video_share: expected at least 0 and at most 1 together, got {street} and {video}"
        )
    for name in ("low_batch", "batch"):
        if getattr(recipe, name) % distributed.world():
            raise InputError(
                f"{name}: expected a multiple of the {distributed.world()} processes, got {getattr(recipe, name)}"
            )
    for path in videos:
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected a video")


def train_ar(
    root: StrPath,
    teacher: StrPath,
    folder: StrPath,
    recipe: ArRecipe,
    report: Callable[[str], None] = print,
    videos: Sequence[StrPath] = (),
    start: StrPath | None = None,
    branch: StrPath | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
) -> Path:
    """Trains on top of the phase-1 weights `teacher`, and on unlabelled `videos`, too; resumes what `folder` holds.

    Args:
        start: weights of an earlier phase 2 to go on from, at its second stage.
        branch: weights of an earlier phase 2, of any scale, whose low-resolution branch the first stage starts from in
            place of a copy of the teacher.
        device, tensorboard: see `loop.train`.

    Returns the path of the weights, `folder/ar.safetensors`.
    """
    teacher, folder, drives = Path(teacher), Path(folder), [video_file(video) for video in videos]
    start, branch = (None if path is None else Path(path) for path in (start, branch))
    _check(recipe, drives)
    if start is not None and branch is not None:
        raise InputError("start, branch: give one of them; start brings its branch along")
    torch.manual_seed(recipe.seed)
    kind, config, state = read_checkpoint(teacher)
    if kind != "hr":
        raise InputError(f'{teacher}: expected weights of kind "hr" (from `arseg train hr`), got "{kind}"')
    high = build(kind, config)
    load_into(high, state, teacher)
    names = ("scale", "window", "fusion", "keyframe_weight", "keyframe_detail")
    options: dict[str, Any] = {name: getattr(recipe, name) for name in names}
    net = ARSegNet(high, channels=config["channels"], **options)
    if branch is not None:
        load_into(net.low, _parts_of(branch, "low."), branch)
    device = torch.device(device)
    net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.high.eval().requires_grad_(False)
    net.low.eval()  # the batches mix domains: batch normalisation keeps the statistics of the keyframe network
    frozen = cast(Teacher, fold_batch_norm(net.high).features)  # it only looks: fewer passes over its maps

    stills = camvid_stills(root, rows=ROWS)
    weights = class_weights(stills, config["classes"]).to(device)
    with distributed.first_alone():
        clips = training_clips(stills, folder / "pairs", drives, recipe, report)
    sources = training_pairs(clips, recipe)
    made_from = {
        "data": fingerprint(stills),
        "teacher": zlib.crc32(teacher.read_bytes()),
        "videos": sorted(video.stem for video in drives),
        **start_settings(branch, "branch"),
    }
    run: dict[str, Any] = {"report": report, "device": device, "tensorboard": tensorboard}
    if recipe.low_steps and start is None:
        report("first stage: the low-resolution branch alone")
        train_low(net, frozen, stills, clips, weights, folder / "low", recipe, made_from, **run)
    with torch.no_grad():
        example = sample_pairs(sources, recipe, np.random.default_rng(recipe.seed))["key"]
        net.start_fusion_for(frozen(example.to(device)))

    part = _Trained(net)
    if start is not None:
        load_into(part, _parts_of(start, "low.", "fusion."), start)
    averaged = train(
        part,
        [
            {"params": list(net.low.parameters()), "scale": recipe.branch_rate},
            {"params": list(net.fusion.parameters())},
        ],
        lambda _, rng: sample_pairs(sources, recipe, rng),
        lambda batch: fst_loss(net, frozen, batch, weights, recipe),
        Schedule(recipe.steps, recipe.rate, averaging=0.998),
        folder,
        settings={**asdict(replace(recipe, calibration=0)), **made_from, **start_settings(start)},
        seed=recipe.seed,
        **run,
    )
    part.load_state_dict(averaged)
    path = folder / "ar.safetensors"
    if distributed.is_first():
        if recipe.calibration and clips["video"] and isinstance(net.fusion, ADDING):
            _calibrate(net, frozen, Pairs(clips["video"], recipe.distances), recipe, report)
        save_checkpoint(net.state_dict(), path, kind="ar", config={**config, **options})
    return path


def _calibrate(net: ARSegNet, teacher: Teacher, drives: Pairs, recipe: ArRecipe, report: Callable[[str], None]) -> None:
    device = next(net.parameters()).device
    rng = np.random.default_rng(recipe.seed)
    batches = (moved(sample_pairs([(drives, recipe.batch)], recipe, rng), device) for _ in range(recipe.calibration))
    losses = gain_losses(net.eval(), teacher, batches, BLOCK)
    gain = min(GAINS[1:], key=losses.__getitem__)
    report("cross-entropy on drives, by the fusion's gain: " + ", ".join(f"{k:g} {v:.4f}" for k, v in losses.items()))
    scale_fusion(net, gain)


def _parts_of(path: Path, *prefixes: str) -> dict[str, Tensor]:
    """The tensors of an earlier phase 2 that begin with one of `prefixes`; one alone is taken off."""
    kind, _, state = read_checkpoint(path)
    if kind != "ar":
        raise InputError(f'{path}: expected weights of kind "ar" (from `arseg train ar`), got "{kind}"')
    cut = prefixes[0] if len(prefixes) == 1 else ""
    return {key.removeprefix(cut): value for key, value in state.items() if key.startswith(prefixes)}
