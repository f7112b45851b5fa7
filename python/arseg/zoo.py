"""The zoo: weights by name, each one file with a checksum and a model card; nothing is ever downloaded.

>>> arseg.load("lite0")  # doctest: +SKIP

A script adds weights of its own: `ZOO.register("mine", Published(file="mine.safetensors", sha256=…, …))`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .registry import Registry

if TYPE_CHECKING:
    from .files import StrPath

SHIPPED = Path(__file__).resolve().parent / "weights" / "shipped"
"""Where the package has its weights; their cards lie beside them."""

VARIABLE = "ARSEG_WEIGHTS"
"""The environment variable that names more folders to look in, separated as in PATH."""


@dataclass(frozen=True)
class Published:
    """Weights of the zoo.

    Attributes:
        file: its name; the card has the same one with the ending .md.
        sha256: of the file, in hexadecimal.
        what: the network and its data, in a few words.
        made_by: the commands that trained it.
        licence: what the terms of its data say of its use; None: nothing.
        gmacs: 10^9 multiply-accumulates of a frame in 4:3 of the height that it was trained for: at full resolution,
            and between keyframes.
        miou: percent on CamVid's `val` run, one pass of twelve: full resolution, and AR-Seg, means over all distances.
        packaged: whether the package has the file; others lie beside the releases of the project.
    """

    file: str
    sha256: str
    what: str
    made_by: str
    gmacs: tuple[float, float]
    miou: tuple[float, float]
    licence: str | None = None
    packaged: bool = True


ZOO: Registry[Published] = Registry("weights")
"""What `arseg.load`, `--weights` and `--model` take by name."""

DEFAULT = "lite0"


ZOO.register(
    DEFAULT,
    Published(
        file="lite0-camvid.safetensors",
        sha256="92ca4806ee68e319e3eec320fdee9dcf441c49db3bf62825d690441c2a980a7b",
        what="EfficientNet-Lite0 under a pyramid head 256 wide, on CamVid; the default",
        made_by="arseg train hr --camvid CAMVID -o runs/first && arseg train hr --camvid CAMVID --preset default-large "
        "--start runs/first/hr.safetensors -o runs/hr && arseg train ar VIDEO… --camvid CAMVID "
        "--teacher runs/hr/hr.safetensors -o runs/ar",
        gmacs=(10.67, 2.90),
        miou=(76.4, 76.6),
        licence="CamVid is for non-commercial use",
    ),
)
ZOO.register(
    "slim",
    Published(
        file="slim-camvid.safetensors",
        sha256="f553d33359d48c94a8a8728a445a75fb11760294c4fd041f2f7a3ce51cc2a4cc",
        what="EfficientNet-Lite0 under a pyramid head 64 wide, on CamVid; the smallest, a short training",
        made_by="python benchmarks/zoo.py train slim CAMVID -o runs/slim --video …",
        gmacs=(2.86, 0.81),
        miou=(73.7, 72.2),
        licence="CamVid is for non-commercial use",
    ),
)
ZOO.register(
    "lite2",
    Published(
        file="lite2-camvid.safetensors",
        sha256="a503c055d92241e9a42314182f63961e1216a3d7418a1c8e91d1ed47f72c0c02",
        what="EfficientNet-Lite2 under a pyramid head 128 wide, on CamVid; a larger encoder, too short a training",
        made_by="python benchmarks/zoo.py train lite2 CAMVID -o runs/lite2 --video …",
        gmacs=(8.40, 2.34),
        miou=(69.5, 69.9),
        licence="CamVid is for non-commercial use",
    ),
)
_CROPS = "--set crop=[360,480] --set precision=bfloat16 --set ema_decay=0.998"


def _paper(name: str, settings: str, first: str) -> str:
    """The commands of one of the paper's networks; `settings` of both phases, `first` those of the first alone."""
    return (
        f"arseg train hr --preset camvid-{name} --camvid CAMVID --set backbone=RESNET18.pth {settings}{first} "
        f"-o runs/hr && arseg train ar --preset camvid-{name} --camvid CAMVID --teacher runs/hr/hr.safetensors "
        f"{settings} --set start=teacher --set epochs=105 --set plain_epochs=40 --set distances=[] "
        f"--set images=decoded -o runs/ar && python tools/release_weights.py {name}=runs/ar/ar.safetensors"
    )


