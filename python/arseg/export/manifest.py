"""`manifest.json` of an exported folder: what its parts are, for which sizes, and what they need where they run."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import arseg_ext
from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.zoo import checksum

NAME = "manifest.json"

BLOCK = 4
"""Video pixels a side of the motion's blocks, as `VideoReader` gives them."""

VERSION = 1
"""Of the manifest's own form."""

AGAIN = "export again: arseg export"


@dataclass(frozen=True)
class PartFile:
    """A part of a network.

    Attributes:
        file: its name in the folder.
        format: a name of `FORMATS`.
        inputs, output: names, in the order of the arguments.
        batch: frames that it takes at once; None: any number.
        frame: height and width of the only videos that it is for; None: any.
        sha256: of the file.
    """

    file: str
    format: str
    inputs: tuple[str, ...]
    output: str
    batch: int | None
    frame: tuple[int, int] | None
    sha256: str


@dataclass(frozen=True)
class SizeParts:
    """What there is for images of one size.

    Attributes:
        size: height and width of the image that the network sees.
        gmacs: see `arseg.networks.compute.gmacs`.
        parts: by name.
    """

    size: tuple[int, int]
    gmacs: Mapping[str, float]
    parts: Mapping[str, PartFile]


@dataclass(frozen=True)
class Manifest:
    """All that a folder says.

    Attributes:
        weights: digest of the network that it was made of.
        format: a name of `FORMATS`.
        precision: float32 or bfloat16.
        device: cpu or cuda.
        height: of the frames that the network was trained for; None: any.
        numbers: those of `arseg.networks.executor.NUMBERS`.
        upsampling: how scores reach the frame, see `SegmentationNetwork`.
        labels: `LabelSet.to_json`.
        machine: what compiled code needs, see `machine`.
        versions: of torch, arseg and its operators.
    """

    weights: str
    format: str
    precision: str
    device: str
    height: int | None
    numbers: Mapping[str, Any]
    upsampling: Mapping[str, Any]
    labels: Mapping[str, Any]
    sizes: tuple[SizeParts, ...]
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    version: int = field(default=VERSION)

    @property
    def label_set(self) -> LabelSet:
        return LabelSet.from_json(dict(self.labels))

    def save(self, folder: Path) -> None:
        (folder / NAME).write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Raises `InputError` where there is none, or it cannot be read."""
        path = folder / NAME
        if not path.is_file():
            raise InputError(f"{folder}: no {NAME} in it; expected a folder of `arseg export`")
        try:
            record = json.loads(path.read_text())
            if record["version"] != VERSION:
                raise InputError(f"{path}: of form {record['version']}, and {VERSION} is known; {AGAIN}")
            sizes = tuple(
                SizeParts(
                    (one["size"][0], one["size"][1]),
                    one["gmacs"],
                    {name: _part(**part) for name, part in one["parts"].items()},
                )
                for one in record.pop("sizes")
            )
            return cls(sizes=sizes, **record)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: cannot be read ({error}); {AGAIN}") from error

    def check(self, folder: Path) -> None:
        """Raises `InputError` where the parts cannot run here: other versions, another processor, damage."""
        here = versions()
        compiled = self.format != "onnx" or any("fusion" in one.parts for one in self.sizes)
        for name, version in self.versions.items():
            if compiled and name != "arseg" and here.get(name) != version:
                raise InputError(f"{folder}: made with {name} {version}, and this is {here.get(name)}; {AGAIN}")
        if self.format == "aoti":
            now = machine(self.device)
            for name, value in self.machine.items():
                if now.get(name) != value and not _covers(now.get(name, ""), value):
                    raise InputError(f"{folder}: compiled for {value}, and this machine has {now.get(name)}; {AGAIN}")
        for part in (part for one in self.sizes for part in one.parts.values()):
            path = folder / part.file
            if not path.is_file() or checksum(path) != part.sha256:
                fault = "is damaged" if path.is_file() else "is missing"
                raise InputError(f"{path}: {fault}, by the folder's {NAME}; {AGAIN}")


def _part(inputs: list[str], frame: list[int] | None, **others: Any) -> PartFile:
    return PartFile(inputs=tuple(inputs), frame=None if frame is None else (frame[0], frame[1]), **others)


def versions() -> dict[str, str]:
    """Of what exported parts depend on; of torch its first two numbers."""
    import torch.compiler.config

    arseg_ext.ops  # noqa: B018 (loads them, and their tag)
    tag = re.search(r"arseg_ext [^;]*", torch.compiler.config.cache_key_tag)
    return {
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "arseg": arseg_ext.__version__,
        "operators": "" if tag is None else tag[0].removeprefix("arseg_ext "),
    }


def machine(device: str) -> dict[str, str]:
    """What compiled code needs: the processor's kind and its vector instructions; on a GPU its architecture."""
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return {"processor": platform.machine(), "gpu": f"sm_{major}{minor}"}
    return {"processor": platform.machine(), "vectors": torch.backends.cpu.get_cpu_capability()}


_WIDER = ("DEFAULT", "AVX2", "AVX512")


def _covers(here: str, needed: str) -> bool:
    """Whether vector instructions of a processor include others."""
    return here in _WIDER and needed in _WIDER and _WIDER.index(here) >= _WIDER.index(needed)
