"""Phase 2: the low-resolution branch and CReFF, by feature similarity training (FST) under the frozen keyframe network.

Source: Hu et al., CVPR 2023: segmentation loss + MSE between the fused feature and the one that the
high-resolution network finds in the same frame; the 1x1 classifier is shared and frozen.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.folding import fold_batch_norm
from arseg.networks.pyramid import PyramidNet
from arseg.networks.trust import LearnedResidual
from arseg.train import distributed
from arseg.train.batches import Batch, moved
from arseg.train.calibration import ADDING, GAINS, gain_losses, scale_fusion
from arseg.train.finish import Finish
from arseg.train.loop import train
from arseg.train.schedule import Schedule
from arseg.train.settings import check
from arseg.train.trust import use
from arseg.train.workers import default_workers
from arseg.video.names import video_file
from arseg.weights.build import build
from arseg.weights.files import building, load_into, read_checkpoint, save_checkpoint
from arseg.weights.made import how_made

from .hr import EMA_DECAY
from .labelled import Labelled
from .low import Teacher, imitation_loss, train_low
from .network import start_settings
from .pairs import BLOCK, ClipFrame, Sources, frames_at, sample_pairs, training_pairs
from .recipes import ArRecipe, settings_of

if TYPE_CHECKING:
    from arseg.data.opened import OpenData


LEARNED_LR_SCALE = 5.0
"""Multiplies the learning rate for what is learned of the residual: two numbers, of whose logarithm steps are small."""


def fst_loss(
    net: ARSegNet,
    teacher: Teacher,
    batch: Batch,
    weights: Tensor,
    recipe: ArRecipe,
    learned: LearnedResidual | None = None,
) -> dict[str, Tensor]:
    """The fused frame against its label, against the teacher's feature of the same frame, and against its classes.

    Unlabelled frames of the batch count in the latter two alone. `learned`: what the network adds of its branch's
    residual, where that is learned; the branch then sees both frames.
    """
    if learned is not None:
        use(net, learned.tensors())
    where: dict[str, Any] = {"block": BLOCK, "frame_size": batch["frame_size"]}
    with torch.autocast(batch["image"].device.type, torch.bfloat16, recipe.precision == "bfloat16"):
        with torch.no_grad():
            reference, target = teacher(torch.cat([batch["key"], batch["image"]])).chunk(2)
            kept = net.classifier(reference)
        seen = batch["image"], reference, batch["motion"], batch["distance"], kept
        signals = net.keyframe_signals(batch["key"], reference, kept)
        logits, fused, _ = net.step_outputs(*seen, **where, signals=signals)
    return imitation_loss(net, fused, logits, target, batch["label"], weights, recipe)


def train_ar(
    data: OpenData | StrPath | None,
    teacher: StrPath,
    folder: StrPath,
    recipe: ArRecipe,
    report: Callable[[str], None] = print,
    videos: Sequence[StrPath] = (),
    start: StrPath | None = None,
    branch: StrPath | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
    prepared: StrPath | None = None,
    model: str | None = None,
    licence: str | None = None,
    workers: int | None = None,
) -> Path:
    """Trains on top of the phase-1 weights `teacher`, and on unlabelled `videos`, too; resumes what `folder` holds.

    Args:
        data: what `open_data` gives; or CamVid's folder, in any of its layouts. Pairs are made of its stills, and of
            the frames before its labelled ones, where there are some. None: `prepared` has all that is labelled.
        start: weights of an earlier phase 2 to go on from, at its second stage.
        branch: weights of an earlier phase 2, of any scale, whose low-resolution branch the first stage starts from in
            place of a copy of the teacher.
        device, tensorboard: see `loop.train`.
        prepared: a folder of `arseg prepare`: labelled frames with the vectors of their videos.
        model: how to build the teacher's network, where its file names code of yours.
        workers: processes that make the batches; None: by the cores, see `default_workers`.
        licence: what the weights file says of the terms of its use; None: the teacher's, or the data's, where known.

    Returns the path of the weights, `folder/ar.safetensors`. Raises `InputError` for settings out of range, for files
    that are not what they should be, for data with other classes than the teacher's, and for a folder whose run has
    other settings.
    """
    teacher, folder, drives = Path(teacher), Path(folder), [video_file(video) for video in videos]
    start, branch = (None if path is None else Path(path) for path in (start, branch))
    _check(recipe, drives)
    if start is not None and branch is not None:
        raise InputError("start, branch: give one of them; start brings its branch along")
    if data is None and prepared is None:
        raise InputError("data, prepared: give one of them, or both; without labels, `arseg adapt` trains on videos")
    torch.manual_seed(recipe.seed)
    net, config, labels = _network(teacher, branch, recipe, torch.device(device), model)
    frozen = frozen_features(net)
    labelled = Labelled.of(data, prepared, labels, recipe)
    recipe = labelled.recipe(recipe)
    net.label_set = labels = labelled.labels

    with distributed.main_process_first():
        clips = labelled.clips(folder / "pairs", drives, recipe, report)
    sources = training_pairs(clips, recipe)
    weights = labelled.weights.to(device)
    made_from = {
        "data": labelled.settings,
        "teacher": zlib.crc32(teacher.read_bytes()),
        "videos": sorted(video.stem for video in drives),
        **({} if labelled.prepared is None else {"prepared": labelled.prepared_settings}),
        **start_settings(branch, "branch"),
    }
    unused = not isinstance(net.high, PyramidNet)
    run: dict[str, Any] = {
        "report": report,
        "device": device,
        "tensorboard": tensorboard,
        "workers": default_workers(torch.device(device)) if workers is None else workers,
        "find_unused_parameters": unused,
    }
    if recipe.low_steps and start is None:
        report("first stage: the low-resolution branch alone")
        stage = folder / "low"
        train_low(
            net, frozen, labelled.stills, labelled.donors, labels, clips, weights, stage, recipe, made_from, **run
        )
    _train_fused(net, frozen, sources, weights, folder, recipe, made_from, start, **run)
    path = folder / "ar.safetensors"
    if distributed.is_main_process():
        if recipe.calibration and clips["video"] and isinstance(net.fusion, ADDING):
            _calibrate(net, frozen, frames_at(clips["video"], recipe.distances), recipe, report)
        licence = licence or config.get("made", {}).get("licence")
        made = how_made(
            recipe, data=labelled.data, licence=licence, videos=drives, teacher=teacher, start=start, branch=branch
        )
        if labelled.prepared is not None:
            made["prepared"] = labelled.prepared_settings
        if recipe.keyframe_residual:
            config |= {"keyframe_residual": net.keyframe_residual, "residual_tau": net.residual_tau}
        config = {**config, "labels": labels.to_json(), "made": made}
        save_checkpoint(net.state_dict(), path, kind="ar", config=config)
    return path


def frozen_features(net: ARSegNet) -> Teacher:
    """The keyframe network's features; folded where they can be, for it only looks: fewer passes over its maps."""
    try:
        return cast(Teacher, fold_batch_norm(net.high).features)
    except InputError:  # a normalisation without a convolution before it
        return cast(Teacher, net.high.features)


