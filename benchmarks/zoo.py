"""Trains the zoo's lite2 and slim as they were trained, and all three networks with a drive of CamVid held out.

    python benchmarks/zoo.py train lite2 CAMVID -o runs/lite2 --video drive1.mp4 --video drive2.mp4
    python benchmarks/zoo.py held-out lite2 CAMVID -o runs/held-lite2
    arseg eval --data camvid:runs/held-lite2/camvid-0006R0 --stills --weights runs/held-lite2/hr.safetensors

`train` begins with what fits of the shipped lite0: for slim the channels that count most; for lite2 those of the head,
under an encoder with ImageNet's weights. Both then imitate lite0 besides the labels. `held-out` begins with ImageNet's
weights in any case. Then they run `arseg train`, whose lines they print; called again, they go on where they were.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg.networks.pyramid import PyramidNet
from arseg.weights.files import DEFAULT_WEIGHTS, read_checkpoint, save_checkpoint

# --- narrower heads ---

Axes = tuple[str | None, str | None]

LAYERS: Mapping[str, Axes] = {
    "lateral.3": ("16", None),
    "lateral.2": ("16", None),
    "context.branches.0.1": ("16", "16"),
    "context.branches.1.1": ("16", "16"),
    "smooth16": ("8", "16"),
    "lateral.1": ("8", None),
    "smooth8": ("joined", "8"),
    "narrow": ("4", "joined"),
    "lateral.0": ("4", None),
    "smooth4.0": ("smooth", "4"),
    "smooth4.1": ("feature", "smooth"),
}
"""Of each layer of `PyramidHead`: the channels that it gives and takes; what is added up has the same name."""

WIDE = ("16", "8", "joined")
"""Those that are `wide`; the others are `channels`."""


def chosen_channels(state: Mapping[str, Tensor], channels: int, wide: int) -> dict[str, Tensor]:
    """Of each kind of channels of a `PyramidNet`'s head, those that count most: their scale times what they go into."""
    found = {}
    for kind in {given for given, _ in LAYERS.values()}:
        givers = [f"head.{name}.1.weight" for name, (given, _) in LAYERS.items() if given == kind]
        scale = torch.stack([state[key].abs() for key in givers if key in state]).sum(0)
        takers = [_weight(state, f"head.{name}") for name, (_, taken) in LAYERS.items() if taken == kind]
        takers += [state["classifier.weight"]] if kind == "feature" else []
        counts = scale * torch.stack([weight.square().sum((0, 2, 3)) for weight in takers]).sum(0).sqrt()
        assert kind is not None
        found[kind] = counts.topk(wide if kind in WIDE else channels).indices.sort().values
    return found


