"""Arguments and options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from arseg.errors import ArsegError, InputError

# --- videos ---

# Not a Path, which makes one slash of the two in a URL.
Video = Annotated[str, typer.Argument(help="The video to read: a file, or a URL such as rtsp://…", show_default=False)]


def stream_option(help: str) -> Any:
    """--stream, for commands whose help has words of its own."""
    return typer.Option(help=help, min=0, show_default="the best one that is no cover picture")


Stream = Annotated[int | None, stream_option("Which of several video streams to read, counted from 0.")]
Timeout = Annotated[
    float, typer.Option(help="Seconds without data after which a URL or a device counts as broken off.", min=0.1)
]
Gop = Annotated[int, typer.Option(help="A keyframe at least every so many frames.", min=1)]
UsualGop = Annotated[
    int | None,
    typer.Option(
        help="Frames from keyframe to keyframe; besides there are some at I frames and cuts.",
        min=1,
        show_default="12; 3 where a network has no low-resolution branch and nothing else is asked for",
    ),
]
StartTime = Annotated[
    str | None,
    typer.Option("--start", help="From this time on: seconds, or 1:30, 0:01:30.5.", show_default="the beginning"),
]
EndTime = Annotated[str | None, typer.Option("--end", help="Up to this time.", show_default="the end")]
Every = Annotated[int, typer.Option(help="One of so many frames.", min=1)]
Limit = Annotated[
    int | None, typer.Option("--frames", help="Stop after so many frames; live sources have no other end.", min=1)
]
Transcode = Annotated[
    bool, typer.Option(help="Find motion vectors by encoding again, while reading, where the video has none to use.")
]
OnError = Annotated[
    Literal["raise", "resync"],
    typer.Option(
        help="At damage of a file: stop and write nothing, or go on at the next keyframe and say what was lost."
    ),
]

# --- results ---


def result_path(text: str) -> Path:
    """The parser of options that name what is written: a path, or a file:// URL."""
    from arseg.video.names import output_path

    try:
        return output_path(text)
    except InputError as error:  # of a ValueError, click shows the value alone
        raise ArsegError(str(error)) from error


OutputVideo = Annotated[
    Path,
    typer.Option("--output", "-o", help="The H.264 file to write; its ending names the container.", parser=result_path),
]

X264Preset = Annotated[str, typer.Option("--x264-preset", help="x264's preset.")]
Opacity = Annotated[
    float | None,
    typer.Option(help="Of the colours in overlays, in a report at first.", min=0, max=1, show_default="0.55"),
]
Palette = Annotated[
    str | None,
    typer.Option(help="camvid, cityscapes, voc, or a JSON file [[R,G,B], …].", show_default="the network's"),
]
PlayerHeight = Annotated[
    int | None, typer.Option(help="Of the video in a report, pixels at most.", min=16, max=2160, show_default="720")
]
PlayerLimit = Annotated[
    float | None,
    typer.Option(
        help="Megabytes of a report for its video; frames after that are in its timeline alone.",
        min=0.1,
        show_default="200",
    ),
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print what happens, as `logging` has it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]
Figures = Annotated[
    Path | None, typer.Option("--figures", help="Also write the figures here, as JSON.", show_default=False)
]

# --- networks ---

