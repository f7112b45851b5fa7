"""The command line. Faults of the input are one line on stderr and exit code 2; faults of ours are tracebacks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from arseg import __version__
from arseg.errors import ArsegError, InputError
from arseg.interruptions import exit_on_signals
from arseg.segment.modes import Mode

from . import adapt, models, train


class _Commands(TyperGroup):
    """Commands whose complaints of their arguments quote no secrets."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # A usage error of click, or of the copy of it in later versions of typer.
            if isinstance(message := getattr(error, "message", None), str):
                from arseg.video.names import without_secrets

                error.message = without_secrets(message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    cls=_Commands,
    help="Semantic segmentation of compressed video: keyframes at full resolution, the frames between them at low "
    "resolution, repaired along the video's own motion vectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train.register(app)
adapt.register(app)
models.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arseg {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the command."""


# Not a Path, which makes one slash of the two in a URL.
Video = Annotated[str, typer.Argument(help="The video to read: a file, or a URL such as rtsp://…", show_default=False)]
Stream = Annotated[
    int | None,
    typer.Option(
        help="Which of several video streams to read, counted from 0.",
        min=0,
        show_default="the best one that is no cover picture",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Made by `arseg train ar`, `arseg adapt` or `arseg convert` with --fused.",
        show_default="those of the package",
    ),
]


def _output(text: str) -> Path:
    from arseg.video.names import output_path

    try:
        return output_path(text)
    except InputError as error:  # of a ValueError, click shows the value alone
        raise ArsegError(str(error)) from error


Timeout = Annotated[
    float, typer.Option(help="Seconds without data after which a URL or a device counts as broken off.", min=0.1)
]
Output = Annotated[
    Path, typer.Argument(help="The H.264 file to write; its ending names the container.", parser=_output)
]
Gop = Annotated[int, typer.Option(help="A keyframe at least every so many frames.", min=1)]


@app.command()
def segment(
    video: Video,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Overlay video to write; replaced if it exists. Its first frame is at 0.",
            show_default="VIDEO-segmented.mp4, unless --labels is given",
            parser=_output,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="New or empty folder to write: one PNG of class ids a frame, in the coded orientation.",
            parser=_output,
        ),
    ] = None,
    weights: Weights = None,
    model: adapt.Model = None,
    gop: Gop = 12,
    height: Annotated[
        str | None,
        typer.Option(
            help="Resize frames to this height for the network; 'video': leave them as they are.",
            show_default="the height that the network was trained for",
        ),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="ar: the method. To compare: hr, all frames at full resolution; lr, all at low; warp, the keyframe's "
            "result moved by the vectors; keep, the keyframe's result as it is."
        ),
    ] = "ar",
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Arithmetic of the network.")] = "float32",
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, cuda:1.")] = "cpu",
    opacity: Annotated[float, typer.Option(help="Of the colours in the overlay.", min=0, max=1)] = 0.55,
    frames: Annotated[
        int | None, typer.Option(help="Stop after so many frames; live sources have no other end.", min=1)
    ] = None,
    transcode: Annotated[
        bool,
        typer.Option(help="Find motion vectors by encoding again, while reading, where the video has none to use."),
    ] = True,
    on_error: Annotated[
        Literal["raise", "resync"],
        typer.Option(
            help="At damage of a file: stop and write nothing, or go on at the next keyframe and say what was lost."
        ),
    ] = "raise",
    reconnect: Annotated[
        int, typer.Option(help="How often in a row to connect again to a network stream or camera.", min=0)
    ] = 5,
    timeout: Timeout = 10.0,
    stream: Stream = None,
) -> None:
    """Segment a video; write an overlay video, label maps, or both."""
    from arseg.segment.run import segment_file
    from arseg.segment.segmenter import VideoSegmenter

    if output is None and labels is None:
        from arseg.video.names import default_stem

        output = Path(f"{default_stem(video)}-segmented.mp4")
    network = adapt.network(weights, model)
    rows = _height(height)
    segmenter = VideoSegmenter(network, gop=gop, height=rows, mode=mode, precision=precision, device=device)
    count = segment_file(
        segmenter,
        video,
        overlay=output,
        labels=labels,
        opacity=opacity,
        console=_console(),
        frames=frames,
        transcode=transcode,
        on_error=on_error,
        reconnect=reconnect,
        timeout=timeout,
        stream=stream,
    )
    for path in (output, labels):
        if path is not None:
            typer.echo(f"{path}: {count} frames")


@app.command()
def demo(
    video: Annotated[str | None, typer.Argument(help="Your own video.", show_default="a synthetic street")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", parser=_output)] = Path(
        "demo-output"
    ),
    weights: Weights = None,
    frames: Annotated[int, typer.Option(help="Length of the synthetic street.", min=1)] = 96,
    seed: Annotated[int, typer.Option(help="Which synthetic street.")] = 7,
    height: Annotated[int, typer.Option(help="Of the synthetic street; it is 4:3.", min=16)] = 360,
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Segment a video in three ways: all at high resolution, all at low resolution, and as AR-Seg."""
    from arseg.evaluate.demo import run_demo
    from arseg.segment.segmenter import VideoSegmenter

    run_demo(
        VideoSegmenter(weights).model,
        output,
        video,
        frames=frames,
        seed=seed,
        height=height,
        stream=stream,
        timeout=timeout,
        console=_console(),
    )


@app.command("inspect")
def inspect_video(
    video: Video,
    frames: Annotated[int, typer.Option(help="Read at most so many frames.", min=1)] = 300,
    gop: Gop = 48,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="PNG to draw: frames with their motion as arrows and colours, filled cells and error of the warp; "
            "replaced if it exists."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Numbers of the frames to draw, such as 1,5,11.",
            show_default="three of the first group: after its keyframe, in its middle and its last",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Tell what a video is made of, and what its motion vectors are worth."""
    from json import dumps

    from arseg.files import check_writable, same_file, save_png
    from arseg.inspect.inspection import frame_numbers, inspect, samples
    from arseg.inspect.report import report
    from arseg.terminal import progress_bar
    from arseg.video.names import local_path

    numbers = None if at is None else frame_numbers(at, frames)
    if picture is not None:
        source = local_path(video)
        if source is not None and same_file(picture, source):
            raise InputError(f"{picture}: is the video itself; give the picture another name")
        check_writable(picture)
    elif at is not None:
        raise InputError("--at: says which frames to draw; give --picture, too")
    with progress_bar(_console()) as progress:
        task = progress.add_task("reading", total=None)
        found = inspect(
            video,
            frames=frames,
            gop=gop,
            stream=stream,
            timeout=timeout,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if picture is not None:
        from arseg.inspect.sheet import sheet

        chosen = found.worth_drawing if numbers is None else numbers
        save_png(picture, sheet(found.title, samples(found, chosen)))
        typer.echo(f"{picture}: frames {', '.join(map(str, sorted(chosen)))}", err=json)
    if json:
        typer.echo(dumps(found.facts(), indent=2, allow_nan=False))
    else:
        _console(stderr=False).print(report(found), highlight=False)


@app.command()
def encode(
    video: Video,
    output: Output,
    gop: Gop = 12,
    crf: Annotated[float, typer.Option(help="x264's quality; lower is better.", min=0, max=51)] = 18,
    preset: Annotated[str, typer.Option(help="x264's preset.")] = "veryfast",
    stream: Stream = None,
    timeout: Timeout = 10.0,
) -> None:
    """Encode any video again as H.264 with usable motion vectors (one reference, no B frames)."""
    from arseg.files import same_file
    from arseg.terminal import progress_bar
    from arseg.video import transcode
    from arseg.video.names import local_path

    source = local_path(video)
    if source is not None and same_file(output, source):
        raise InputError(f"{output}: is the input itself; give the output another name")
    with progress_bar(_console()) as progress:
        task = progress.add_task("encoding", total=None)
        count = transcode(
            video,
            output,
            gop=gop,
            crf=crf,
            preset=preset,
            stream=stream,
            timeout=timeout,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            remark=lambda sentence: typer.echo(sentence.rstrip(".") + ".", err=True),
        )
    typer.echo(f"{output}: {count} frames")


@app.command()
def street(
    output: Output,
    frames: Annotated[int, typer.Option(help="Length.", min=1)] = 96,
    seed: Annotated[int, typer.Option(help="Which street.")] = 7,
    width: Annotated[int, typer.Option(min=16)] = 480,
    height: Annotated[int, typer.Option(min=16)] = 360,
    rate: Annotated[float, typer.Option(help="Frames a second.", min=1, max=1000)] = 15,
    labels: Annotated[
        Path | None,
        typer.Option(help="New or empty folder to write, one PNG of true class ids a frame.", parser=_output),
    ] = None,
) -> None:
    """Render a drive along a synthetic street as a video, with its true labels."""
    from arseg.segment.run import render_street_file

    count = render_street_file(
        output, labels, frames=frames, seed=seed, size=(height, width), rate=rate, console=_console()
    )
    typer.echo(f"{output}: {count} frames")


def _height(text: str | None) -> int | Literal["video"] | None:
    if text is None:
        return None
    if text == "video":
        return "video"
    if not text.isdigit() or not 16 <= int(text) <= 4320:
        raise InputError(f"--height: expected 16 to 4320 pixels, or 'video', got {text!r}")
    return int(text)


def _console(stderr: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def main() -> None:
    """Entry point: turns the faults that a user can mend into one line."""
    try:
        with exit_on_signals():
            app()
    except (ArsegError, OSError, ImportError) as error:  # ImportError: what is not installed or built says so
        print(f"arseg: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        from arseg.memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        print("arseg: not enough memory; take smaller frames (--height), or a smaller batch or crop", file=sys.stderr)
        sys.exit(2)
