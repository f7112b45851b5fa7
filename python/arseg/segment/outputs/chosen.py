"""Which output a name asks for: by its ending, or by a kind that is written before it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from arseg.errors import InputError
from arseg.video.containers import NOT_WRITTEN, container_of
from arseg.video.names import output_path

from .base import FOLDER, OUTPUTS, Output


def kind_of(text: str) -> tuple[str, Path]:
    """The kind in `OUTPUTS` and the target of `TARGET` or `KIND:TARGET`; raises `InputError` where there is none."""
    kind, target = _split(text)
    ending = FOLDER if text.endswith("/") or target.is_dir() else target.suffix.lower()
    if kind is None:
        chosen = (name for name in OUTPUTS if ending in getattr(OUTPUTS[name], "chosen_by", ()))
        kind = next(chosen, None)
    if kind is None:
        if ending in NOT_WRITTEN:
            container_of(target)  # says why
        raise InputError(f"{target}: no output has the ending {ending}; expected one of {', '.join(_endings())}")
    endings = getattr(OUTPUTS[kind], "endings", ())
    if endings and ending not in endings:
        raise InputError(
            f"{kind}:{target}: expected {' or '.join(endings)}, got {ending or 'a name without an ending'}"
        )
    return kind, target


def output_for(text: str, options: Mapping[str, Any] | None = None) -> Output:
    """The output that `TARGET` (its ending decides) or `KIND:TARGET` asks for.

    Args:
        options: settings by name; it is given those that it has. None: its own.
    """
    kind, target = kind_of(text)
    make = OUTPUTS[kind]
    taken = settings_of(make)
    return make(target, **{name: value for name, value in (options or {}).items() if name in taken})


def outputs_for(texts: Sequence[str], options: Mapping[str, Any]) -> list[Output]:
    """`output_for` of each; raises `InputError` for an option that none of them has."""
    taken = {name for text in texts for name in settings_of(OUTPUTS[kind_of(text)[0]])}
    for name in options:
        if name not in taken:
            raise InputError(f"--{name.replace('_', '-')}: none of the outputs {', '.join(texts)} has it; leave it out")
    return [output_for(text, options) for text in texts]


def settings_of(make: Callable[..., Output]) -> set[str]:
    """Names of the settings that an output has besides its target."""
    return set(inspect.signature(make).parameters) - {"target"}


def _split(text: str) -> tuple[str | None, Path]:
    kind, colon, target = text.partition(":")
    if colon and target and kind in OUTPUTS:
        return kind, output_path(target)
    if colon and re.fullmatch("[a-z_-]+", kind) and not target.startswith("//") and kind != "file":
        near = get_close_matches(kind, list(OUTPUTS), 1)
        hint = f"did you mean {near[0]}:{target}?" if near else f"expected one of {', '.join(OUTPUTS)}"
        raise InputError(f"{text}: there is no output {kind}; {hint} (a file of that name is ./{text})")
    return None, output_path(text)


def _endings() -> list[str]:
    found = [ending for name in OUTPUTS for ending in getattr(OUTPUTS[name], "chosen_by", ())]
    return [ending for ending in dict.fromkeys(found) if ending != FOLDER] + ["none (a folder)"]
