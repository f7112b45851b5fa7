"""From a video file to files: an overlay video, label maps. Nothing half-written stays behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from rich.console import Console

from arseg import viz
from arseg.data.street import StreetScene
from arseg.engine import VideoSegmenter
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.terminal import progress_bar
from arseg.video import ResolutionChangedError, VideoReader, VideoWriter, encode
from arseg.video.names import local_path, shown


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only once the block has ended well."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: exists already and is not an empty folder; give another name or remove it")
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give a folder that you may write") from error
    try:
        yield part
        part.chmod(0o755)
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def save_labels(folder: Path, index: int, labels: np.ndarray, palette: np.ndarray = viz.PALETTE) -> None:
    """`000000.png`, ...: class ids as a palette picture, so that viewers show the data set's colours."""
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(palette.ravel().tolist())
    picture.save(folder / f"{index:06d}.png")


def open_video(
    video: StrPath,
    gop: int,
    console: Console,
    *,
    transcode: bool = True,
    on_error: Literal["raise", "resync"] = "raise",
    stream: int | None = None,
) -> VideoReader:
    """A reader, and a word on `console` where it has to transcode, or took one of several video streams."""
    reader = VideoReader(video, gop=gop, transcode=transcode, on_error=on_error, stream=stream)
    if reader.choice:
        console.print(f"{reader.choice}.", style="yellow", highlight=False, soft_wrap=True, markup=False)
    if reader.transcoding:
        sentence = f"{reader.transcoding}: finding vectors by transcoding while reading."
        console.print(sentence, style="yellow", highlight=False, soft_wrap=True, markup=False)
    return reader


def check_size(video: StrPath, index: int, image: np.ndarray, size: tuple[int, int]) -> None:
    """Raises `ResolutionChangedError` where frame `index` is not of `size` = (height, width)."""
    height, width = image.shape[:2]
    if (height, width) != size:
        raise ResolutionChangedError(
            f"{shown(video)} changes size at frame {index}, from {size[1]}x{size[0]} to {width}x{height}, and an "
            "output video has one size: split it there, or write label maps alone (segment --labels)",
            path=shown(video),
            frame=index,
        )


def segment_file(
    segmenter: VideoSegmenter,
    video: StrPath,
    *,
    overlay: Path | None,
    labels: Path | None,
    opacity: float,
    console: Console,
    frames: int | None = None,
    transcode: bool = True,
    on_error: Literal["raise", "resync"] = "raise",
    stream: int | None = None,
) -> int:
    """Segments a file or a URL; writes an overlay video and a folder of label maps where asked.

    Stops after `frames` frames, where that is given. Returns the number of frames.

    What was lost of a damaged file, with `on_error="resync"`, and where times were shifted is said on `console`.
    """
    source = local_path(video)
    targets = [path.resolve() for path in (overlay, labels) if path is not None]
    if (source is not None and source.resolve() in targets) or len(targets) > len(set(targets)):
        raise InputError(f"{overlay or labels}: input, overlay and labels need names of their own; give another name")
    count, palette = 0, segmenter.label_set.palette
    with ExitStack() as stack:
        reader = stack.enter_context(
            open_video(video, segmenter.gop, console, transcode=transcode, on_error=on_error, stream=stream)
        )
        folder = stack.enter_context(new_folder(labels)) if labels is not None else None
        writer = None
        if overlay is not None:
            writer = stack.enter_context(VideoWriter.like(reader, overlay))
        progress = stack.enter_context(progress_bar(console))
        task = progress.add_task("segmenting", total=frames or reader.frame_count)
        for result in segmenter.segment_all(islice(reader, frames), reader.rotation):
            if writer is not None:
                check_size(video, result.index, result.image, (reader.height, reader.width))
                picture = viz.overlay(result.image, result.labels, opacity, palette)
                writer.write(picture, pts=result.pts, time_base=result.time_base)
            if folder is not None:
                save_labels(folder, result.index, result.labels, palette)
            progress.advance(task)
            count += 1
    for loss in (*reader.losses, *reader.discontinuities):
        sentence = f"{shown(video)}: {loss}"
        console.print(sentence, style="yellow", highlight=False, soft_wrap=True, markup=False)
    return count


def render_street_file(
    video: Path, labels: Path | None, *, frames: int, seed: int, size: tuple[int, int], rate: float, console: Console
) -> int:
    """Renders a synthetic street of `frames` frames of `size` = (height, width) into a video and a folder of labels."""
    street = StreetScene(seed, width=size[1], height=size[0], rate=rate)
    with ExitStack() as stack:
        folder = stack.enter_context(new_folder(labels)) if labels is not None else None
        progress = stack.enter_context(progress_bar(console))
        task = progress.add_task("rendering", total=frames)

        def images() -> Iterator[np.ndarray]:
            for index, (image, truth) in enumerate(street.frames(frames)):
                if folder is not None:
                    save_labels(folder, index, truth)
                progress.advance(task)
                yield image

        return encode(images(), video, rate=rate, gop=12)
