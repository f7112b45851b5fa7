"""The authors' `.pth` files into weights files of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg.errors import InputError
from arseg.files import StrPath, check_writable, same_file
from arseg.networks.base import SplitNetwork
from arseg.networks.fused import FusedNetwork
from arseg.networks.paper.published import Part, architecture, from_reference_state_dict, guess_reference

from .build import build
from .files import check_fit, read_state_dict, save_checkpoint
from .made import how_made


@dataclass(frozen=True)
class Converted:
    """What a conversion made. `part`: "hr", "fused", or "ar" for both; `scale` belongs to "ar" alone."""

    arch: str
    part: str
    scale: float | None
    tensors: int


def convert(
    source: StrPath,
    target: StrPath,
    *,
    fused: StrPath | None = None,
    arch: str | None = None,
    part: Part | None = None,
    scale: float | None = None,
    window: int = 7,
    half: bool = False,
) -> Converted:
    """Writes the authors' weights `source` as a weights file of ours, `target`.

    Args:
        source: `.pth` of a state dict, read with `weights_only=True`. With `fused` the keyframes' network.
        fused: the low-resolution network that goes with `source`; the two make one file, for `VideoSegmenter`.
        arch, part: see `from_reference_state_dict`; None: told from keys and shapes.
        scale: of the low-resolution frames, with `fused`; None: the third part of its name (`PSPNet_resnet18_0.5_…`),
            or else 0.5.
        window: side of the attention.
        half: store float16 in place of the tensors' own precision.

    Raises `InputError` that names the file and what is wrong with it; nothing is written then.
    """
    source, target, fused = Path(source), Path(target), None if fused is None else Path(fused)
    if any(same_file(target, path) for path in (source, fused) if path is not None):
        raise InputError(f"{target}: is the input itself; give the output another name")
    check_writable(target)
    if fused is None and scale is not None:
        raise InputError("scale: belongs to a pair of networks; give the fused one, too")
    if fused is None:
        arch, part, network = _load(source, arch, part, window)
        config: dict[str, Any] = {"arch": arch, "auxiliary": True}
        if isinstance(network, FusedNetwork):
            config["window"] = window
        kind: str = part
        state = network.state_dict()
    else:
        if part is not None:
            raise InputError("part: a pair of networks has both; leave it out")
        arch, _, high = _load(source, arch, "hr", window)
        _, _, low = _load(fused, arch, "fused", window)
        assert isinstance(high, SplitNetwork) and isinstance(low, FusedNetwork)
        _same_classifier(high, low, source, fused)
        scale = _scale_of(fused) if scale is None else scale
        config = {"arch": arch, "auxiliary": False, "scale": scale, "window": window, "grid": "legacy"}
        kind, state = "ar", _pair_state(high, low)
    config["labels"] = architecture(arch).labels.to_json()
    config["made"] = how_made({"part": kind, "window": window, "half": half}, source=source, fused=fused)
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    with torch.device("meta"):
        check_fit(build(kind, config), state, target)  # what is written can be read
    save_checkpoint(state, target, kind=kind, config=config, half=half)
    return Converted(arch, kind, scale, len(state))


def _load(
    path: Path, arch: str | None, part: Part | None, window: int
) -> tuple[str, Part, SplitNetwork | FusedNetwork]:
    state = read_state_dict(path)
    try:
        if arch is None or part is None:
            guessed = guess_reference(state)
            arch, part = arch or guessed[0], part or guessed[1]
        return arch, part, from_reference_state_dict(state, arch, part, window=window)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _same_classifier(high: SplitNetwork, low: FusedNetwork, source: Path, fused: Path) -> None:
    ours, theirs = high.classifier.state_dict(), low.network.classifier.state_dict()
    if any(not torch.equal(ours[key], theirs[key]) for key in ours):
        raise InputError(
            f"{fused}: its final_conv is not that of {source}; expected the low-resolution network that was trained "
            "under it, with final_conv shared and frozen"
        )


def _pair_state(high: SplitNetwork, low: FusedNetwork) -> dict[str, Tensor]:
    """Of the `ARSegNet` with both, without what only training uses."""
    state = {f"high.{key}": value for key, value in high.state_dict().items() if not key.startswith("auxiliary.")}
    skipped = ("auxiliary.", "classifier.")
    low_state = low.network.state_dict()
    state |= {f"low.{key}": value for key, value in low_state.items() if not key.startswith(skipped)}
    return state | {f"fusion.{key}": value for key, value in low.fusion.state_dict().items()}


def _scale_of(path: Path) -> float:
    """From the authors' file names, `PSPNet_resnet18_0.5_<epoch>_.pth`; 0.5 where the name says nothing."""
    try:
        scale = float(path.name.split("_")[2])
    except (IndexError, ValueError):
        return 0.5
    return scale if 0 < scale <= 1 else 0.5
