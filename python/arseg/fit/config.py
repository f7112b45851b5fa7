"""The config of `arseg fit`: a TOML file over a preset, `--set` over both; what is unknown or unfit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from arseg.errors import InputError
from arseg.extras import needs
from arseg.files import StrPath
from arseg.networks.huggingface import processor_height
from arseg.train.adapt import AdaptRecipe
from arseg.train.recipes import RECIPES
from arseg.train.settings import AtLeast0, AtLeast1, changed, read_settings, with_new_names
from arseg.weights.files import CheckpointError, read_config, weights_file

from .presets import FIT_PRESETS

with needs("train", "arseg fit"):
    from pydantic import Field

    from arseg.train.settings import tomllib

if TYPE_CHECKING:
    from arseg.data.opened import OpenData

OTHER_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("folder", "path", "root", "data_root", "dataset", "images", "labels"), "source"),
    **dict.fromkeys(("network", "model", "arch", "architecture"), "line"),
    **dict.fromkeys(("checkpoint", "pretrained", "teacher"), "weights"),
    **dict.fromkeys(("learning_rate", "lr0"), "lr"),
    **dict.fromkeys(("size", "imgsz", "image_size"), "crop"),
}
"""What other packages call a key: it is no key here, and that one is named."""

Settings = Mapping[str, Any]
"""Values by dotted name, such as "hr.steps"; those at the top have no dot."""


@dataclass(frozen=True)
class DataTable:
    """`[data]`.

    Attributes:
        source: labelled stills, as `--data` takes them; None: none.
        videos: files without labels; `*` and `?` stand for parts of names.
        prepared, validation: folders of `arseg prepare`, labelled frames with their videos' vectors: to train `ar`
            on, and to score.
        licence: of the data, for whoever gets the weights.
    """

    source: str | None = None
    videos: tuple[str, ...] = ()
    prepared: str | None = None
    validation: str | None = None
    licence: str = ""


@dataclass(frozen=True)
class ModelTable:
    """`[model]`.

    Attributes:
        line: builds the network, as `--model` takes it; None: the default network.
        weights: of a network that is trained already, a file or a name of the zoo: it is taken as it is, without the
            phase hr.
        features, classifier: where a network that is not ours is cut; None: that is found.
    """

    line: str | None = None
    weights: str | None = None
    features: str | None = None
    classifier: str | None = None

    @property
    def path(self) -> Path | None:
        """Of the weights; raises `CheckpointError` for what looks like a name of the zoo and is none."""
        return None if self.weights is None else weights_file(self.weights)


@dataclass(frozen=True)
class TrainingTable:
    """What `[hr]` and `[ar]` have besides the settings of their recipe.

    Attributes:
        preset: the recipe, of `arseg.train.recipes.RECIPES`.
        start: weights of an earlier run of the phase to go on from.
        branch: of `[ar]`: weights of an earlier phase 2 whose low-resolution branch is taken.
    """

    preset: str = "default"
    start: str | None = None
    branch: str | None = None


@dataclass(frozen=True)
class AdaptTable(AdaptRecipe):
    """`[adapt]`: the recipe, and the network's settings where no phase ar has made it.

    Attributes:
        scale, window: see `ARSegNet`.
    """

    scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=1)] = 7


@dataclass(frozen=True)
class EvalTable:
    """`[eval]`: how the result is scored.

    Attributes:
        gop: frames from keyframe to keyframe.
        crf: x264's quality of what is encoded for it.
        stills: at most so many labelled frames of `val`, evenly spread; 0: all.
        consecutive: `val` is a video that is labelled frame by frame; None: where the data set knows that.
        worst: frames in the picture of the worst.
    """

    gop: Annotated[int, Field(ge=2)] = 12
    crf: Annotated[float, Field(ge=0, le=51)] = 23.0
    stills: AtLeast0 = 48
    consecutive: bool | None = None
    worst: AtLeast1 = 6


@dataclass(frozen=True)
class _Top:
    preset: str = "default"
    output: str = "runs/fit"
    seed: AtLeast0 = 0
    device: str = "cpu"
    workers: AtLeast0 | None = None
    tensorboard: bool = False


@dataclass(frozen=True)
class FitConfig:
    """A run, wholly said.

    Attributes:
        preset: of `FIT_PRESETS`, under the config's own settings.
        output: folder of all that the run makes; a run that is there is gone on with.
        seed: of every phase.
        device: cpu, cuda, cuda:1.
        workers: processes that make the batches of `hr` and `ar`; None: by the cores.
        tensorboard: also write the curves of `hr` and `ar` for TensorBoard.
        hr, ar: what the recipes `hr_recipe` and `ar_recipe` are of, and started from.
        layers: what it was made of, see `config_of`.
    """

    preset: str
    output: Path
    seed: int
    device: str
    workers: int | None
    tensorboard: bool
    hr_recipe: Any
    ar_recipe: Any
    data: DataTable = field(default_factory=DataTable)
    model: ModelTable = field(default_factory=ModelTable)
    hr: TrainingTable = field(default_factory=TrainingTable)
    ar: TrainingTable = field(default_factory=TrainingTable)
    adapt: AdaptTable = field(default_factory=AdaptTable)
    eval: EvalTable = field(default_factory=EvalTable)
    layers: tuple[tuple[str, Settings], ...] = field(default=(), repr=False, compare=False)

    def fitted(self, data: OpenData | None, prepared: Path | None = None) -> FitConfig:
        """The same with recipes that follow from these data, where nothing in the config says otherwise.

        `prepared`: a folder of `arseg prepare`, for phase 2.
        """
        return config_of(*self.layers, data=data, prepared=prepared)

    def record(self) -> dict[str, Any]:
        """All settings by table, in JSON's terms; a run of them is the same run."""
        top: dict[str, Any] = {name: getattr(self, name) for name in _names(_Top)}
        top["output"] = str(self.output)
        tables = {name: asdict(getattr(self, name)) for name in ("data", "model", "adapt", "eval")}
        for phase, recipe in (("hr", self.hr_recipe), ("ar", self.ar_recipe)):
            tables[phase] = {**asdict(getattr(self, phase)), **asdict(recipe)}
        tables["hr"].pop("branch")
        return {**top, **json.loads(json.dumps(tables))}


