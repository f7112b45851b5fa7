"""A network that runs from an exported folder, in the place of an `ARSegNet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from arseg.device import check_device
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.networks.executor import Executor, needed
from arseg.networks.trust import KeyframeSignals

from .formats import FORMATS, Part, laid_out
from .manifest import BLOCK, NAME, Manifest, SizeParts

Size = tuple[int, int]


def is_exported(path: StrPath) -> bool:
    """Whether a path is a folder of `arseg export`."""
    return (Path(path) / NAME).is_file()


def load_exported(folder: StrPath) -> ExportedNet:
    """The network in a folder of `arseg export`, for `VideoSegmenter`; its parts are opened as they are needed.

    What is in the folder runs as code: load none that you do not trust.

    Raises `InputError` where it cannot run here: other versions of torch or the operators, another processor, files
    that are missing or damaged.
    """
    return ExportedNet(Path(folder))


class ExportedNet(Executor):
    """Parts of a network in files, for images of the sizes that they were exported for.

    Attributes:
        folder, manifest: where it is, and what it says.
        device: where it runs.
        half: whether it computes in bfloat16.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, Manifest.load(folder)
        self.manifest.check(folder)
        self.device = torch.device(self.manifest.device)
        self.half = self.manifest.precision == "bfloat16"
        self.label_set, self.input_height = self.manifest.label_set, self.manifest.height
        for name, value in self.manifest.numbers.items():
            setattr(self, name, value)
        self.scores = SimpleNamespace(**self.manifest.upsampling)
        self._sizes = {one.size: one for one in self.manifest.sizes}
        self._features: dict[tuple[int, ...], Size] = {}
        self._parts: dict[tuple[Size, str], Part] = {}

    @property
    def has_branch(self) -> bool:
        """Whether there is a low-resolution branch with its fusion."""
        return all("fusion" in one.parts for one in self.manifest.sizes)

    def check_run(self, precision: str | None, device: str | torch.device, *, branch: bool) -> None:
        """Raises `InputError` where it does not run so; `branch`: whether the low-resolution branch is needed."""
        if precision not in (None, self.manifest.precision):
            made = self.manifest.precision
            raise InputError(f"{self.folder}: exported in {made}; leave out --precision, or export it in {precision}")
        check_device(self.device)
        if (torch.device(device).index or 0) > 0:
            raise InputError(
                f"{self.folder}: an exported network runs on the first card alone, got {device}; give cuda"
            )
        if torch.device(device).type != self.device.type:
            raise InputError(
                f"{self.folder}: exported for {self.device}; give --device {self.device}, or export for {device}"
            )
        if branch and not self.has_branch:
            raise InputError(
                f"{self.folder}: keyframes alone are exported; give a --budget such as 25%, or choose --mode hr, warp "
                "or keep"
            )

    def state_digest(self) -> str:
        return "".join(part.sha256 for one in self.manifest.sizes for part in one.parts.values())

    def gmacs(self, size: Size) -> Mapping[str, float]:
        """See `arseg.networks.compute.gmacs`."""
        return self._at(size).gmacs

    def keyframe(self, image: Tensor) -> Tensor:
        size = (image.shape[2], image.shape[3])
        feature = self._run(size, "keyframe", image)
        self._features.setdefault(tuple(feature.shape[1:]), size)
        return feature

    def classifier(self, feature: Tensor) -> Tensor:
        return self._run(self._features[tuple(feature.shape[1:])], "classifier", feature)

    def low_res(self, image: Tensor) -> Tensor:
        return self._run((image.shape[2], image.shape[3]), "low", image)

    def join(
        self,
        low_res: Tensor,
        reference: Tensor,
        motion: Tensor,
        distance: int | Tensor | None,
        key_logits: Tensor | None,
        *,
        luma: Tensor | None,
        signals: KeyframeSignals | None,
        block: int | None,
        frame_size: tuple[int, int] | None,
    ) -> Tensor:
        if block != BLOCK or frame_size is None or len(reference) != 1:
            raise InputError(f"motion: expected fields of blocks of {BLOCK} to one keyframe, as VideoReader has")
        given: dict[str, Any] = {"low_res": low_res, "reference": reference, "motion": motion, "luma": luma}
        given |= {"frame": torch.empty(0, *frame_size, dtype=torch.uint8, device=low_res.device)}
        if self.takes_key_logits:
            given["key_logits"] = self.classifier(reference) if key_logits is None else key_logits
            if not isinstance(distance, Tensor):
                distance = torch.full((len(low_res),), distance or 0, device=low_res.device)
            given["distance"] = distance
        if self.takes_signals:
            given |= dict(zip(("key_luma", "key_residual"), needed(signals).tensors(), strict=False))
        size = self._features[tuple(reference.shape[1:])]
        only = self._at(size).parts["fusion"].frame
        if only is not None and only != frame_size:
            raise InputError(
                f"{self.folder}: exported for videos of {_text(only)} (height x width), got {_text(frame_size)}"
            )
        return self._run(size, "fusion", *(given[name] for name in self._at(size).parts["fusion"].inputs))

    def _at(self, size: Size) -> SizeParts:
        if size not in self._sizes:
            there = ", ".join(_text(one) for one in self._sizes)
            raise InputError(
                f"{self.folder}: exported for images of {there} (height x width), and this needs {_text(size)}; give "
                f"a --height that suits, or export with --size {_text(size)}, too"
            )
        return self._sizes[size]

    def _run(self, size: Size, name: str, *inputs: Tensor) -> Tensor:
        part = self._parts.get((size, name)) or self._open(size, name)
        count = len(inputs[0])
        if self._at(size).parts[name].batch is None or count == 1:
            return part(*map(laid_out, inputs))
        # One frame at a time; what is of the keyframe, or has no batch, comes to each.
        each = ([laid_out(x[k : k + 1] if len(x) == count else x) for x in inputs] for k in range(count))
        return torch.cat([part(*one) for one in each])

    def _open(self, size: Size, name: str) -> Part:
        file = self._at(size).parts[name]
        part = self._parts[size, name] = FORMATS[file.format].load(self.folder / file.file, self.device)
        return part


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
