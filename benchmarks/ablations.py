"""What each part of AR-Seg is worth: parts left out one at a time, mIoU on CamVid's `val` run by distance.

    python benchmarks/ablations.py CAMVID --weights ar.safetensors                     # parts left out while segmenting
    python benchmarks/ablations.py CAMVID --teacher hr.safetensors [--low-steps 600 --steps 300 --video V ...] -o FOLDER

The first takes weights as they are and changes their motion, or leaves parts of the network out. The second trains each
variant anew on the same clips, all for the same number of steps, and is resumed when it is called again; they share the
recipe's first stage, but for the one without feature similarity. It scores them with the keyframes at three places in
place of twelve, so that its figures compare with each other alone.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from arseg.data.camvid import CamVid
from arseg.evaluate.by_distance import Scores, run_passes
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fusion import make_fusion
from arseg.segment.segmenter import Group, VideoSegmenter
from arseg.train.default.ar import train_ar
from arseg.train.default.recipes import ArRecipe
from arseg.video import BlockField, VideoFrame, VideoReader, encode
from arseg.weights.files import load_checkpoint

GOP = 12
Change = Callable[[BlockField], BlockField]


def whole_pixels(field: BlockField) -> BlockField:
    return replace(field, vectors=(np.rint(field.vectors / 4) * 4).astype(np.int16))


def holes_at_rest(field: BlockField) -> BlockField:
    return replace(field, vectors=np.where(field.valid[..., None], field.vectors, 0).astype(np.int16))


def at_rest(field: BlockField) -> BlockField:
    return replace(field, vectors=np.zeros_like(field.vectors))


CHANGES: Mapping[str, Change | None] = {
    "as it is": None,
    "vectors rounded to whole pixels": whole_pixels,
    "holes not filled": holes_at_rest,
    "no warp": at_rest,
}
"""Of the motion while segmenting, the weights staying as they are."""

NO_KEYFRAME: Mapping[str, float] = {"keyframe_weight": 0.0, "keyframe_detail": 0.0}
"""Nothing of the keyframe's logits, as in the paper's method."""

LEFT_OUT: Mapping[str, Mapping[str, float]] = {
    "the keyframe's details not added": {"keyframe_detail": 0.0},
    "the paper's method, without the keyframe's logits": NO_KEYFRAME,
}
"""Attributes of the network while segmenting, its weights staying as they are."""

TRAINED: Mapping[str, Mapping[str, object]] = {
    "the whole recipe": {},
    "no warp": {"warp": False},
    "no attention": {"fusion": "value"},
    "low resolution alone": {"fusion": "none", **NO_KEYFRAME},
    "no feature similarity": {"similarity": 0.0},
    "without the keyframe's details": {"keyframe_detail": 0.0},
    "without the keyframe's logits": NO_KEYFRAME,
    "d = 11 only": {"distances": (11,)},
}
"""Variants of the recipe that are trained."""

CROP = (288, 384)
"""Smaller than the recipe's, for time."""

OFFSETS = (0, 4, 8)
"""Keyframes that trained variants are scored with."""


def changed(frame: VideoFrame, change: Change | None) -> VideoFrame:
    return frame if change is None or frame.motion is None else replace(frame, motion=change(frame.motion))


def score(
    model: ARSegNet,
    camvid: Path,
    changes: Mapping[str, Change | None],
    mode: str = "ar",
    offsets: Sequence[int] | None = None,
) -> dict[str, Scores]:
    """The run encoded once for each place of its keyframes, as `arseg eval` does; every change on the same video.

    `offsets`: places of the first keyframe; with fewer than all, distances are scored on different frames.
    """
    frames = CamVid().stills(camvid, "val")
    segmenter = VideoSegmenter(model, mode=mode, gop=GOP)  # type: ignore[arg-type]
    scores = {name: Scores([ConfusionMatrix(len(CAMVID.classes)) for _ in range(GOP)]) for name in changes}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.mp4"
        for one in run_passes(frames, gop=GOP, rate=15, crf=23, offsets=offsets):
            encode(one.frames, path, rate=one.rate, gop=GOP, crf=one.crf)
            groups = {name: Group() for name in changes}
            with VideoReader(path, gop=GOP) as reader:
                for frame in reader:
                    for name, change in changes.items():
                        found = segmenter.segment(changed(frame, change), groups[name])
                        if frame.index in one.labels:
                            distance, label = one.labels[frame.index]
                            scores[name].by_distance[distance].add(label, found)
            print(one.name, flush=True)
    return scores