def read_fit_config(path: StrPath | None, given: Iterable[str] = ()) -> FitConfig:
    """The config in a TOML file, with `given` (`key=value`, dotted) in place of its own.

    Raises `InputError`, one sentence, for a key that there is not (it names the nearest one) and for a value of another
    type or out of range; `FileNotFoundError` where there is no file.
    """
    from_file = {} if path is None else _read(Path(path))
    return config_of((str(path), from_file), ("--set", read_settings(given)))


def config_of(*layers: tuple[str, Settings], data: OpenData | None = None, prepared: Path | None = None) -> FitConfig:
    """`(where, settings)` one over the other, over the preset that they name; `where` begins messages.

    Args:
        data, prepared: what the recipes follow from where no layer says otherwise; without them they are CamVid's.
    """
    named = {key: value for _, settings in layers for key, value in settings.items()}
    preset = changed(_Top(), {k: named[k] for k in ("preset",) if k in named}, _where("preset", layers)).preset
    with _said_by("preset", layers):
        every = (f"preset {preset}", FIT_PRESETS[preset]), *layers
    named = {**FIT_PRESETS[preset], **named}
    defaults: dict[str, Any] = {
        "": _Top(),
        "data": DataTable(),
        "model": ModelTable(),
        "hr": TrainingTable(),
        "ar": TrainingTable(),
        "adapt": AdaptTable(),
        "eval": EvalTable(),
    }
    trainings = {}
    for phase in RECIPES:
        with _said_by(f"{phase}.preset", layers):
            trainings[phase] = RECIPES[phase][str(named.get(f"{phase}.preset", "default"))]
    keys = {table: _names(default) for table, default in defaults.items()}
    keys["hr"] = [key for key in keys["hr"] if key != "branch"]
    own = {phase: [*keys[phase]] for phase in trainings}  # what `[hr]` and `[ar]` have besides their recipes
    for phase, training in trainings.items():
        keys[phase] += _names(training.recipe)
    placed = [
        (where, *_place(dotted, value, keys, where), value) for where, layer in every for dotted, value in layer.items()
    ]

    def laid(base: Any, table: str, wanted: Callable[[str], bool] = lambda key: True) -> Any:
        for where, name, key, value in placed:
            if name == table and wanted(key):
                base = changed(base, {key: value}, f"{where}: [{table}]" if table else where)
        return base

    def seeded(recipe: Any, table: str) -> Any:
        has = "seed" in _names(recipe) and f"{table}.seed" not in named
        return replace(recipe, seed=top.seed) if has else recipe

    top = laid(defaults.pop(""), "")
    tables = {name: laid(default, name, own.get(name, keys[name]).__contains__) for name, default in defaults.items()}
    tables["adapt"] = seeded(tables["adapt"], "adapt")
    recipes: dict[str, Any] = {}
    model = tables["model"]
    of_line = None if data is None or "hr.height" in named or model.weights else processor_height(model.line)
    height = _height_of(model)
    for phase, training in trainings.items():  # hr first: the height that it trains for is that of ar's teacher
        base = training.recipe_for(data, *((of_line,) if phase == "hr" else (height, prepared)))
        recipe = laid(base, phase, lambda key: key not in own[phase])  # noqa: B023
        recipes[phase] = seeded(recipe, phase)
        height = height or getattr(recipe, "height", None) or None
    return FitConfig(
        preset=top.preset,
        output=Path(top.output),
        seed=top.seed,
        device=top.device,
        workers=top.workers,
        tensorboard=top.tensorboard,
        hr_recipe=recipes["hr"],
        ar_recipe=recipes["ar"],
        layers=layers,
        **tables,
    )


