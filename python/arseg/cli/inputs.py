"""From the options of prepare, train and eval to recipes and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.data.datasets import DataSet, LabelledFrames
    from arseg.data.opened import OpenData


def recipe_of(
    phase: str,
    preset: str | None,
    config: Path | None,
    settings: list[str] | None,
    data: OpenData | None = None,
    height: int | None = None,
    prepared: Path | None = None,
    **flags: Any,
) -> tuple[str, Any]:
    """The name of a preset, and its recipe as changed by the file, then by --set, then by options of their own.

    `data`, `height`, `prepared`: what the recipe follows from before it is changed, see `Training.recipe_for`.
    """
    from arseg.train.recipes import RECIPES
    from arseg.train.settings import changed, read_recipe_file, read_settings

    named, from_file = (None, {}) if config is None else read_recipe_file(config, phase)
    name = preset or named or "default"
    if phase == "hr" and "height" in {**from_file, **read_settings(settings or [])}:
        height = None  # of the network: another is asked for
    recipe = RECIPES[phase][name].recipe_for(data, height, prepared)
    recipe = changed(recipe, from_file, str(config), report_line)
    recipe = changed(recipe, read_settings(settings or []), "--set", report_line)
    return name, changed(recipe, {key: value for key, value in flags.items() if value is not None}, "")


def run_recipe(phase: str, given: dict[str, Any], device: str, source: str | None = None, **inputs: Any) -> None:
    """Trains by what `given` chooses (see `recipe_of`) on `inputs` (those of `RunInputs`); prints the weights' path.

    `source`: what `--data` names.
    """
    import typer

    from arseg.networks.huggingface import processor_height
    from arseg.train import distributed
    from arseg.train.inputs import RunInputs
    from arseg.train.recipes import RECIPES
    from arseg.zoo import weights_file

    inputs["data"] = _opened(source, inputs)
    for key in ("teacher", "start", "branch"):
        if inputs.get(key) is not None:
            inputs[key] = weights_file(inputs[key])
    data = inputs["data"]
    if phase == "ar":
        height = _height(inputs.get("teacher"))
    else:
        height = processor_height(inputs.get("model"))
        if height is not None and data is None and inputs.get("camvid") is not None:
            data = data_of(None, camvid=inputs["camvid"])
    name, recipe = recipe_of(phase, **given, data=data, height=height, prepared=inputs.get("prepared"))
    if phase == "hr" and height is not None and hasattr(recipe, "height"):
        report_line(_seen_at(recipe.height, height, inputs["model"]))
    with distributed.processes(device) as mine:
        path = RECIPES[phase][name].run(recipe, RunInputs(preset=name, device=mine, report=report_line, **inputs))
        if distributed.is_main_process():
            typer.echo(path)


def _opened(source: str | None, inputs: Mapping[str, Any]) -> OpenData | None:
    """The data set of --data; its CamVid and Cityscapes are those of the options of these names, too."""
    if source is None:
        return None
    for option in ("camvid", "cityscapes"):
        if inputs.get(option) is not None:
            raise InputError(f"--data, --{option}: give one of them")
    from arseg.data.opened import open_data

    return open_data(source)


def _height(weights: Path | None) -> int | None:
    """Of the frames as the network in a weights file sees them; None where there is none, or it does not say."""
    from arseg.weights.files import read_config

    return None if weights is None or not weights.is_file() else read_config(weights)[1].get("height")


def _seen_at(height: int, own: int, model: str) -> str:
    """At which height a network is trained that has one of its `own`."""
    if height == own:
        return f"{model}: sees frames at a height of {own}, as its image processor does; --set height=… for another"
    taken = f"a height of {height}" if height else "frames as they are"
    return f"{model}: is trained for {taken}; its image processor has one of {own}"


def report_line(line: str) -> None:
    """What a long run says of itself: on stderr, once where several processes run."""
    import typer

    from arseg.train import distributed

    if distributed.is_main_process():
        typer.echo(line, err=True)


def sequences_of(
    data: DataSet,
    root: Path,
    split: str,
    sequences: Path | None,
    consecutive: bool,
    output: Path,
    gop: int,
    stream: int | None,
    report: Callable[[str], None],
) -> LabelledFrames:
    """The labelled frames that `arseg prepare` encodes, with those around them."""
    if consecutive:
        return data.labelled_run(root, split)
    return data.frames_in_videos(root, split, sequences, folder=output, gop=gop, stream=stream, report=report)


def data_of(source: str | None, **roots: Path | None) -> OpenData:
    """The data set that --data names, or an older option named as in `DATA_SETS` with its folder."""
    from arseg.data.opened import open_data

    given = [source] if source is not None else []
    given += [f"{name}:{root}" for name, root in roots.items() if root is not None]
    if len(given) != 1:
        raise InputError(f"--data{''.join(f', --{name}' for name in roots)}: give one of them")
    return open_data(given[0])


def labelled_passes(data: OpenData, split: str, gop: int, crf: float, quick: bool) -> list[Any]:
    """A split's videos as `arseg eval` encodes them, ignored pixels marked; those with too few frames are left out."""
    from arseg.data.splits import runs_of
    from arseg.evaluate.by_distance import run_passes, with_ignored

    frames, passes = data.frames(split), []
    least = 1 if quick else gop
    for run in runs_of([frame.image for frame in frames.frames]):
        first, last = (frames.frames[place].name for place in (run[0], run[-1]))
        if len(run) < least:
            report_line(f"left out: {first} to {last}, {len(run)} frames, {least} are needed")
            continue
        stills = with_ignored([frames[place] for place in run], len(data.labels.classes))
        offsets = [0] if quick else None
        passes += list(run_passes(stills, gop=gop, rate=data.source.run_rate, crf=crf, offsets=offsets))
    if not passes:
        raise InputError(f"--consecutive: {data.name}'s {split} has no video of {least} labelled frames; take --stills")
    return passes


