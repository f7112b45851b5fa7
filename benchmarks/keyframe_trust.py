"""What trust in the warped keyframe and the branch's residual are worth, on drives that nothing was calibrated on.

    python benchmarks/keyframe_trust.py --weights WEIGHTS --calibrate DRIVE... --held-out DRIVE... \
        [--camvid CAMVID] [--json OUT]
    python benchmarks/keyframe_trust.py --constants 2,1,12 --held-out DRIVE... # these, beside the network as it is

Agreement with the network on every frame (percent of the pixels, no label of a person) by distance to the keyframe, on
groups spread over each held-out drive. Beside it the uncomfortable baseline: no branch at all, the keyframe's result
moved, with a keyframe every L frames. Compute counts multiply-accumulates of convolutions and attention, as a share of
the network's on every frame; "all frames" counts keyframes, which agree wholly. With `--camvid` its `val` besides, by
people's labels: mIoU of the run as one video, whose frame t is t mod 12 frames after its keyframe.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arseg.data.groups import BLOCK, StoredGroup, store_groups
from arseg.data.registry import DATA_SETS
from arseg.errors import InputError
from arseg.evaluate.consistency import Consistency
from arseg.evaluate.flops import gmacs, gop_average
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import make_fusion
from arseg.networks.keyframe import warped_logits
from arseg.preprocess import input_size, normalise
from arseg.segment.segmenter import VideoSegmenter
from arseg.segment.ways import see
from arseg.train.trust import PLAIN, RESIDUAL, Constants, Fit, fit_trust, having, sample_cells, search
from arseg.video import VideoReader, encode

GOP = 12
BASELINES = (3, 4, 6, 12)


def spread_groups(video: Path, net: ARSegNet, count: int, folder: Path) -> list[StoredGroup]:
    """About `count` groups over all of the video, at the height that the network sees."""
    with VideoReader(video) as reader:
        height, width = input_size((reader.height, reader.width), net.input_height)
    budget = (count + 1.5) * GOP * (height * width * 3 + 4 * reader.height * reader.width / BLOCK**2)
    groups = store_groups(video, folder, gop=GOP, height=net.input_height, budget=budget)
    return [group for group in groups if group.frames > GOP // 2][-count:]  # a clip's start is the least like the rest


def image_of(net: ARSegNet, group: StoredGroup, distance: int) -> Tensor:
    pixels = torch.from_numpy(group.image(distance)).permute(2, 0, 1)[None]
    labels = net.known_labels()
    return normalise(pixels, labels.mean, labels.std)


def remembered(compute: Callable[[Tensor], Tensor], most: int = 24) -> Callable[[Tensor], Tensor]:
    """`compute`, which is not done again for the last images that it was done for: variants see the same ones."""
    known: OrderedDict[int, Tensor] = OrderedDict()

    def found(image: Tensor) -> Tensor:
        key = hash(image.numpy().tobytes())
        if key not in known:
            known[key] = compute(image)
            if len(known) > most:
                known.popitem(last=False)
        return known[key]

    return found


@torch.inference_mode()
def agreements(
    variants: Mapping[str, tuple[ARSegNet, Constants]],
    net: ARSegNet,
    groups: Sequence[StoredGroup],
    video: Path,
    labelled: Sequence[np.ndarray] = (),
) -> dict[str, dict[str, Any]]:
    """Of each variant, of the warp and of the baselines: agreement by distance and over all frames, percent.

    `labelled`: the true labels of the video's frames, where there are some: then mIoU, too, of frames after keyframes.
    """
    names, classes = ("HR", "warp", *variants), len(net.known_labels().classes)
    matrices = {name: [ConfusionMatrix(classes) for _ in range(GOP)] for name in names}
    found: dict[str, list[list[float]]] = {name: [[] for _ in range(GOP)] for name in ("warp", *variants)}
    following = {name: Consistency(GOP) for name in ("HR", *found)}
    seen: dict[int, tuple[Tensor, np.ndarray]] = {}  # what the network gives on every frame, by index
    for group in groups:
        reference = key_logits = None
        signals: dict[str, Any] = {}
        for distance in range(group.frames):
            image = image_of(net, group, distance)
            feature = net.keyframe(image)
            logits = net.classifier(feature)
            truth = net.labels(logits, group.stored)[0].numpy()
            seen[group.first + distance] = logits, truth
            field = None if distance == 0 else group.field(distance)
            here = group.first + distance, distance
            following["HR"].add(*here, truth, field, group.coded)
            if labelled and distance:
                true = labelled[here[0]]  # the network may see the frame enlarged
                matrices["HR"][distance].add(true, net.labels(logits, true.shape)[0].numpy())
            if reference is None or key_logits is None:
                reference, key_logits = feature, logits
                for name, (one, constants) in variants.items():
                    with having(one, constants):
                        signals[name] = one.keyframe_signals(image, feature, logits)
            if field is None:
                for name in found:
                    following[name].add(*here, truth, None)
                continue
            motion = torch.from_numpy(field.vectors)[None]
            where: dict[str, Any] = {"block": BLOCK, "frame_size": group.coded}
            frame = image, reference, key_logits, motion, distance
            maps = {"warp": see(net, "warp", *frame, **where)}
            for name, (one, constants) in variants.items():
                with having(one, constants):
                    maps[name] = see(one, "ar", *frame, **where, signals=signals[name])
            for name, one_map in maps.items():
                labels = net.labels(one_map, group.stored)[0].numpy()
                found[name][distance].append(100 * float((labels == truth).mean()))
                following[name].add(*here, labels, field, group.coded)
                if labelled:
                    true = labelled[here[0]]
                    matrices[name][distance].add(true, net.labels(one_map, true.shape)[0].numpy())
    record: dict[str, dict[str, Any]] = {"HR": {"all_frames": 100.0}}
    for name, values in found.items():
        by_distance = [round(float(np.mean(one)), 2) if one else None for one in values]
        mean = float(np.mean([x for x in by_distance if x is not None]))
        record[name] = {
            "mean": round(mean, 2),
            "by_distance": by_distance,
            "all_frames": round((100 + (GOP - 1) * mean) / GOP, 2),
        }
    for name, consistency in following.items():
        record[name]["temporal_consistency"] = consistency.record()
    for name, by_distance in matrices.items() if labelled else ():
        values = [matrix.miou() for matrix in by_distance[1:]]
        record[name]["miou"] = {"mean": round(float(np.mean(values)), 2), "by_distance": [round(x, 2) for x in values]}
    for length in BASELINES:
        share, keyframes = warped_every(net, video, length, seen)
        record[f"warp, a keyframe every {length}"] = {"all_frames": round(share, 2), "keyframes": round(keyframes, 3)}
    return record


def warped_every(
    net: ARSegNet, video: Path, length: int, seen: Mapping[int, tuple[Tensor, np.ndarray]]
) -> tuple[float, float]:
    """Agreement over the frames in `seen` where every `length`-th is a keyframe, percent; and the share of keyframes.

    With B frames a group is at most that long: they are more, then.
    """
    shares, keyframes = [], 0
    with VideoReader(video, gop=length, block=BLOCK) as reader:
        for frame in reader:
            if frame.index > max(seen):
                break
            if frame.index not in seen or frame.index - frame.distance not in seen:
                continue
            truth = seen[frame.index][1]
            if frame.motion is None:
                shares.append(100.0)
                keyframes += 1
                continue
            motion = torch.from_numpy(frame.motion.vectors.copy())[None]
            key = seen[frame.index - frame.distance][0]
            labels = net.labels(warped_logits(key, motion, BLOCK, frame.image.shape[:2]), truth.shape)[0].numpy()
            shares.append(100 * float((labels == truth).mean()))
    return float(np.mean(shares)), keyframes / len(shares)


def compute(net: ARSegNet, constants: Constants, size: tuple[int, int]) -> float:
    """GMACs of a group's mean frame, as a share of the network's on every frame."""
    with having(net, constants):
        found = gmacs(net, *size)
    return round(gop_average(found["keyframe"], found["ar"], GOP) / found["hr"], 3)


def val_as_video(camvid: Path, folder: Path) -> tuple[Path, list[np.ndarray]]:
    """CamVid's `val` as one H.264 file, and the labels of its frames; Void counts."""
    frames = DATA_SETS["camvid"].frames(camvid, "val", void="count")
    pairs = [frames[index] for index in range(len(frames))]
    folder.mkdir(parents=True, exist_ok=True)
    encode([image for image, _ in pairs], folder / "val.mp4", rate=15, gop=GOP, crf=23)
    return folder / "val.mp4", [label for _, label in pairs]


