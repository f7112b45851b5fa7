"""`arseg adapt`: the fusion around any network, trained on unlabelled videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arseg.errors import InputError

from .options import NETWORK_HELP, Device, Precision, Views, stream_option


def adapt(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO…", help="Videos; no labels.", show_default=False)],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help=NETWORK_HELP, show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Weights to write, .safetensors; replaced if it exists.")
    ],
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
    json: Annotated[Path | None, typer.Option(help="Also write the table's figures here.")] = None,
    scale: Annotated[float, typer.Option(help="Resolution of frames between keyframes, up to 1.")] = 0.5,
    window: Annotated[int, typer.Option(help="Side of the local attention, odd.", min=1)] = 7,
    steps: Annotated[int, typer.Option(min=1)] = 1000,
    batch: Views = 4,
    crop: Annotated[str, typer.Option(help="Height and width of training views.")] = "256x384",
    height: Annotated[
        int | None,
        typer.Option(help="Resize frames to this height.", min=16, show_default="the model's, or the videos'"),
    ] = None,
    rate: Annotated[float, typer.Option("--lr", help="Learning rate of the fusion.")] = 1e-3,
    gop: Annotated[int, typer.Option(help="A keyframe at least every so many frames.", min=2)] = 12,
    held_out: Annotated[
        float, typer.Option(help="Share at the end of each video to measure on and not to train on.", min=0, max=0.9)
    ] = 0.2,
    mean: Annotated[str | None, typer.Option(help="R,G,B of the normalisation.", show_default="the model's")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B of the normalisation.", show_default="the model's")] = None,
    cache: Annotated[float, typer.Option(help="Gigabytes of decoded frames to keep in the run's folder.")] = 4.0,
    precision: Precision = "float32",
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(help="Of views and augmentation.")] = 0,
    transcode: Annotated[
        bool, typer.Option(help="Find motion vectors by encoding again where a video has none to use.")
    ] = True,
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

    files = [video_file(video) for video in videos]
    _refuse_paths(files, output, json)
    size = _numbers(crop, "x", 2, "--crop", "height and width such as 256x384")

    from arseg.acceleration.network import accelerate
    from arseg.files import save_json
    from arseg.terminal import out_console
    from arseg.train.adapt import AdaptRecipe
    from arseg.train.adapt import adapt as train
    from arseg.train.adapt_report import table
    from arseg.weights.made import how_made, licence_of

    recipe = AdaptRecipe(
        steps=steps,
        batch=batch,
        crop=(int(size[0]), int(size[1])),
        height=height,
        lr=rate,
        gop=gop,
        held_out=held_out,
        cache_gb=cache,
        precision=precision,
        seed=seed,
    )
    net = accelerate(
        model,
        features,
        classifier,
        weights=teacher,
        scale=scale,
        window=window,
        mean=_rgb(mean, "--mean"),
        std=_rgb(std, "--std"),
    )
    folder = run or output.with_name(f"{output.name}.run")
    record = train(
        net,
        files,
        folder,
        recipe,
        device=device,
        transcode=transcode,
        stream=stream,
        report=lambda line: typer.echo(line, err=True),
    )
    source = Path(model) if Path(model).is_file() else None
    licence = licence or (None if source is None else licence_of(source))
    net.save(output, how_made(recipe, videos=files, licence=licence, teacher=teacher or source))
    if record["agreement"]:
        out_console().print(table(record))
    if json is not None:
        save_json(json, {"model": model, "videos": [video.name for video in files], **record})
        typer.echo(json)
    typer.echo(output)


def _numbers(text: str, between: str, count: int, option: str, wanted: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.lower().split(between))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise InputError(f"{option}: expected {wanted}, got {text!r}")
    return numbers


def _rgb(text: str | None, option: str) -> tuple[float, ...] | None:
    return None if text is None else _numbers(text, ",", 3, option, "three numbers such as 0.485,0.456,0.406")


def _refuse_paths(videos: list[Path], output: Path, json: Path | None) -> None:
    """Says what cannot be written before the work of hours."""
    from arseg.files import check_writable, same_file

    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected the name of a .safetensors file, got {output.suffix or 'no ending'}")
    for path in (output, json):
        if path is not None:
            check_writable(path)
            if any(same_file(path, video) for video in videos):
                raise InputError(f"{path}: is one of the videos; give the output another name")
