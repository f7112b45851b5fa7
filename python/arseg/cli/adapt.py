"""`arseg adapt`: the fusion around any network, trained on unlabelled videos."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from arseg.errors import InputError

from .inputs import report_line
from .options import NETWORK_HELP, Arithmetic, Figures, Json, stream_option


def adapt(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights to write, .safetensors; replaced if it exists.")
    ],
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="VIDEO…", help="Videos; no labels.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=NETWORK_HELP, show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with any of these options, such as held_out = 0.1; options given here go before it. What "
            "ran is in RUN/config.toml.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--weights", "-w", help="State of the network, .safetensors or .pth.", show_default="as --model makes it"
        ),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Submodule whose output is fused.", show_default="the classifier's input")
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="Submodule that makes logits of it.", show_default="looked for")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder for state, log and decoded frames; resumed if it exists.", show_default="OUTPUT.run"),
    ] = None,
    figures: Figures = None,
    json: Json = False,
    scale: Annotated[
        float | None, typer.Option(help="Resolution of frames between keyframes, up to 1.", show_default="0.5")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Side of the local attention, odd.", min=1, show_default="7")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, show_default="1000")] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Views of a step, seen in parts where memory runs out.", min=1, show_default="4"),
    ] = None,
    crop: Annotated[
        str | None, typer.Option(help="Height and width of training views.", show_default="256x384")
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(help="Resize frames to this height.", min=16, show_default="the model's, or the videos'"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--lr", help="Learning rate of the fusion.", show_default="0.001")
    ] = None,
    gop: Annotated[
        int | None, typer.Option(help="A keyframe at least every so many frames.", min=2, show_default="12")
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Share at the end of each video to measure on and not to train on.",
            min=0,
            max=0.9,
            show_default="0.2",
        ),
    ] = None,
    mean: Annotated[str | None, typer.Option(help="R,G,B of the normalisation.", show_default="the model's")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B of the normalisation.", show_default="the model's")] = None,
    cache_gb: Annotated[
        float | None,
        typer.Option("--cache", help="Gigabytes of decoded frames to keep in the run's folder.", show_default="4"),
    ] = None,
    precision: Annotated[
        Arithmetic | None, typer.Option(help="Arithmetic of the network.", show_default="float32")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where the network runs: cpu, cuda, cuda:1.", show_default="cpu")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of views and augmentation.", show_default="0")] = None,
    transcode: Annotated[
        bool | None,
        typer.Option(
            "--transcode/--no-transcode",
            help="Find motion vectors by encoding again where a video has none to use.",
            show_default="--transcode",
        ),
    ] = None,
    stream: Annotated[
        int | None,
        stream_option("Which video stream of each file to read, counted from 0."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Terms of use, for the weights file.", show_default="those in the model's file"),
    ] = None,
) -> None:
    """Train the fusion around any segmentation network on videos without labels, the network being the teacher."""
    from arseg.video.names import video_file

    files = [video_file(video) for video in videos or []]
    _refuse_paths(files, output, figures)

    from json import dumps

    from arseg.acceleration.network import accelerate
    from arseg.files import replacing, save_json
    from arseg.fit.config import as_toml
    from arseg.terminal import out_console
    from arseg.train.adapt import adapt as train
    from arseg.train.adapt_config import config_of
    from arseg.train.adapt_report import table
    from arseg.weights.files import licence_of
    from arseg.weights.made import how_made

    flags: dict[str, Any] = {"videos": [str(file) for file in files] or None, "model": model}
    flags |= {"weights": None if teacher is None else str(teacher), "features": features, "classifier": classifier}
    flags |= {"scale": scale, "window": window, "steps": steps, "batch": batch, "height": height, "lr": rate}
    flags |= {"crop": crop, "gop": gop, "held_out": held_out, "mean": mean, "std": std}
    flags |= {"cache_gb": cache_gb, "precision": precision, "device": device, "seed": seed, "transcode": transcode}
    flags |= {"stream": stream, "licence": licence}
    given = config_of(config, flags, report_line)
    assert given.model is not None
    files = [video_file(video) for video in given.videos]
    _refuse_paths(files, output, figures)
    weights = None if given.weights is None else Path(given.weights)
    net = accelerate(
        given.model,
        given.features,
        given.classifier,
        weights=weights,
        scale=given.scale,
        window=given.window,
        mean=given.mean,
        std=given.std,
    )
    folder = run or output.with_name(f"{output.name}.run")
    record = train(
        net,
        files,
        folder,
        given.recipe,
        device=given.device,
        transcode=given.transcode,
        stream=given.stream,
        report=report_line,
    )
    source = Path(given.model) if Path(given.model).is_file() else None
    terms = given.licence or (None if source is None else licence_of(source))
    net.save(output, how_made(given.recipe, videos=files, licence=terms, teacher=weights or source))
    with replacing(folder / "config.toml") as part:
        part.write_text(as_toml(asdict(given)), "utf-8")
    found = {"model": given.model, "videos": [video.name for video in files], **record}
    if figures is not None:
        save_json(figures, found)
    if json:
        typer.echo(dumps(found, indent=2, allow_nan=False))
        return
    if record["agreement"]:
        out_console().print(table(record))
    if figures is not None:
        typer.echo(figures)
    typer.echo(output)


def _refuse_paths(videos: list[Path], output: Path, figures: Path | None) -> None:
    """Says what cannot be written before the work of hours."""
    from arseg.files import check_writable, same_file

    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected the name of a .safetensors file, got {output.suffix or 'no ending'}")
    for path in (output, figures):
        if path is not None:
            check_writable(path)
            if any(same_file(path, video) for video in videos):
                raise InputError(f"{path}: is one of the videos; give the output another name")