def given(text: str) -> Constants:
    """Of a command line: a,p,tau or a,p,tau,g,tau'."""
    names = list(PLAIN)
    values = [float(value) for value in text.split(",")]
    if len(values) not in (3, 5):
        raise InputError(f"--constants {text}: expected three or five numbers: {','.join(names)}; got {len(values)}")
    return {**PLAIN, **dict(zip(names, values, strict=False))}


def calibrated(
    asked: argparse.Namespace, net: ARSegNet, alone: ARSegNet, drives: Sequence[StoredGroup]
) -> tuple[dict[str, dict[str, Fit]], dict[str, tuple[ARSegNet, Constants]]]:
    """What the drives say, or an earlier run; and the variants that it makes, with and without the fusion."""
    distances = distances_of(asked)
    fits: dict[str, dict[str, Fit]] = {}
    before = {} if asked.fits is None else json.loads(asked.fits.read_text())["fits"]
    for name, one in (("AR", net), ("branch", alone)):
        if before:
            for key, row in before[name].items():
                constants = {constant: row[constant] for constant in PLAIN}
                fits.setdefault(name, {})[key] = Fit(constants, row["agreement"])
        else:
            sample = sample_cells(one, drives, gop=GOP, autocast=nullcontext, distances=distances)
            fits[name] = fit_trust(sample, residual=True)
            fits[name]["residual alone"] = search(sample, RESIDUAL, {**PLAIN, "keyframe_weight": 0.0})
        print(f"{name}: " + "; ".join(f"{key} {fit.text()}: {fit.agreement:.2f} %" for key, fit in fits[name].items()))
    variants: dict[str, tuple[ARSegNet, Constants]] = {
        "AR as it is": (net, {}),
        "AR, weight calibrated": (net, fits["AR"]["weight"].constants),
        "AR, trust": (net, fits["AR"]["trust"].constants),
        "AR, residual and trust": (net, fits["AR"]["residual"].constants),
        "branch, residual and trust, no fusion": (alone, fits["branch"]["residual"].constants),
        "branch alone, no fusion": (alone, {**PLAIN, "keyframe_weight": 0.0}),
    }
    if net.keyframe_residual:
        variants["branch, the file's residual, no fusion"] = alone, {}
    for name, one in (("AR", net), ("branch", alone)):
        if "residual alone" in fits[name]:
            variants[f"{name}, residual alone"] = one, fits[name]["residual alone"].constants
    untrained = {**PLAIN, "keyframe_weight": 0.0, "keyframe_residual": 0.74, "residual_tau": 33.6}
    variants["branch, residual 0.74 * exp(-e / 33.6), no fusion"] = alone, untrained
    return fits, variants