def _check(recipe: ArRecipe, videos: Sequence[Path]) -> None:
    """Raises `InputError` before hours of work rather than after them."""
    check(recipe)
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


def _network(
    teacher: Path, branch: Path | None, recipe: ArRecipe, device: torch.device, model: str | None = None
) -> tuple[ARSegNet, dict[str, Any], LabelSet | None]:
    """The network around the frozen `teacher`, the configuration of its weights file, and the teacher's label set."""
    kind, config, state = read_checkpoint(teacher)
    if kind != "hr":
        raise InputError(f'{teacher}: expected weights of kind "hr" (from `arseg train hr`), got "{kind}"')
    if config.get("auxiliary"):  # heads of the paper's networks, for which this training has no loss
        config["auxiliary"] = False
        state = {key: value for key, value in state.items() if not key.startswith("auxiliary.")}
    with building(teacher):
        high: Any = build(kind, config) if model is None else build(kind, config, model)
    load_into(high, state, teacher)
    names = ("scale", "window", "fusion", "keyframe_weight", "keyframe_detail")
    options: dict[str, Any] = {name: getattr(recipe, name) for name in names}
    if recipe.keyframe_residual:
        options |= {"keyframe_residual": recipe.keyframe_residual, "residual_tau": recipe.residual_tau}
    net = ARSegNet(high, channels=high.channels, **options)
    if branch is not None:
        load_into(net.low, _parts_of(branch, "low."), branch)
    net = net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.high.eval().requires_grad_(False)
    net.low.eval()  # the batches mix domains: batch normalisation keeps the statistics of the keyframe network
    return net, {**config, **options}, high.label_set