def network_of(
    weights: Path | None, modes: tuple[Any, ...], line: str | None = None, height: int | None = None
) -> tuple[Any, tuple[Any, ...]]:
    """The network to score, and the ways in which it can segment: a keyframe network alone has no fused one.

    `height`: of the frames as it sees them; None: as it was trained for.
    """
    from arseg.acceleration.opened import around, open_network
    from arseg.networks.arseg_net import ARSegNet
    from arseg.networks.fused import FusedNetwork
    from arseg.zoo import DEFAULT

    path = weights or line or DEFAULT
    model: Any = open_network(weights, line)
    if height is not None:
        model.input_height = height
    if isinstance(model, ARSegNet):
        return model, modes
    if isinstance(model, FusedNetwork):
        raise InputError(f"{path}: the low-resolution network alone; convert it together with the keyframes' (--fused)")
    left = tuple(mode for mode in modes if mode != "ar")
    if not left:
        raise InputError(f"{path}: the keyframe network alone; ar needs what `arseg train ar` or `arseg adapt` makes")
    return around(model), left


def modes_of(text: str) -> tuple[Any, ...]:
    from arseg.segment.modes import NAMES

    found = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in found if name not in NAMES]
    if wrong or not found:
        raise InputError(f"--modes: expected some of {','.join(NAMES)}, got {text!r}")
    return tuple(name for name in NAMES if name in found)


def distances_of(text: str, gop: int) -> list[int]:
    """'11', '0-11', '1,5,11' or a mixture."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not part.isascii() or not first.isdigit() or (dash and not last.isdigit()):
            raise InputError(f"--distances: expected numbers such as 11, 0-11 or 1,5,11, got {text!r}")
        if int(last or first) >= gop:
            raise InputError(f"--distances: expected numbers from 0 to gop - 1 = {gop - 1}, got {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)
