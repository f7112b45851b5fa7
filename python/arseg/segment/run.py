"""From a video to files: an overlay video, label maps.

Of a file, they are there whole or not at all. A camera, a network stream or a pipe cannot be read again: whatever ends
it, what was recorded so far is finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from rich.console import Console

from arseg.data.street import StreetScene
from arseg.errors import InputError
from arseg.files import StrPath, new_folder
from arseg.interruptions import Interruptions
from arseg.labels import CAMVID
from arseg.terminal import progress_bar, say
from arseg.video import ResolutionChangedError, VideoError, VideoReader, VideoWriter, encode
from arseg.video._live import can_read_again
from arseg.video._sink import cannot_write, size_remark
from arseg.video._source import TIMEOUT
from arseg.video.errors import encode_hint
from arseg.video.names import local_path, shown

from . import draw
from .modes import FROM_KEYFRAME
from .segmenter import VideoSegmenter


def save_labels(folder: Path, index: int, labels: np.ndarray, palette: np.ndarray) -> None:
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
    reconnect: int = 5,
    timeout: float | None = TIMEOUT,
    stream: int | None = None,
) -> VideoReader:
    """A reader, and a word on `console` where it has to transcode, or took one of several video streams."""
    reader = VideoReader(
        video,
        gop=gop,
        transcode=transcode,
        on_error=on_error,
        reconnect=reconnect,
        timeout=timeout,
        stream=stream,
    )
    if reader.choice:
        say(console, f"{reader.choice}.")
    if reader.transcoding:
        say(console, f"{reader.transcoding}: finding vectors by transcoding while reading.")
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
    reconnect: int = 5,
    timeout: float | None = TIMEOUT,
    stream: int | None = None,
) -> int:
    """Segments a file or a URL; writes an overlay video and a folder of label maps where asked.

    Stops after `frames` frames, where that is given. Returns the number of frames.

    An exception leaves nothing of a file's results. Of a source that cannot be read again it leaves what there was up
    to it, finished, unless these cannot be written: `KeyboardInterrupt`, `SystemExit`, `ConnectionLostError` …; that,
    what was lost of a live source or of a damaged file with `on_error="resync"`, and where times were shifted, is said
    on `console`.

    Args:
        reconnect: how many times in a row to connect again to a live source that breaks off.
        timeout: seconds without data after which a URL or a device counts as broken off.
    """
    source = local_path(video)
    targets = [os.path.realpath(path) for path in (overlay, labels) if path is not None]
    if (source is not None and os.path.realpath(source) in targets) or len(targets) > len(set(targets)):
        raise InputError(f"{overlay or labels}: input, overlay and labels need names of their own; give another name")
    count, keyframes, palette = 0, 0, segmenter.label_set.palette
    ended: BaseException | None = None
    remark: str | None = None
    with ExitStack() as stack:
        stops = stack.enter_context(Interruptions())
        with stops.waiting():
            reader = stack.enter_context(
                open_video(
                    video,
                    segmenter.gop,
                    console,
                    transcode=transcode,
                    on_error=on_error,
                    reconnect=reconnect,
                    timeout=timeout,
                    stream=stream,
                )
            )
        again = can_read_again(video, reader.duration, live=reader.live)
        folder = stack.enter_context(new_folder(labels)) if labels is not None else None
        writer = None
        if overlay is not None:
            writer = stack.enter_context(VideoWriter.like(reader, overlay))
            remark = writer.remark
        progress = stack.enter_context(progress_bar(console))
        task = progress.add_task("segmenting", total=frames or reader.frame_count)
        try:
            results = segmenter.segment_all(islice(reader, frames), reader.rotation, reader.display_matrix)
            for result in stops.each(results):
                if writer is not None:
                    check_size(video, result.index, result.image, (reader.height, reader.width))
                    picture = draw.overlay(result.image, result.labels, palette, opacity)
                    writer.write(picture, pts=result.pts, time_base=result.time_base)
                if folder is not None:
                    save_labels(folder, result.index, result.labels, palette)
                count += 1
                keyframes += result.keyframe
                with suppress(OSError):  # the terminal may have gone
                    progress.advance(task)
                    if keyframes == count == segmenter.gop + 1 > 2 and segmenter.mode in FROM_KEYFRAME:
                        say(console, all_keyframes(video, count))
        except BaseException as error:
            if again and isinstance(error, VideoError):
                error.args = (f"{error}; nothing was written",)
            if again or count == 0 or cannot_write(error):
                raise
            ended = error
    # All is in place: from here on nothing but words can be lost.
    with suppress(OSError):
        for loss in (*reader.losses, *reader.discontinuities):
            say(console, f"{shown(video)}: {loss}")
        if remark is not None:
            say(console, remark)
        if 1 < keyframes == count <= segmenter.gop and segmenter.mode in FROM_KEYFRAME:
            say(console, all_keyframes(video, count))
        if ended is not None:
            kept = " and ".join(str(path) for path in (overlay, labels) if path is not None)
            say(console, f"{shown(video)}: ended early; what there was until then is kept, {count} frames: {kept}")
    if ended is not None:
        raise ended
    stops.raise_late()
    return count


def all_keyframes(video: StrPath, count: int) -> str:
    """What to say of a video whose first `count` frames are keyframes all."""
    return (
        f"{shown(video)}: each of its first {count} frames is a keyframe (all-intra), so that each is segmented at "
        f"full resolution and no compute is saved; to save it, {encode_hint(shown(video))}"
    )


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
                    save_labels(folder, index, truth, CAMVID.palette)
                progress.advance(task)
                yield image

        count = encode(images(), video, rate=rate, gop=12)
    remark = size_remark(video, *size)
    if remark is not None:
        say(console, remark)
    return count
