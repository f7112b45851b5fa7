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
    **flags: Any,
) -> tuple[str, Any]:
    """The name of a preset, and its recipe as changed by the file, then by --set, then by options of their own.

    `data`, `height`: what the recipe follows from before it is changed, see `Training.recipe_for`.
    """
    from arseg.train.recipes import RECIPES
    from arseg.train.settings import changed, read_recipe_file, read_settings

    named, from_file = (None, {}) if config is None else read_recipe_file(config, phase)
    name = preset or named or "default"
    recipe = RECIPES[phase][name].recipe_for(data, height)
    recipe = changed(recipe, from_file, str(config), report_line)
    recipe = changed(recipe, read_settings(settings or []), "--set", report_line)
    return name, changed(recipe, {key: value for key, value in flags.items() if value is not None}, "options")


def one_of(**roots: Path | None) -> tuple[DataSet, Path]:
    """The data set whose folder was given, of options named as in `DATA_SETS`, and that folder."""
    from arseg.data.registry import DATA_SETS

    given = [(DATA_SETS[name], root) for name, root in roots.items() if root is not None]
    if len(given) != 1:
        raise InputError(f"{', '.join(f'--{name}' for name in roots)}: give one of them")
    return given[0]


def run_recipe(phase: str, given: dict[str, Any], device: str, source: str | None = None, **inputs: Any) -> None:
    """Trains by what `given` chooses (see `recipe_of`) on `inputs` (those of `RunInputs`); prints the weights' path.

    `source`: what `--data` names.
    """
    import typer

    from arseg.train import distributed
    from arseg.train.inputs import RunInputs
    from arseg.train.recipes import RECIPES

    inputs["data"] = _opened(source, inputs)
    name, recipe = recipe_of(phase, **given, data=inputs["data"], height=_height(inputs.get("teacher")))
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


def passes_of(
    camvid: Path | None, prepared: Path | None, gop: int, crf: float, quick: bool
) -> tuple[list[Any], int, tuple[str, tuple[str, ...]]]:
    """The videos to score, frames from keyframe to keyframe, and what the labels are: the data's name and classes."""
    from arseg.data.prepared import Prepared
    from arseg.evaluate.by_distance import prepared_passes, run_passes
    from arseg.labels import VOID

    if (camvid is None) == (prepared is None):
        raise InputError("--camvid, --prepared: give one of them")
    if prepared is not None:
        made = Prepared(prepared)
        return prepared_passes(made), made.gop, (made.dataset, made.classes)
    data, root = one_of(camvid=camvid)
    frames = data.stills(root, "val")
    passes = list(run_passes(frames, gop=gop, rate=data.run_rate, crf=crf, offsets=[0] if quick else None))
    return passes, gop, (data.labels.name, tuple(name for name in data.labels.classes if name != VOID))


def network_of(weights: Path | None, modes: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The network to score, and the ways in which it can segment: a keyframe network alone has no fused one."""
    from arseg.networks.arseg_net import ARSegNet
    from arseg.networks.fused import FusedNetwork
    from arseg.weights.files import load_checkpoint
    from arseg.zoo import DEFAULT

    path = weights or DEFAULT
    model = load_checkpoint(path)
    if isinstance(model, ARSegNet):
        return model, modes
    if isinstance(model, FusedNetwork):
        raise InputError(f"{path}: the low-resolution network alone; convert it together with the keyframes' (--fused)")
    left = tuple(mode for mode in modes if mode != "ar")
    if not left:
        raise InputError(f"{path}: the keyframe network alone; ar needs the weights of `arseg train ar`")
    alone = ARSegNet(model, channels=model.channels)  # type: ignore[arg-type]
    alone.label_set, alone.input_height = model.label_set, model.input_height  # type: ignore[assignment]
    return alone.eval(), left


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
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InputError(f"--distances: expected numbers such as 11, 0-11 or 1,5,11, got {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    if max(found, default=0) >= gop:
        raise InputError(f"--distances: expected numbers from 0 to gop - 1 = {gop - 1}, got {text!r}")
    return sorted(found)
