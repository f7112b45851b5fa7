"""The zoo's networks: what their trainings start from, and CamVid with a drive held out.

    python benchmarks/zoo.py starts -o runs              # lite2-hr, slim-hr and slim-ar.safetensors
    python benchmarks/zoo.py hold-out CAMVID 0006R0 -o camvid-0006R0

`starts` takes of the shipped lite0 what fits: for slim the channels that count most, of both branches and the fusion;
for lite2 those of the head, under an encoder with ImageNet's weights. `hold-out` links CamVid's `train` without one
drive as `train`, and that drive as `val`; the model cards say how the zoo was trained (python/arseg/weights/shipped).
"""

from __future__ import annotations

import argparse
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
    """A network's state (a pair's, too) with the chosen channels of its head alone."""
    return {key: _narrowed(key, tensor, chosen) for key, tensor in state.items()}


def _narrowed(key: str, tensor: Tensor, chosen: Mapping[str, Tensor]) -> Tensor:
    if key.startswith("fusion."):
        return tensor[chosen["feature"]]
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
    """See the module."""
    folder.mkdir(parents=True, exist_ok=True)
    _, config, state = read_checkpoint(DEFAULT_WEIGHTS)
    high = _branch(state, "high")

    slim = {"channels": 32, "wide": 64}
    chosen = chosen_channels(high, **slim)
    _save(folder / "slim-hr.safetensors", "hr", narrowed(high, chosen), {"classes": config["classes"], **slim})
    _save(folder / "slim-ar.safetensors", "ar", narrowed(state, chosen), {**config, **slim})

    lite2: dict[str, Any] = {"channels": 64, "wide": 128, "encoder": "efficientnet-lite2"}
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


# --- a drive held out ---


def hold_out(camvid: Path, drive: str, folder: Path) -> None:
    """See the module."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    starts = commands.add_parser("starts", help="what the trainings start from")
    held = commands.add_parser("hold-out", help="CamVid with a drive held out")
    held.add_argument("camvid", type=Path)
    held.add_argument("drive")
    for command in (starts, held):
        command.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.command == "starts":
        write_starts(given.output)
    else:
        hold_out(given.camvid, given.drive, given.output)


if __name__ == "__main__":
    main()
