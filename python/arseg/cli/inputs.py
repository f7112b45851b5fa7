"""From the options of prepare, train and eval to recipes and data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.data.datasets import DataSet, LabelledFrames
    from arseg.train.paper.data import Pairs
    from arseg.train.paper.recipes import PaperArRecipe


def recipe_of(
    phase: str,
    preset: str | None,
    config: Path | None,
    settings: list[str] | None,
    presets: dict[str, Any],
    **flags: Any,
) -> tuple[str, Any]:
    """The preset's recipe; changed by the file, then by --set, then by options of their own."""
    from arseg.train.settings import changed, preset_named, read_recipe_file, read_settings

    named, from_file = (None, {}) if config is None else read_recipe_file(config, phase)
    name = preset or named or "default"
    recipe = preset_named(presets, name)
    recipe = changed(recipe, from_file, str(config))
    recipe = changed(recipe, read_settings(settings or []), "--set")
    return name, changed(recipe, {key: value for key, value in flags.items() if value is not None}, "options")


def report_line(line: str) -> None:
    """What a long run says of itself: on stderr, once where several processes run."""
    import typer

    from arseg.train import distributed

    if distributed.is_first():
        typer.echo(line, err=True)


def default_data(camvid: Path | None, preset: str) -> Path:
    if camvid is None:
        raise InputError(f"--camvid: preset {preset} needs CamVid; give its folder")
    return camvid


def one_of(**roots: Path | None) -> tuple[DataSet, Path]:
    """The data set whose folder was given, of options named as in `DATA_SETS`, and that folder."""
    from arseg.data.registry import DATA_SETS

    given = [(DATA_SETS[name], root) for name, root in roots.items() if root is not None]
    if len(given) != 1:
        raise InputError(f"{', '.join(f'--{name}' for name in roots)}: give one of them")
    return given[0]


def frames_of(camvid: Path | None, cityscapes: Path | None, arch: str, split: str, void: Any) -> LabelledFrames:
    """A split of the data set that the preset is made for: the first word of its architecture's name."""
    from arseg.data.registry import DATA_SETS

    name = arch.split("-")[0]
    root = {"camvid": camvid, "cityscapes": cityscapes}.get(name)
    if root is None:
        raise InputError(f"--{name}: {arch} needs it; give the folder of the data set")
    return DATA_SETS[name].frames(root, split, void=void)


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


def pairs_of(
    prepared: Path | None, camvid: Path | None, output: Path, recipe: PaperArRecipe, report: Callable[[str], None]
) -> Pairs:
    from arseg.train.paper.data import prepared_pairs, still_pairs

    if prepared is not None:
        return prepared_pairs(prepared, recipe)
    if camvid is None:
        raise InputError("--prepared: give a folder made by `arseg prepare`, or --camvid to make pairs from its stills")
    return still_pairs(camvid, output / "pairs", recipe, report)


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
    from arseg.weights.files import DEFAULT_WEIGHTS, load_checkpoint

    path = DEFAULT_WEIGHTS if weights is None else weights
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
