"""From a network to a folder of parts that run without its code."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arseg.errors import InputError
from arseg.files import new_folder
from arseg.memory import is_out_of_memory
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.compute import gmacs
from arseg.networks.executor import NUMBERS
from arseg.networks.prepared import prepared
from arseg.networks.trust import KeyframeSignals
from arseg.preprocess import network_inputs
from arseg.zoo import checksum

from .formats import FORMATS, Traced, laid_out
from .manifest import BLOCK, Manifest, PartFile, SizeParts, machine, versions

OFF = {"float32": 1e-3, "bfloat16": 0.05}
"""By how much of its largest value a part may differ from what it was made of."""

MOST = 3
"""Frames in the examples that parts are tried on."""

Size = tuple[int, int]


class _Part(nn.Module):
    """A function of tensors as a module that has the network's parameters."""

    def __init__(self, net: ARSegNet, function: Callable[..., Tensor]):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def export_network(
    net: ARSegNet,
    folder: Path,
    sizes: Sequence[Size],
    *,
    format: str = "aoti",
    precision: str = "float32",
    branch: bool = True,
    report: Callable[[str], object] = lambda line: None,
) -> Manifest:
    """Writes a network's parts and `manifest.json` to a new or empty folder, which is there whole or not at all.

    Each part is run before, and compared with what it was made of.

    Args:
        net: in eval mode, on the device that the parts are to run on.
        sizes: height and width of the images that the network will see; there are parts for each.
        format: a name of `FORMATS`.
        precision: float32 or bfloat16.
        branch: whether there is a trained low-resolution branch and fusion; else keyframes alone are exported.
        report: is given a line for each part.

    Raises `InputError` where the network cannot be exported, or a part is not what it was made of.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    kind = FORMATS[format]
    kind.check(device, precision)
    label_set = net.known_labels()
    found = []
    with new_folder(folder) as part_folder:
        for size in dict.fromkeys(sizes):
            where = Path(f"{size[0]}x{size[1]}")
            (part_folder / where).mkdir()
            parts: dict[str, PartFile] = {}
            ready = _ready(net, size, precision, device)
            for name, traced in _parts(ready, size, branch):
                using = kind.fusion if name == "fusion" and kind.fusion else format
                file = where / f"{name}{FORMATS[using].ending}"
                report(f"{file}: {using}")
                limits = _write(name, traced, part_folder / file, using, precision)
                how: dict[str, Any] = {"inputs": traced.names, "output": traced.output, **limits}
                parts[name] = PartFile(file=str(file), format=using, sha256=checksum(part_folder / file), **how)
            found.append(SizeParts(size, gmacs(net, *size), parts))
        scores = {name: getattr(net.high, name, False) for name in ("upsampling_corners", "align_corners")}
        made = Manifest(
            weights=net.state_digest(),
            format=format,
            precision=precision,
            device=device.type,
            height=net.input_height,
            numbers={name: getattr(net, name) for name in NUMBERS},
            upsampling={"upsampling": getattr(net.high, "upsampling", 1), **scores},
            labels=label_set.to_json(),
            sizes=tuple(found),
            machine=machine(device.type),
            versions=versions(),
        )
        made.save(part_folder)
    return made


def _ready(net: ARSegNet, size: Size, precision: str, device: torch.device) -> ARSegNet:
    """The network as it is exported: batch normalisation folded, in its precision."""
    image = _images(net, size, 1, device)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    ready = prepared(net, image, kind, activations=False)
    if ready is None and precision == "bfloat16":
        raise InputError("precision: this network does not run in bfloat16; choose float32")
    return (copy.deepcopy(net) if ready is None else ready).requires_grad_(False)


def _images(net: ARSegNet, size: Size, count: int, device: torch.device) -> Tensor:
    """Noise as decoded frames are seen, `[count, 3, *size]`."""
    pixels = torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return network_inputs(pixels.to(device), size, net.known_labels())


@torch.inference_mode()
def _parts(net: ARSegNet, size: Size, branch: bool) -> Iterator[tuple[str, Traced]]:
    """By name, with examples for `MOST` frames."""
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    image = _images(net, size, MOST, device)
    feature = net.keyframe(image)
    yield "keyframe", _traced(net, net.keyframe, "feature", image=image)
    yield "classifier", _traced(net, lambda feature: net.classifier(feature), "logits", feature=feature)
    if not branch:
        return
    low_res, logits = net.low_res(image), net.classifier(feature)
    yield "low", _traced(net, net.low_res, "low_res", image=image)
    noise = torch.Generator().manual_seed(0)
    rows, columns = (-(-side // BLOCK) for side in size)
    motion = torch.randint(-32, 33, (MOST, rows, columns, 2), dtype=torch.int16, generator=noise).to(device)
    frame = torch.empty(0, *size, dtype=torch.uint8, device=device)
    inputs = {"low_res": low_res, "reference": feature[:1], "motion": motion, "frame": frame}
    if net.takes_key_logits:
        inputs |= {"key_logits": logits[:1], "distance": torch.arange(1, MOST + 1, device=device)}
    if net.takes_signals:
        signals = net.keyframe_signals(image[:1], feature[:1], logits[:1])
        assert signals is not None
        inputs |= {"luma": net.luma(image), **dict(zip(("key_luma", "key_residual"), signals.tensors(), strict=False))}
    names = tuple(inputs)

    def fuse(*given: Tensor) -> Tensor:
        named = dict(zip(names, given, strict=True))
        residual = named.get("key_residual")
        signals = KeyframeSignals(named["key_luma"], residual) if "key_luma" in named else None
        seen = (named.get(name) for name in ("low_res", "reference", "motion", "distance", "key_logits"))
        height, width = named["frame"].shape[1:]
        how: dict[str, Any] = {"luma": named.get("luma"), "signals": signals, "block": BLOCK}
        return net.join(*seen, frame_size=(height, width), **how)  # type: ignore[arg-type]

    yield "fusion", _traced(net, fuse, "logits", **inputs)


def _traced(net: ARSegNet, function: Callable[..., Tensor], output: str, **inputs: Tensor) -> Traced:
    any_length = torch.export.Dim.DYNAMIC
    dynamic: dict[str, dict[int, Any]] = {name: {0: any_length} if len(x) == MOST else {} for name, x in inputs.items()}
    if "motion" in inputs:  # of videos of any size
        dynamic["motion"] |= {1: any_length, 2: any_length}
        dynamic["frame"] = {1: any_length, 2: any_length}
    given = tuple(laid_out(x).clone() for x in inputs.values())  # out of inference mode
    return Traced(_Part(net, function).eval(), given, tuple(inputs), output, tuple(dynamic.values()))


def _write(name: str, part: Traced, path: Path, format: str, precision: str) -> dict[str, Any]:
    """Writes a part, for as much as it can be had for; returns `batch` and `frame` of `PartFile`."""
    fault: str | None = None
    for batch, fixed in (None, False), (None, True), (1, False), (1, True):
        if fixed and "frame" not in part.names:
            continue
        given = replace(part, inputs=tuple(_first(x, 2 if batch is None else 1) for x in part.inputs))
        free = [at for at in (0, 1, 2) if not (at == 0 and batch == 1) and not (at > 0 and fixed)]
        given = replace(given, dynamic=tuple({at: one[at] for at in free if at in one} for one in part.dynamic))
        try:
            FORMATS[format].write(given, path)
            loaded = FORMATS[format].load(path, part.inputs[0].device)
            counts = (1, MOST) if batch is None else (1,)
            fault = next((found for count in counts if (found := _unlike(part, loaded, count, OFF[precision]))), None)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            fault = f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
        if fault is None:
            shape = part.inputs[part.names.index("frame")].shape if fixed else None
            return {"batch": batch, "frame": None if shape is None else (shape[1], shape[2])}
    raise InputError(f"model: its {name} cannot be exported as {format}: {fault}")


def _first(x: Tensor, count: int) -> Tensor:
    return laid_out(x[:count].clone()) if len(x) == MOST else x


@torch.no_grad()
def _unlike(part: Traced, loaded: Callable[..., Tensor], count: int, most: float) -> str | None:
    """How the part as loaded differs from what it was made of; None where it does not."""
    inputs = [_first(x, count) for x in part.inputs]
    expected, found = part.module(*inputs).float(), loaded(*inputs).float()
    if expected.shape != found.shape:
        return f"gives {tuple(found.shape)} for {tuple(expected.shape)}"
    off = float((expected - found).abs().max() / expected.abs().max().clamp_min(1e-12))
    return None if off <= most else f"is off by {off:.2g} of its largest value, at a batch of {count}"