ZOO.register(
    "psp18-residual",
    Published(
        file="camvid-psp18-residual.safetensors",
        sha256="3956a7f2dbcba5374ee6728718f8f9105744760e8edadac0dc580e2ebebe530d",
        what="the paper's PSPNet18 on CamVid at 480x360, with Void as a class; the residual in place of the fusion",
        made_by=_paper(
            "psp18",
            f"{_CROPS} --set normalization=imagenet",
            " --set epochs=120 --set optimiser=adamw --set lr=4e-4 --set weight_decay=0.01 --set warmup=100",
        ),
        gmacs=(77.17, 19.82),
        miou=(67.9, 66.4),
        licence="CamVid is for non-commercial use",
        packaged=False,
    ),
)
ZOO.register(
    "bise18-residual",
    Published(
        file="camvid-bise18-residual.safetensors",
        sha256="fadd5b364d219c96d611595b959de477cef5d0c2bd9ee77c9361a704b4203c9c",
        what="the paper's BiSeNet18 on CamVid at 480x360, with Void as a class; the residual in place of the fusion",
        made_by=_paper("bise18", _CROPS, ""),
        gmacs=(9.93, 2.57),
        miou=(66.0, 63.2),
        licence="CamVid is for non-commercial use",
        packaged=False,
    ),
)


@dataclass(frozen=True)
class Listed:
    """A line of `listing`: `path` and `card` are None where the file is not here."""

    name: str
    published: Published
    path: Path | None
    card: Path | None


def listing() -> list[Listed]:
    """The weights of the zoo, in its order, and where they are; files are not opened."""
    rows = []
    for name in ZOO:
        path = _found(ZOO[name])
        card = None if path is None else path.with_suffix(".md")
        rows.append(Listed(name, ZOO[name], path, card if card is not None and card.is_file() else None))
    return rows


def folders() -> list[Path]:
    """Where the files are looked for: those of the variable ARSEG_WEIGHTS, then the package's own."""
    named = [Path(folder).expanduser() for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    return [*named, SHIPPED]


def weights_file(source: StrPath) -> Path:
    """The file that `source` means: that of a name of the zoo, or the path itself.

    A name's file is checked against its checksum. A path is returned as it is, whether it is there or not; a file that
    is called as a name of the zoo is meant by `./NAME`.

    Raises `InputError` where a name's file is missing or another one, and for what looks like a name and is none.
    """
    text = os.fspath(source)
    if text in ZOO:
        return _checked(text)
    path = Path(source)
    if _looks_like_a_name(text) and not path.exists():
        near = get_close_matches(text, ZOO, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"{text}: no such weights file, and none of that name in the zoo; expected a .safetensors file, or one of "
            f"{', '.join(ZOO)}{hint}"
        )
    return path


def record_of(path: Path) -> dict[str, str | None] | None:
    """`command` and `licence` of the zoo's entry that a file is, for files that have no record of their own."""
    for published in map(ZOO.__getitem__, ZOO):
        found = _found(published)
        if found is not None and path.exists() and found.samefile(path):
            return {"command": published.made_by, "licence": published.licence}
    return None


def _looks_like_a_name(text: str) -> bool:
    return bool(text) and not Path(text).suffix and os.sep not in text and not text.startswith((".", "~"))


def _found(published: Published) -> Path | None:
    return next((path for path in _places(published) if path.is_file()), None)


def _places(published: Published) -> Iterator[Path]:
    return (folder / published.file for folder in folders())


def _checked(name: str) -> Path:
    """The file of the zoo's `name`; raises `InputError` where it is missing or another one."""
    published = ZOO[name]
    path = _found(published)
    if path is None:
        looked = " or ".join(map(str, folders()))
        source = "" if published.packaged else " from the project's releases"
        raise InputError(
            f"{name}: {published.file} is not in {looked}; put the file with SHA-256 {published.sha256}{source} there "
            f"or into a folder that {VARIABLE} names, or train one (as `arseg info --json` says) and give its path"
        )
    sha256 = checksum(path)
    if sha256 != published.sha256:
        raise InputError(
            f"{name}: {path} has SHA-256 {sha256}, expected {published.sha256}; the file is damaged or another "
            "training's: put the published one back, or give the path to load this one as it is"
        )
    return path


def checksum(path: StrPath) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