class _Trained(nn.Module):
    """The part of the network that phase 2 changes, so that only it is kept in the training state."""

    def __init__(self, net: ARSegNet):
        super().__init__()
        self.low, self.fusion = net.low, net.fusion


def _train_fused(
    net: ARSegNet,
    teacher: Teacher,
    sources: Sources,
    weights: Tensor,
    folder: Path,
    recipe: ArRecipe,
    made_from: dict[str, Any],
    start: Path | None,
    **options: Any,
) -> None:
    """The second stage: branch and fusion on pairs; leaves the network with the average of their weights."""
    learned = LearnedResidual(recipe.keyframe_residual, recipe.residual_tau) if recipe.keyframe_residual else None
    finish = Finish.of(net.known_labels())
    with torch.no_grad():
        rng = np.random.default_rng(recipe.seed)
        example = finish(sample_pairs(sources, recipe, rng))["key"]
        # A residual has the keyframe in it: the fusion learns what it leaves over.
        value = {} if learned is None else {"value": 0.0}
        net.start_fusion_for(teacher(example.to(options["device"])), **value)
    part = _Trained(net)
    if start is not None:
        load_into(part, _parts_of(start, "low.", "fusion."), start)
    groups: list[dict[str, Any]] = [
        {"params": list(net.low.parameters()), "lr_scale": recipe.branch_lr_scale},
        {"params": list(net.fusion.parameters())},
    ]
    if learned is not None:
        part.learned = learned.to(options["device"])
        groups.append({"params": list(learned.parameters()), "lr_scale": LEARNED_LR_SCALE})
    averaged = train(
        part,
        [group for group in groups if group["params"]],
        lambda _, rng: sample_pairs(sources, recipe, rng),
        lambda batch: fst_loss(net, teacher, batch, weights, recipe, learned),
        Schedule(recipe.steps, recipe.lr, ema_decay=EMA_DECAY),
        folder,
        settings={**settings_of(replace(recipe, calibration=0)), **made_from, **start_settings(start)},
        seed=recipe.seed,
        finish=finish,
        **options,
    )
    part.load_state_dict(averaged)
    if learned is not None:
        use(net, learned.constants())
        report = options["report"]
        report("residual: {keyframe_residual:.3f} * exp(-e / {residual_tau:.1f})".format_map(learned.constants()))


def _calibrate(
    net: ARSegNet,
    teacher: Teacher,
    frames: Sequence[ClipFrame],
    recipe: ArRecipe,
    report: Callable[[str], None],
) -> None:
    """Scales what the fusion adds by the gain that suits the unlabelled `frames` best."""
    device = next(net.parameters()).device
    rng = np.random.default_rng(recipe.seed)
    one = [(frames, recipe.batch)]
    finish = Finish.of(net.known_labels())
    batches = (finish(moved(sample_pairs(one, recipe, rng), device)) for _ in range(recipe.calibration))
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
