"""`arseg eval`: IoU by class of labelled stills, and by distance to the keyframe of labelled videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from arseg.errors import InputError

from .inputs import data_of, labelled_passes, modes_of, network_of, report_line
from .options import (
    Camvid,
    Data,
    Device,
    Figures,
    Gop,
    Json,
    NetworkHeight,
    ScoredModel,
    SegmenterBatch,
    SegmenterPrecision,
    Workers,
)

if TYPE_CHECKING:
    from arseg.data.opened import OpenData
    from arseg.networks.arseg_net import ARSegNet

MODES = "hr,lr,ar,warp,keep"


def evaluate(
    data: Data = None,
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder made by `arseg prepare`, in place of --data.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Of the data: train, val or test.")] = "val",
    consecutive: Annotated[
        bool | None,
        typer.Option(
            "--consecutive/--stills",
            help="Score the split by distance, as videos labelled frame by frame, or as stills.",
            show_default="what the data set knows",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", "-w", help="Made by `arseg train` or `arseg convert`.", show_default="those of the package"
        ),
    ] = None,
    model: ScoredModel = None,
    gop: Gop = 12,
    crf: Annotated[float, typer.Option(help="x264's quality of the encoded run.", min=0, max=51)] = 23,
    modes: Annotated[str, typer.Option(help="Ways to segment; of stills hr and lr.")] = MODES,
    height: NetworkHeight = None,
    void: Annotated[
        Literal["count", "ignore"] | None,
        typer.Option(help="CamVid's Void in the means.", show_default="count, where the network predicts it"),
    ] = None,
    figures: Figures = None,
    json: Json = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw scores by distance: .png, .pdf or .svg; needs matplotlib.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option(help="One pass over the run in place of one for each keyframe place.")] = False,
    precision: SegmenterPrecision = None,
    device: Device = "cpu",
    batch: SegmenterBatch = None,
    workers: Workers = 1,
) -> None:
    """IoU by class, with and without ignored pixels: of labelled stills, or by distance to the keyframe.

    By distance are scored prepared data, and a split that is a video labelled frame by frame, encoded at 15 frames a
    second.
    """
    from arseg.device import check_device, in_bfloat16
    from arseg.evaluate import report
    from arseg.evaluate.by_distance import check_classes, named_as, prepared_passes
    from arseg.files import check_writable
    from arseg.labels import VOID

    for path in (figures, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        report.require_matplotlib()
    check_device(device)
    in_bfloat16(precision, device)
    wanted = modes_of(modes)
    how = {"device": device, "precision": precision, "batch": batch}
    name: Path | str = weights or model or "the package's weights"
    if prepared is not None:
        from arseg.data.prepared import Prepared

        if data is not None or camvid is not None:
            raise InputError("--data, --camvid, --prepared: give one of them")
        made = Prepared(prepared)
        net, wanted = network_of(weights, wanted, model, height)
        check_classes(net.label_set, made.dataset, made.classes, name)
        known = net.known_labels()
        net.label_set = named_as(known, replace(known, name=made.dataset, classes=made.classes, palette=made.palette))
        _by_distance(net, prepared_passes(made), wanted, made.gop, workers, void, False, how, (figures, json), plot)
        return
    if data is None and camvid is None:
        raise InputError("--data, --camvid, --prepared: give one of them")
    opened = data_of(data, camvid=camvid)
    net, wanted = network_of(weights, wanted, model, height)
    classes = [one for one in opened.labels.classes if one != VOID]
    check_classes(net.label_set, opened.name, classes, name)
    net.label_set = named_as(net.known_labels(), opened.labels)
    if opened.consecutive(split) if consecutive is None else consecutive:
        passes = labelled_passes(opened, split, gop, crf, quick)
        _by_distance(net, passes, wanted, gop, workers, void, True, how, (figures, json), plot)
    elif plot is not None:
        raise InputError(f"--plot: draws scores by distance, and {opened.name}'s {split} is stills; see --consecutive")
    else:
        _stills(net, opened, split, modes, wanted, how, (figures, json))


def _by_distance(
    model: ARSegNet,
    passes: Sequence[Any],
    modes: tuple[Any, ...],
    gop: int,
    workers: int,
    void: str | None,
    ignored: bool,
    how: dict[str, Any],
    asked: tuple[Path | None, bool],
    plot: Path | None,
) -> None:
    from arseg.evaluate import report
    from arseg.evaluate.by_distance import evaluate_passes
    from arseg.terminal import out_console

    counted = None if void is None else void == "count"
    options: dict[str, Any] = {"void": counted, "ignored": ignored, "report": report_line, **how}
    scores = evaluate_passes(model, passes, modes, gop=gop, workers=workers, **options)
    if plot is not None:
        report.save_plot(plot, scores)
    if _told(asked, report.scores_record(scores)):
        return
    console = out_console()
    tables = (report.scores_table, report.consistency_table, report.class_table, report.ignored_table)
    for table in (make(scores) for make in tables):
        if table is not None:
            console.print(table)
    for line in report.notes(scores):
        console.print(line, highlight=False)


def _stills(
    model: ARSegNet,
    data: OpenData,
    split: str,
    asked: str,
    modes: tuple[Any, ...],
    how: dict[str, Any],
    wanted: tuple[Path | None, bool],
) -> None:
    from arseg.evaluate.stills import STILL_MODES, score_stills, stills_notes, stills_record, stills_table
    from arseg.terminal import counting, err_console, out_console

    chosen = modes if asked != MODES else tuple(mode for mode in modes if mode in STILL_MODES)
    frames = data.frames(split)
    with counting(err_console(), "segmenting") as progress:
        scores = score_stills(model, frames, chosen, progress=progress, **how)
    if _told(wanted, stills_record(scores)):
        return
    typer.echo(f"{data.name}: {len(frames)} stills of {split}; split {data.split_by}")
    console = out_console()
    console.print(stills_table(scores))
    for line in stills_notes(scores):
        console.print(line, highlight=False)


def _told(asked: tuple[Path | None, bool], record: Any) -> bool:
    """Writes the figures to the file of --figures, and prints them where --json asks; whether it did that."""
    from json import dumps

    from arseg.files import save_json

    path, printed = asked
    if path is not None:
        save_json(path, record)
    if printed:
        typer.echo(dumps(record, indent=2, allow_nan=False))
    return printed
