"""From the options of prepare, train and eval to recipes and data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arseg.errors import InputError

if TYPE_CHECKING:
    from arseg.data.datasets import LabelledFrames
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


def frames_of(
    camvid: Path | None, cityscapes: Path | None, arch: str, split: str, void: Any, sequences: Path | None = None
) -> LabelledFrames:
    """A split of the data set that the preset is made for."""
    from arseg.data.camvid import camvid_frames
    from arseg.data.cityscapes import cityscapes_frames

    name = arch.split("-")[0]
    root = {"camvid": camvid, "cityscapes": cityscapes}.get(name)
    if root is None:
        raise InputError(f"--{name}: {arch} needs it; give the folder of the data set")
    if name == "camvid":
        return camvid_frames(root, split, sequences=sequences, void=void)
    return cityscapes_frames(root, split, sequences=sequences)


def sequences_of(
    camvid: Path | None,
    cityscapes: Path | None,
    split: str,
    sequences: Path | None,
    consecutive: bool,
    output: Path,
    gop: int,
    stream: int | None,
    report: Callable[[str], None],
) -> LabelledFrames:
    from arseg.data.camvid import camvid_frames, extracted, labelled_run
    from arseg.data.cityscapes import cityscapes_frames

    if (camvid is None) == (cityscapes is None):
        raise InputError("--camvid, --cityscapes: give one of them")
    if cityscapes is not None:
        return cityscapes_frames(cityscapes, split, sequences=sequences)
    assert camvid is not None
    if consecutive:
        return labelled_run(camvid_frames(camvid, split))
    if sequences is None:
        raise InputError("--sequences: CamVid's videos are needed, as files or as folders of frames")
    cut = extracted(camvid, split, sequences, output, gop, stream=stream, report=report)
    return camvid_frames(camvid, split, sequences=cut)


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
    from arseg.data.camvid import CamVid
    from arseg.data.prepared import Prepared
    from arseg.evaluate.by_distance import prepared_passes, run_passes
    from arseg.labels import CAMVID

    if (camvid is None) == (prepared is None):
        raise InputError("--camvid, --prepared: give one of them")
    if prepared is not None:
        data = Prepared(prepared)
        return prepared_passes(data), data.gop, (data.dataset, data.classes)
    assert camvid is not None
    split = CamVid(camvid, "val")
    frames = [split[index] for index in range(len(split))]
    passes = list(run_passes(frames, gop=gop, rate=15, crf=crf, offsets=[0] if quick else None))
    return passes, gop, (CAMVID.name, CAMVID.classes)


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
