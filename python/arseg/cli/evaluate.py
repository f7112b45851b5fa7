"""`arseg eval`: mIoU by distance to the keyframe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .inputs import modes_of, network_of, passes_of, report_line
from .options import Camvid, Gop, Workers


def evaluate(
    camvid: Camvid = None,
    prepared: Annotated[
        Path | None, typer.Option(help="Folder made by `arseg prepare`, in place of --camvid.", show_default=False)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Made by `arseg train` or `arseg convert`.", show_default="those of the package"),
    ] = None,
    gop: Gop = 12,
    crf: Annotated[float, typer.Option(help="x264's quality of the encoded run.", min=0, max=51)] = 23,
    modes: Annotated[str, typer.Option(help="Ways to segment, of hr,lr,ar,warp,keep.")] = "hr,lr,ar,warp,keep",
    void: Annotated[
        Literal["count", "ignore"] | None,
        typer.Option(help="CamVid's Void in the means.", show_default="count, where the network predicts it"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures here.", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw them: .png, .pdf or .svg; needs matplotlib.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option(help="One pass over the run in place of one for each keyframe place.")] = False,
    workers: Workers = 1,
) -> None:
    """mIoU by distance to the keyframe: of CamVid's `val` run, encoded at 15 frames a second, or of prepared data."""
    from arseg.evaluate import report
    from arseg.evaluate.by_distance import check_classes, evaluate_passes
    from arseg.files import check_writable
    from arseg.terminal import out_console

    for path in (json, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        report.require_matplotlib()
    wanted = modes_of(modes)
    passes, gop, (data, classes) = passes_of(camvid, prepared, gop, crf, quick)
    model, wanted = network_of(weights, wanted)
    check_classes(model.label_set, data, classes, weights or "the package's weights")
    counted = None if void is None else void == "count"
    scores = evaluate_passes(model, passes, wanted, gop=gop, workers=workers, void=counted, report=report_line)
    console = out_console()
    console.print(report.scores_table(scores))
    console.print(report.class_table(scores))
    for line in report.notes(scores):
        console.print(line, highlight=False)
    if json is not None:
        report.save_scores(json, scores)
    if plot is not None:
        report.save_plot(plot, scores)