NETWORK_HELP = (
    "torchvision:NAME, timm:NAME (an encoder, with our head), transformers:FOLDER_OR_NAME, smp:Unet, "
    "module.py:function or package.module:function (called without arguments, returns a network), a .safetensors file, "
    "or a name of the zoo such as lite0."
)
ScoredModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=f"A network in place of ours: {NETWORK_HELP} With --weights: its own state, or what `arseg adapt` made of "
        "code of yours.",
        show_default=False,
    ),
]
SegmenterWeights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        help="Made by `arseg train ar`, `arseg adapt` or `arseg convert` with --fused; a folder of `arseg export`; or "
        "a name of the zoo: lite0.",
        show_default="those of the package",
    ),
]
_TRAINED_HEIGHT = "the height that the network was trained for"
SegmenterHeight = Annotated[
    str | None,
    typer.Option(
        help="Resize frames to this height for the network; 'video': leave them as they are.",
        show_default=_TRAINED_HEIGHT,
    ),
]
NetworkHeight = Annotated[
    int | None,
    typer.Option(help="Resize frames to this height for the network.", min=16, max=4320, show_default=_TRAINED_HEIGHT),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Compute of the mean frame: 2gmacs, 40ms, or 25% of the network on every frame. It says how often there "
        "are keyframes.",
        show_default=False,
    ),
]
Arithmetic = Literal["float32", "bfloat16"]
_PRECISION_HELP = "Arithmetic of the network."
Precision = Annotated[Arithmetic, typer.Option(help=_PRECISION_HELP)]
SegmenterPrecision = Annotated[
    Arithmetic | None, typer.Option(help=_PRECISION_HELP, show_default="bfloat16 on cuda, float32 on the cpu")
]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, cuda:1.")]
SegmenterBatch = Annotated[
    int | None,
    typer.Option(
        help="Frames of a group that the network sees at once, fewer where memory runs out; 1: one by one.",
        min=1,
        show_default="a whole group on cuda, 4 on the cpu, 1 for live sources",
    ),
]

# --- data sets ---

Data = Annotated[
    str | None,
    typer.Option(
        help="Labelled data: a folder with images, labels and classes.json, or that of CamVid, Cityscapes, …; "
        "LAYOUT:FOLDER names the layout; module.py:Name a data set of your own.",
        show_default=False,
    ),
]
Camvid = Annotated[
    Path | None,
    typer.Option(
        help="CamVid: folders train, val with labels beside them (480x360 or 960x720), or the original distribution "
        "with train.txt, val.txt.",
        show_default=False,
    ),
]
Cityscapes = Annotated[
    Path | None,
    typer.Option(help="Cityscapes: folders gtFine, leftImg8bit, leftImg8bit_sequence.", show_default=False),
]
Workers = Annotated[int, typer.Option(help="Processes that share the work.", min=1)]

# --- training ---

PAPER_PRESETS = "or the paper's: camvid-psp18, camvid-bise18, cityscapes-psp18, cityscapes-bise18."
TrainingWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Processes that make the batches, which are the same for any number; 0: a thread of the training.",
        min=0,
        show_default="on a GPU by the cores, else 0",
    ),
]
RunFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for state, log and weights; resumed if it exists.")
]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings of the recipe.", show_default=False)]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the recipe, such as crop=[360,480]; several times.")
]
Steps = Annotated[int | None, typer.Option(min=1, show_default="the recipe's")]
Batch = Annotated[int | None, typer.Option(min=1, help="Over all processes.", show_default="the recipe's")]
FusedSteps = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With the fusion; of the default recipe's first stage, the branch alone: --set low_steps=N.",
        show_default="the recipe's",
    ),
]
FusedBatch = Annotated[
    int | None,
    typer.Option(
        min=1, help="With the fusion, over all processes; before it: --set low_batch=N.", show_default="the recipe's"
    ),
]
Views = Annotated[int, typer.Option("--batch", help="Views of a step, seen in parts where memory runs out.", min=1)]
Seed = Annotated[
    int | None, typer.Option(help="Of data order, augmentation and initial weights.", show_default="the recipe's, 0")
]
Start = Annotated[
    Path | None,
    typer.Option(help="The default recipes: weights of an earlier run to go on from.", show_default=False),
]
TrainedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="The default recipe: the network to train, such as timm:mobilenetv3_small_050 (pretrained=true after a ? "
        "fetches its weights), torchvision:NAME, module.py:function, or a .safetensors file.",
        show_default="the package's own",
    ),
]
Licence = Annotated[
    str | None,
    typer.Option(help="Terms of use, for the weights file.", show_default="those of the data, where they are known"),
]
TrainingDevice = Annotated[str, typer.Option(help="cpu or cuda; with torchrun each process takes a card of its own.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")]
