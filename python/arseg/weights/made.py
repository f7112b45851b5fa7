"""How weights were made: a record that their file carries, enough to make them again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg_ext import __version__

if TYPE_CHECKING:
    from arseg.data.opened import OpenData

LICENCES = {
    "camvid": "CamVid is for non-commercial use",
    "cityscapes": "Cityscapes is for non-commercial use",
    "ade20k": "ADE20K's images are for non-commercial research",
    "mapillary": "Mapillary Vistas (research edition) is CC BY-NC-SA",
}
"""What the data's own terms say, for whoever uses weights that were made of them; by layout."""


def how_made(
    recipe: Any,
    *,
    data: OpenData | None = None,
    licence: str | None = None,
    videos: Sequence[Path] = (),
    **files: Path | None,
) -> dict[str, Any]:
    """What the config of a weights file has as `made`, in JSON's terms.

    - command: as it was typed; None where a script called.
    - versions: of arseg, torch and Python; commit: of arseg's source, where it runs from a checkout.
    - data: name, layout, fingerprint and number of frames of what was labelled; None without.
    - videos: names of those without labels.
    - seed, recipe: all settings.
    - licence: of the weights or their data; None where nobody has said it.
    - files: by role (teacher, start, …), name and checksum of weights that these came from.

    Args:
        recipe: a dataclass of settings.
        licence: as the user says it; None: what is known of the data's.
    """
    import torch

    settings = asdict(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else dict(recipe)
    known = None if data is None else LICENCES.get(data.layout)
    record: dict[str, Any] = {
        "command": command_line(),
        "versions": {"arseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "commit": source_commit(),
        "data": None if data is None else data_record(data),
        "videos": [video.name for video in videos],
        "seed": settings.get("seed"),
        "recipe": settings,
        "licence": licence or known,
        "files": {role: f"{path.name} {zlib.crc32(path.read_bytes()):08x}" for role, path in files.items() if path},
    }
    return record


def data_record(data: OpenData) -> dict[str, Any]:
    """What tells one data set from another."""
    return {
        "name": data.name,
        "layout": data.layout,
        "frames": len(data.frames("train")),
        "split": data.split_by,
        "fingerprint": data.fingerprint(),
    }


def command_line() -> str | None:
    """The command as it was typed, without secrets in URLs; None where this is not the program `arseg`."""
    from arseg.video.names import without_secrets

    program = Path(sys.argv[0])
    if program.name != "arseg" and program.parts[-2:] != ("cli", "__main__.py"):
        return None
    return without_secrets(shlex.join(["arseg", *sys.argv[1:]]))


def source_commit() -> str | None:
    """The commit of arseg's own checkout, with "-dirty" where files differ from it; None where it is installed."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