def distances_of(asked: argparse.Namespace) -> list[int]:
    return [int(distance) for distance in asked.distances.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=None, help="of kind ar or of `arseg adapt`; the package's")
    parser.add_argument("--calibrate", nargs="+", type=Path, default=[])
    parser.add_argument("--held-out", nargs="+", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=4, help="of each held-out drive")
    parser.add_argument("--calibration-groups", type=int, default=2, help="of each other drive")
    parser.add_argument("--distances", default="1,3,6,11", help="calibrated on")
    parser.add_argument("--fits", type=Path, help="take the constants that an earlier run's JSON has")
    parser.add_argument(
        "--constants",
        action="append",
        help="in place of all that is calibrated: a,p,tau or a,p,tau,g,tau' for AR (repeat it for more)",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/keyframe-trust"))
    parser.add_argument("--camvid", type=Path, help="score its val by people's labels, too")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    began = time.perf_counter()
    net = VideoSegmenter(asked.weights).model
    branches = {"keyframe": remembered(net.keyframe), "low_res": remembered(net.low_res)}
    alone = copy.deepcopy(net)  # the branch without its fusion
    alone.fusion, alone.keyframe_detail = make_fusion("none", 1), 0.0
    counted = {one: copy.deepcopy(one).to("meta") for one in (net, alone)}  # where nothing is remembered or computed
    for one in (net, alone):
        vars(one).update(branches)
    drives = [
        group
        for video in asked.calibrate
        for group in spread_groups(video, net, asked.calibration_groups, asked.folder)
    ]
    fits: dict[str, dict[str, Fit]] = {}
    if asked.constants is None:
        fits, variants = calibrated(asked, net, alone, drives)
    else:
        variants = {"AR as it is": (net, {}), **{f"AR, {text}": (net, given(text)) for text in asked.constants}}
    with VideoReader(asked.held_out[0]) as reader:
        size = input_size((reader.height, reader.width), net.input_height)
    record: dict[str, Any] = {
        "weights": str(asked.weights or "the package's"),
        "calibrated_on": {
            "videos": [video.name for video in asked.calibrate],
            "groups": len(drives),
            "distances": distances_of(asked),
        },
        "fits": {
            name: {key: {**fit.constants, "agreement": round(fit.agreement, 2)} for key, fit in found.items()}
            for name, found in fits.items()
        },
        "compute": {name: compute(counted[one], given, size) for name, (one, given) in variants.items()},
        "held_out": {},
    }
    record["compute"] |= {"HR": 1.0, "warp": round(1 / GOP, 3)}
    scored: list[tuple[Path, Sequence[np.ndarray]]] = [(video, ()) for video in asked.held_out]
    if asked.camvid is not None:
        scored.insert(0, val_as_video(asked.camvid, asked.folder))
    for video, labelled in scored:
        if labelled:
            groups = store_groups(video, asked.folder, gop=GOP, height=net.input_height)
        else:
            groups = spread_groups(video, net, asked.groups, asked.folder)
        found = agreements(variants, net, groups, video, labelled)
        record["held_out"][video.name] = {"groups": [group.first for group in groups], "rows": found}
        print(f"{video.name}: {len(groups)} groups of {GOP}, from frames {[group.first for group in groups]}")
        for name, row in found.items():
            share, text = row.get("keyframes", record["compute"].get(name)), ""
            if "temporal_consistency" in row:
                text = f"  consistent {row['temporal_consistency']['mean']:.2f}"
            if "by_distance" in row:
                far = "/".join(f"{row['by_distance'][d] or np.nan:.1f}" for d in (1, 3, 6, 11))
                text += f"  mean {row['mean']:.2f}  d = 1/3/6/11 {far}"
            if "miou" in row:
                far = "/".join(f"{row['miou']['by_distance'][d - 1]:.1f}" for d in (1, 3, 6, 9, 11))
                text += f"  mIoU {row['miou']['mean']:.2f}  d = 1/3/6/9/11 {far}"
            print(f"  {name:40} compute {share:.2f}  all frames {row['all_frames']:.2f}{text}")
    record["seconds"] = round(time.perf_counter() - began)
    if asked.json is not None:
        save_json(asked.json, record)
        print(json.dumps({"json": str(asked.json), "seconds": record["seconds"]}))


if __name__ == "__main__":
    main()
