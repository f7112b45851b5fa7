"""Trains the fusion around any network on unlabelled video, the frozen network itself being the teacher.

The losses are those of feature similarity training (Hu et al., CVPR 2023) where no label is needed: the fused feature
shall be the one that the network finds in the same frame at full resolution, and its prediction that network's.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.acceleration.network import AcceleratedNet
from arseg.data.groups import BLOCK, StoredGroup, checksum, held_out, sample_groups, store_groups
from arseg.device import check_device, in_bfloat16
from arseg.errors import InputError, MemoryLimitError
from arseg.evaluate.agreement import measure
from arseg.evaluate.flops import gmacs
from arseg.files import StrPath, save_json
from arseg.memory import is_out_of_memory
from arseg.preprocess import normalise
from arseg.segment.modes import Mode
from arseg.video.names import shown, video_file
from arseg_ext.nn import CReFF

from .batches import Batch
from .loop import train
from .schedule import Schedule
from .settings import AtLeast1, Field, Positive, check, with_new_names
from .trust import fit_trust, sample_cells, use

Report = Callable[[str], None]

TRUST = ("keyframe_tau", "keyframe_residual", "residual_tau")
"""Constants of `ARSegNet` that are off unless an adaptation chose them."""

Side = Annotated[int, Field(ge=16)]
"""In pixels."""


@dataclass(frozen=True)
class AdaptRecipe:
    """Settings of an adaptation.

    Attributes:
        crop: height and width of training views, in pixels as the network sees them.
        scales: range of the views' random magnification.
        lr: AdamW's learning rate, of the fusion; `low_lr_scale` times that for the low-resolution branch, which is
            trained already.
        similarity, prediction: weights of the two losses.
        temperature: both networks' logits are divided by it before they are compared.
        height: of the frames as the network sees them; None: its `input_height`, or the videos'. It becomes that.
        gop: longest group; distances 1 … gop-1 are trained alike.
        held_out: the fraction at the end of each video that is measured and not trained on; 0: nothing is measured.
        measured: at most so many held-out groups are measured, evenly spread.
        cache_gb: gigabytes of decoded frames to keep on disk.
    """

    steps: AtLeast1 = 1000
    batch: AtLeast1 = 4
    crop: tuple[Side, Side] = (256, 384)
    scales: tuple[float, float] = (0.8, 1.5)
    lr: Positive = 1e-3
    low_lr_scale: float = 0.3
    similarity: float = 1.0
    prediction: float = 1.0
    temperature: Positive = 2.0
    height: Side | None = None
    gop: Annotated[int, Field(ge=2)] = 12
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.2
    measured: AtLeast1 = 24
    cache_gb: Positive = 4.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        check(self)


def adapt(
    net: AcceleratedNet,
    videos: Sequence[StrPath] | StrPath,
    folder: StrPath,
    recipe: AdaptRecipe | None = None,
    *,
    device: str | torch.device = "cpu",
    transcode: bool = True,
    stream: int | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Trains `net.low` and `net.fusion` in place, chooses how far to trust the keyframe; resumes what `folder` has.

    Batch normalisation of the low-resolution branch keeps its statistics and dropout is off, so that batches may be as
    small as one.

    Args:
        videos: files, or one file; their frames are decoded once, into `folder`.
        device: where to train; the network stays there. Where memory runs out a batch is worked on in parts, which is
            reported.
        transcode: find vectors by encoding again where a video has none that can be used.
        stream: which video stream of each file, as for `VideoReader`.

    Returns:
        What `agreement_record` says, for the held-out part of the videos.

    Raises the errors of `arseg.video`, and `InputError` for settings out of range or other ones than those of the run
    in `folder`.
    """
    folder = Path(folder)
    files = [video_file(video) for video in ([videos] if isinstance(videos, (str, os.PathLike)) else videos)]
    recipe = recipe or AdaptRecipe()
    recipe = replace(recipe, height=recipe.height or net.input_height)
    check_device(device)
    device = torch.device(device)
    half = in_bfloat16(recipe.precision, device)
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=half)
    training, measured = _decoded(files, folder, recipe, transcode, stream, report)
    net.input_height = recipe.height
    net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    settings = {
        **{key: value for key, value in asdict(recipe).items() if key not in ("measured", "cache_gb")},
        "scale": net.scale,
        "window": net.window,
        "keyframe_weight": net.keyframe_weight,
        "keyframe_decay": net.keyframe_decay,
        "keyframe_detail": net.keyframe_detail,
        **{name: getattr(net, name) for name in TRUST if getattr(net, name)},  # runs of earlier versions know none
        "videos": [f"{video.name} {checksum(video):08x}" for video in files],
        "teacher": _fingerprint(net.high),
    }
    before = _before(net, measured, folder / "before.json", recipe, settings, autocast, report)
    _start(net, training[0])
    part = nn.ModuleDict({"low": net.low, "fusion": net.fusion})
    part.requires_grad_(True)
    run = partial(
        train,
        part,
        [
            {"params": list(net.low.parameters()), "lr_scale": recipe.low_lr_scale},
            {"params": list(net.fusion.parameters())},
        ],
        lambda _, rng: sample_groups(training, rng, batch=recipe.batch, crop=recipe.crop, scales=recipe.scales),
        lambda batch: adaptation_loss(net, batch, recipe, autocast),
        Schedule(recipe.steps, recipe.lr, warmup=min(50, max(1, recipe.steps // 10))),
        folder,
        settings=settings,
        seed=recipe.seed,
        report=report,
    )
    part.load_state_dict(_in_parts(run, part, recipe, device, report))
    part.requires_grad_(False)
    if net.keyframe_weight or net.keyframe_residual:
        _choose_keyframe(net, _spread(training, recipe.measured), recipe, autocast, report)
    after = _measured(net, measured, ("ar",), recipe, autocast, report)
    height, width = (measured or training)[0].stored
    return agreement_record(net, before, after, height=height, width=width, gop=recipe.gop)


def _in_parts(
    run: Callable[..., dict[str, Tensor]], part: nn.Module, recipe: AdaptRecipe, device: torch.device, report: Report
) -> dict[str, Tensor]:
    """`run` with its batches whole, or in as many parts, one after the other, as there is memory for."""
    begun = {name: value.clone() for name, value in part.state_dict().items()}
    counts = [count for count in range(1, recipe.batch + 1) if recipe.batch % count == 0]
    for count, more in zip(counts, [*counts[1:], None], strict=True):
        try:
            return run(accumulate=count)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if more is None:
                size = "x".join(map(str, recipe.crop))
                raise MemoryLimitError(
                    f"not enough memory on {device} to train with one view of {size}; choose a smaller crop (--crop)"
                ) from error
        # Past the handler, which holds the tensors of the step that failed.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        part.load_state_dict(begun)  # or what the run's folder has
        report(
            f"not enough memory on {device} for {recipe.batch // count} views at once: trying {recipe.batch // more}"
        )
    raise AssertionError("the last count returns or raises")


def adaptation_loss(
    net: AcceleratedNet,
    batch: Batch,
    recipe: AdaptRecipe,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> dict[str, Tensor]:
    """Feature similarity and agreement of predictions, for what `sample_groups` gives.

    - similarity: mean squared difference between the fused feature and the teacher's of the same frame, as a share of
      the variance of the teacher's, so that its weight means the same for every network.
    - prediction: the divergence KL(teacher | fused) per pixel at `recipe.temperature` T, times T².
    """
    device = next(net.parameters()).device
    key, image = (normalise(batch[name].to(device), net.label_set.mean, net.label_set.std) for name in ("key", "image"))
    with autocast():
        with torch.no_grad():
            reference, target = net.keyframe(torch.cat([key, image])).chunk(2)
            kept, expected = net.classifier(reference), net.classifier(target)
        signals = net.keyframe_signals(key, reference, kept)
        motion, distance = batch["motion"].to(device), batch["distance"].to(device)
        where: dict[str, Any] = {"block": BLOCK, "frame_size": batch["frame_size"], "signals": signals}
        logits, fused, _ = net.step_outputs(image, reference, motion, distance, kept, **where)
    variance = target.float().var().clamp_min(1e-12)
    log_teacher, log_student = (F.log_softmax(x.float() / recipe.temperature, 1) for x in (expected, logits))
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1).mean()
    return {
        "similarity": recipe.similarity * F.mse_loss(fused.float(), target.float()) / variance,
        "prediction": recipe.prediction * recipe.temperature**2 * divergence,
    }


def agreement_record(
    net: AcceleratedNet,
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    height: int,
    width: int,
    gop: int,
) -> dict[str, Any]:
    """Agreement with the teacher by way and distance, and multiply-accumulates, as JSON has it.

    `agreement`: "lr", "warp", "ar before", "ar after", each with `pixel_accuracy` and `miou` in percent at each
    distance and their means, and `temporal_consistency` (see `arseg.evaluate.consistency`); `hr` has the network's own.
    `keyframe`: how much its result counts, see `ARSegNet`. `gmacs`: of one frame: "hr", the network at full resolution;
    "keyframe", that with what later frames need; "lr"; "ar", a frame between keyframes; "ar mean", over a group of
    `gop`. A warped frame costs none.
    """
    macs = gmacs(net, height, width)
    macs["ar mean"] = (macs["keyframe"] + (gop - 1) * macs["ar"]) / gop
    ways = {"lr": before, "warp": before, "ar before": before, "ar after": after}
    found = {name: results.get(name.split()[0]) for name, results in ways.items()}
    return {
        "size": [height, width],
        "scale": net.scale,
        "gop": gop,
        "feature": {"channels": net.channels, "stride": net.stride},
        "keyframe": {
            "weight": net.keyframe_weight,
            "decay": net.keyframe_decay,
            "detail": net.keyframe_detail,
            "tau": net.keyframe_tau,
            "residual": net.keyframe_residual,
            "residual_tau": net.residual_tau,
        },
        "gmacs": {name: round(value, 3) for name, value in macs.items()},
        "hr": {key: before["hr"][key] for key in ("temporal_consistency",) if "hr" in before},
        "agreement": {name: record for name, record in found.items() if record is not None},
    }


def _decoded(
    videos: Sequence[Path],
    folder: Path,
    recipe: AdaptRecipe,
    transcode: bool,
    stream: int | None,
    report: Report,
) -> tuple[list[StoredGroup], list[StoredGroup]]:
    """Groups to train on and groups to measure."""
    if not videos:
        raise InputError("videos: expected at least one file")
    training: list[StoredGroup] = []
    kept_out: list[StoredGroup] = []
    for video in videos:
        groups = store_groups(
            video,
            folder / "frames",
            gop=recipe.gop,
            height=recipe.height,
            budget=recipe.cache_gb * 1e9 / len(videos),
            transcode=transcode,
            stream=stream,
            report=report,
        )
        if recipe.held_out > 0 and len(groups) < 2:
            raise InputError(
                f"{shown(video)}: is one group of {groups[0].frames} frames, too short to hold a part out; give a "
                "longer video, or a share of 0 to train on all of it and measure nothing (--held-out 0)"
            )
        first, last = held_out(groups, recipe.held_out)
        training += first
        kept_out += last
        report(f"{shown(Path(video.name))}: {len(first)} groups to train on, {len(last)} held out")
    return training, _spread(kept_out, recipe.measured)


def _spread(groups: list[StoredGroup], count: int) -> list[StoredGroup]:
    """At most `count` of them, evenly spread."""
    if len(groups) <= count:
        return groups
    return [groups[i * len(groups) // count] for i in range(count)]


def _choose_keyframe(
    net: AcceleratedNet,
    groups: Sequence[StoredGroup],
    recipe: AdaptRecipe,
    autocast: Callable[[], AbstractContextManager[Any]],
    report: Report,
) -> None:
    """Leaves the constants with which most labels are the network's own at full resolution.

    Learned with the rest, by the divergence of predictions, they stopped where warping alone had more labels right.
    """
    found = fit_trust(sample_cells(net, groups, gop=recipe.gop, autocast=autocast))
    for name, fit in found.items():
        report(f"{name}: {fit.text()}: {fit.agreement:.1f} % of the labels in training are the network's own")
    use(net, found["chosen"].constants)


@torch.no_grad()
def _start(net: AcceleratedNet, group: StoredGroup) -> None:
    """Attention at the scale of the network's features on these videos; a fusion that was trained stays."""
    assert isinstance(net.fusion, CReFF)
    if net.fusion.hr_value_conv.weight.any():
        return
    pixels = torch.from_numpy(group.image(0)).permute(2, 0, 1)[None].to(next(net.parameters()).device)
    # From nothing: training starts at the network's own result at low resolution. Half of what the attention finds,
    # with which training with labels starts, gained nothing here (docs/accelerate.md).
    feature = net.keyframe(normalise(pixels, net.label_set.mean, net.label_set.std))
    net.start_fusion_for(feature, logit=6, value=0)


def _before(
    net: AcceleratedNet,
    groups: Sequence[StoredGroup],
    path: Path,
    recipe: AdaptRecipe,
    settings: dict[str, Any],
    autocast: Callable[[], AbstractContextManager[Any]],
    report: Report,
) -> dict[str, Any]:
    """Measured once; a resumed run takes what was found."""
    made = json.loads(json.dumps({**settings, "measured": [[str(g.path.name), g.first] for g in groups]}))
    if path.is_file():
        stored = json.loads(path.read_text())
        if with_new_names(stored["settings"], made) == made:
            return stored["agreement"]
    found = _measured(net, groups, ("lr", "warp", "ar"), recipe, autocast, report)
    save_json(path, {"settings": made, "agreement": found})
    return found


def _measured(
    net: AcceleratedNet,
    groups: Sequence[StoredGroup],
    ways: Sequence[Mode],
    recipe: AdaptRecipe,
    autocast: Callable[[], AbstractContextManager[Any]],
    report: Report,
) -> dict[str, Any]:
    if not groups:
        return {}
    report(f"measuring {', '.join(ways)} on {len(groups)} held-out group{'' if len(groups) == 1 else 's'}")
    found = measure(net, groups, ways, gop=recipe.gop, autocast=autocast)
    return {way: agreement.record() for way, agreement in found.items()}


def _fingerprint(module: nn.Module) -> int:
    value = 0
    for tensor in module.state_dict().values():
        value = zlib.crc32(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes(), value)
    return value