def _where(key: str, layers: Sequence[tuple[str, Settings]]) -> str:
    """The uppermost layer that has a key."""
    return next((where for where, settings in reversed(layers) if key in settings), layers[0][0])


@contextmanager
def _said_by(key: str, layers: Sequence[tuple[str, Settings]]) -> Iterator[None]:
    """Begins messages about the value of a key with the layer that it stands in, and its table."""
    try:
        yield
    except InputError as error:
        table = key.rpartition(".")[0]
        raise InputError(f"{_where(key, layers)}: {f'[{table}]: ' if table else ''}{error}") from None


def _height_of(model: ModelTable) -> int | None:
    """Of the frames as the trained network sees them; None where there is none, or it does not say."""
    path = model.path
    if path is None or path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        return read_config(path)[1].get("height")
    except CheckpointError:  # a network's own state
        return None


def as_toml(record: Mapping[str, Any]) -> str:
    """`FitConfig.record` as a TOML file, which reads back as the same config; what is None is left out."""

    def line(key: str, value: Any) -> str:
        return f"{key} = {json.dumps(value, ensure_ascii=False)}"

    top = [(key, value) for key, value in record.items() if not isinstance(value, Mapping)]
    lines = [line(key, value) for key, value in top if value is not None]
    for name, table in record.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", *(line(key, value) for key, value in table.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _names(settings: Any) -> list[str]:
    return [f.name for f in fields(settings)]


def _read(path: Path) -> dict[str, Any]:
    """The file's values by dotted name."""
    try:
        record = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such file; expected a config, which `arseg fit --init {path}` begins"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _place(dotted: str, value: Any, keys: Mapping[str, list[str]], where: str) -> tuple[str, str]:
    """The table and the key of a dotted name; `InputError` names the nearest one where there is none."""
    table, _, key = dotted.rpartition(".")
    tables = ", ".join(f"[{name}]" for name in keys if name)
    if dotted in keys:
        raise InputError(f"{where}: {dotted}: expected a table [{dotted}] of settings, got {value!r}")
    if isinstance(value, Mapping):
        raise InputError(f"{where}: unknown table [{dotted}]; expected {tables}, with no table inside")
    if table in keys:
        (new,) = with_new_names({key: None}, keys[table])
        if new in keys[table]:
            return table, key
    near = _nearest(table, key, keys)
    if near:
        hint = f"did you mean {' or '.join(near[:3])}?"
    elif table in keys and table:
        hint = f"[{table}] has {', '.join(keys[table])}"
    else:
        hint = f"expected {', '.join(keys[''])}, or a table of {tables}"
    raise InputError(f"{where}: unknown key {dotted!r}; {hint}")


def _nearest(table: str, key: str, keys: Mapping[str, list[str]]) -> list[str]:
    """Dotted names that may have been meant: first of the same table, then of that key in others, then alike ones."""

    def of(names: Iterable[str], wanted: Callable[[str], bool]) -> list[str]:
        return [f"{name}.{own}" if name else own for name in names for own in keys[name] if wanted(own)]

    def alike(names: Iterable[str], cutoff: float) -> list[str]:
        nearest = get_close_matches(key, [own for name in names for own in keys[name]], 1, cutoff)
        return of(names, nearest.__contains__)

    meant = OTHER_WORDS.get(key, "")
    named = [table] if table in keys else get_close_matches(table, [name for name in keys if name], 1)
    within = alike(named, 0.75) or of(named, meant.__eq__)
    same = of((name for name in keys if not table or name not in named), key.__eq__)
    if within or same:
        return within + same
    elsewhere = of(keys, meant.__eq__)
    return (alike(named, 0.6) if table in keys and table else alike(keys, 0.75)) or elsewhere
