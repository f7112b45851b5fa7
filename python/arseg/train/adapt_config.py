"""All that `arseg adapt` can be told, as a TOML file has it: the recipe, the network and the videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from arseg.errors import InputError

from .adapt import AdaptRecipe
from .settings import changed, tomllib

Colour = tuple[float, float, float]
"""A number for each of R, G, B."""


@dataclass(frozen=True)
class AdaptConfig(AdaptRecipe):
    """The recipe, and what `arseg.accelerate` and `arseg.train.adapt.adapt` take besides.

    Attributes:
        videos: files, as from where the command runs.
        model: the network's line.
        weights: its state; None: as the line makes it.
        features, classifier: where it is cut; None: that is found.
        scale, window: see `ARSegNet`.
        mean, std: of the normalisation; None: the network's.
        device: where to train.
        transcode, stream: how videos are read.
        licence: of the result.
    """

    videos: tuple[str, ...] = ()
    model: str | None = None
    weights: str | None = None
    features: str | None = None
    classifier: str | None = None
    scale: float = 0.5
    window: int = 7
    mean: Colour | None = None
    std: Colour | None = None
    device: str = "cpu"
    transcode: bool = True
    stream: int | None = None
    licence: str | None = None

    @property
    def recipe(self) -> AdaptRecipe:
        return AdaptRecipe(**{one.name: getattr(self, one.name) for one in fields(AdaptRecipe)})


def config_of(path: Path | None, flags: Mapping[str, Any], report: Callable[[str], object]) -> AdaptConfig:
    """The defaults, changed by a TOML file, then by `flags` that are not None.

    Raises `InputError` for unknown keys and values that do not fit, and where there is no network or no video.
    """
    config = AdaptConfig()
    if path is not None:
        config = changed(config, _parsed(_read(path), f"{path}: "), str(path), report)
    given = {name: value for name, value in flags.items() if value is not None}
    config = changed(config, _parsed(given, ""), "", report)
    for name, option in (("model", "--model"), ("videos", "VIDEO…")):
        if not getattr(config, name):
            raise InputError(f"{option}: expected one, or {name} in a file of --config; give one of them")
    return config


_WORDS: Mapping[str, tuple[str, type, int, str]] = {
    "crop": ("x", int, 2, "height and width such as 256x384"),
    "mean": (",", float, 3, "three numbers such as 0.485,0.456,0.406"),
    "std": (",", float, 3, "three numbers such as 0.229,0.224,0.225"),
}
"""Settings that may be words, as on the command line: what stands between the numbers, of which kind they are, how many
there are, and what is expected."""


def _parsed(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`settings` with lists of numbers in place of such words, and `cache_gb` for `cache`, the option's name."""
    found = {"cache_gb" if key == "cache" else key: value for key, value in settings.items()}
    for key, (between, kind, count, expected) in _WORDS.items():
        text = found.get(key)
        if not isinstance(text, str):
            continue
        try:
            found[key] = [kind(part) for part in text.lower().split(between)]
        except ValueError:
            found[key] = []
        if len(found[key]) != count:
            raise InputError(f"{where}{key}: expected {expected}, got {text!r}")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected a TOML file of settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