def record(scores: Scores) -> dict[str, object]:
    return {"mean": round(scores.mean(), 2), "by_distance": [round(value, 2) for value in scores.miou()]}


def show(results: Mapping[str, Mapping[str, object]]) -> None:
    print("\n| | mean | d = 1 | d = 6 | d = 11 |\n| --- | --- | --- | --- | --- |")
    for name, found in results.items():
        values = found["by_distance"]
        print(f"| {name} | {found['mean']:.1f} | {values[1]:.1f} | {values[6]:.1f} | {values[11]:.1f} |")  # type: ignore


def share(folder: Path, link: Path) -> None:
    folder.mkdir(exist_ok=True)
    if not link.exists():
        os.symlink(folder.resolve(), link)


def trained(arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    results = {}
    for name, settings in TRAINED.items():
        folder = arguments.output / name.replace(" ", "-").replace("=", "")
        folder.mkdir(parents=True, exist_ok=True)
        share(arguments.output / "pairs", folder / "pairs")
        share(arguments.output / ("low-no-similarity" if "similarity" in settings else "low"), folder / "low")
        steps = {"low_steps": arguments.low_steps, "steps": arguments.steps}
        recipe = replace(ArRecipe(), **steps, crop=CROP, **settings)  # type: ignore[arg-type]
        path = train_ar(arguments.camvid, arguments.teacher, folder, recipe, print, arguments.video)
        change = at_rest if settings.get("warp") is False else None
        found = score(load_checkpoint(path), arguments.camvid, {name: change}, offsets=OFFSETS)
        results[name] = record(found[name])
        show(results)
    return results


def segmenting(model: ARSegNet, camvid: Path) -> dict[str, dict[str, object]]:
    results = {name: record(scores) for name, scores in score(model, camvid, CHANGES).items()}
    variants = {name: _with(model, attributes) for name, attributes in LEFT_OUT.items()}
    alone = _with(model, NO_KEYFRAME)
    alone.fusion = make_fusion("none", model.classifier.in_channels)
    variants["the low-resolution branch alone"] = alone
    for name, variant in variants.items():
        results[name] = record(score(variant, camvid, {name: None})[name])
    name = "warp alone, no second network"
    results[name] = record(score(model, camvid, {name: None}, "warp")[name])
    show(results)
    return results


def _with(model: ARSegNet, attributes: Mapping[str, float]) -> ARSegNet:
    variant = copy.deepcopy(model)
    for name, value in attributes.items():
        setattr(variant, name, value)
    return variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--weights", type=Path, help="of arseg train ar")
    parser.add_argument("--teacher", type=Path, help="of arseg train hr: train the variants")
    parser.add_argument("--low-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--video", type=Path, action="append", default=[])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.teacher:
        found: dict[str, object] = {
            "low_steps": arguments.low_steps,
            "steps": arguments.steps,
            "crop": CROP,
            "offsets": OFFSETS,
        }
        found["trained"] = trained(arguments)
    elif arguments.weights:
        found = {"segmenting": segmenting(load_checkpoint(arguments.weights), arguments.camvid)}
    else:
        parser.error("give --weights or --teacher")
    if arguments.json:
        save_json(arguments.json, found)


if __name__ == "__main__":
    main()