def narrowed(state: Mapping[str, Tensor], chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's state with the chosen channels of its head alone."""
    return {key: _narrowed(key, tensor, chosen) for key, tensor in state.items()}


def _narrowed(key: str, tensor: Tensor, chosen: Mapping[str, Tensor]) -> Tensor:
    if key.endswith("classifier.weight"):
        return tensor[:, chosen["feature"]]
    _, found, name = key.partition("head.")
    layer = next((layer for layer in LAYERS if name.startswith(f"{layer}.")), None) if found else None
    if layer is None:
        return tensor
    given, taken = LAYERS[layer]
    tensor = tensor if given is None else tensor[chosen[given]]
    return tensor[:, chosen[taken]] if taken is not None and tensor.ndim == 4 else tensor


def _weight(state: Mapping[str, Tensor], layer: str) -> Tensor:
    return state[f"{layer}.0.weight"] if f"{layer}.0.weight" in state else state[f"{layer}.weight"]


def _branch(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


# --- starts ---


def write_starts(folder: Path) -> None:
    """lite2-hr and slim-hr.safetensors in `folder`, from the shipped lite0."""
    folder.mkdir(parents=True, exist_ok=True)
    _, config, state = read_checkpoint(DEFAULT_WEIGHTS)
    high = _branch(state, "high")

    slim = dict(NETWORKS["slim"])
    chosen = chosen_channels(high, **slim)
    _save(folder / "slim-hr.safetensors", "hr", narrowed(high, chosen), {"classes": config["classes"], **slim})

    lite2: dict[str, Any] = {"channels": 64, **NETWORKS["lite2"]}
    torch.manual_seed(0)
    net = PyramidNet(config["classes"], **lite2)
    net.encoder.load_imagenet_weights()
    head = narrowed(high, chosen_channels(high, lite2["channels"], lite2["wide"]))
    # The laterals' convolutions alone are new in it: they look at another encoder's maps.
    new = {key for key in head if key.startswith("encoder.") or (".lateral." in key and key.endswith(".0.weight"))}
    net.load_state_dict({**net.state_dict(), **{key: value for key, value in head.items() if key not in new}})
    _save(folder / "lite2-hr.safetensors", "hr", net.state_dict(), {"classes": config["classes"], **lite2})


def _save(path: Path, kind: str, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    save_checkpoint(state, path, kind=kind, config=config)
    print(path)


# --- trainings ---

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "lite0": {},
    "lite2": {"encoder": "efficientnet-lite2", "wide": 128},
    "slim": {"channels": 32, "wide": 64},
}
"""Settings of the recipe that make the network; `channels` 64, `wide` 256 and Lite0 where they are not named."""

SHORT: Mapping[str, Any] = {"batch": 4, "street_share": 0, "street_scenes": 0}

HR: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "lite2": (
        {"scales": (1.1, 2.0), "height": 576, "steps": 350, "lr": 1e-3},
        {"scales": (1.1, 2.0), "height": 576, "steps": 900, "lr": 1e-3, "seed": 1, "teacher": "lite0"},
    ),
    "slim": (
        {"scales": (0.9, 1.8), "height": 480, "steps": 300, "lr": 1e-3},
        {"scales": (0.9, 1.8), "height": 480, "steps": 1000, "lr": 8e-4, "batch": 6, "seed": 1, "teacher": "lite0"},
    ),
}
"""Trainings of phase 1 one after the other; `teacher` is the option --teacher."""
HR_BOTH: Mapping[str, Any] = {**SHORT, "qualities": (25.0,), "crop": (256, 320)}

AR: Mapping[str, Mapping[str, Any]] = {"lite2": {"scales": (1.28, 2.0)}, "slim": {"scales": (1.07, 1.8)}}
AR_BOTH: Mapping[str, Any] = {
    "low_steps": 300,
    "low_batch": 4,
    "steps": 150,
    "batch": 4,
    "streets": 0,
    "street_share": 0,
    "video_share": 0.25,
    "crop": (256, 320),
    "calibration": 6,
}

DRIVE = "0006R0"
HELD_OUT: Mapping[str, Any] = {
    **SHORT,
    "qualities": (),
    "crop": (192, 256),
    "scales": (0.8, 1.6),
    "height": 432,
    "lr": 1.5e-3,
    "steps": 150,
}
"""Of all three networks."""


def train(name: str, camvid: Path, folder: Path, videos: Sequence[str]) -> None:
    """Both phases of one network of the zoo: `folder/ar/ar.safetensors`."""
    write_starts(folder / "starts")
    high = folder / "starts" / f"{name}-hr.safetensors"
    for number, stage in enumerate(HR[name], 1):
        settings = {**NETWORKS[name], **HR_BOTH, **stage}
        teacher = [word for word in ("--teacher", settings.pop("teacher", None)) if "teacher" in stage]
        output = folder / ("hr" if number == len(HR[name]) else f"hr{number}")
        arseg_train("hr", settings, "--camvid", camvid, "--start", high, *teacher, "-o", output)
        high = output / "hr.safetensors"
    arseg_train("ar", {**AR_BOTH, **AR[name]}, "--camvid", camvid, "--teacher", high, "-o", folder / "ar", *videos)


def train_held_out(name: str, camvid: Path, folder: Path) -> None:
    """The keyframe network, by a short recipe, without one drive: `folder/hr.safetensors`."""
    without = folder / f"camvid-{DRIVE}"
    hold_out(camvid, DRIVE, without)
    arseg_train("hr", {**NETWORKS[name], **HELD_OUT}, "--camvid", without, "-o", folder)


def arseg_train(phase: str, settings: Mapping[str, Any], *arguments: object) -> None:
    """Prints and runs one command."""
    changed = [word for key, value in settings.items() for word in ("--set", f"{key}={_toml(value)}")]
    words = ["train", phase, *map(str, arguments), *changed]
    print("arseg", shlex.join(words), flush=True)
    subprocess.run([sys.executable, "-m", "arseg.cli", *words], check=True)


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


# --- a drive held out ---


def hold_out(camvid: Path, drive: str, folder: Path) -> None:
    """Links CamVid's `train` without one drive as `folder`'s `train`, and that drive as its `val`."""
    for split in ("train", "val"):
        for name in (split, f"{split}annot"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    counts = {"train": 0, "val": 0}
    for image in sorted((camvid / "train").iterdir()):
        split = "val" if image.stem.startswith(drive) else "train"
        for source, target in ((image, split), (_label_of(camvid / "trainannot", image.stem), f"{split}annot")):
            link = folder / target / source.name
            link.unlink(missing_ok=True)
            link.symlink_to(source.resolve())
        counts[split] += 1
    if not counts["val"]:
        raise SystemExit(f"{camvid / 'train'}: no frame of the drive {drive}")
    print(f"{folder}: {counts['train']} frames to train on, {counts['val']} of {drive} held out")


def _label_of(folder: Path, stem: str) -> Path:
    return next(path for path in folder.iterdir() if path.stem == stem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, names in (("train", HR), ("held-out", NETWORKS)):
        options = commands.add_parser(command)
        options.add_argument("name", choices=names)
        options.add_argument("camvid", type=Path)
        options.add_argument("-o", "--output", type=Path, required=True)
        if command == "train":
            options.add_argument("--video", action="append", default=[], help="a drive without labels")
    given = parser.parse_args()
    if given.command == "train":
        train(given.name, given.camvid, given.output, given.video)
    else:
        train_held_out(given.name, given.camvid, given.output)


if __name__ == "__main__":
    main()
