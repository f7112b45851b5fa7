"""From a video to files: reader, segmenter and outputs put together.

Of a file, the outputs are there whole or not at all. A camera, a network stream or a pipe cannot be read again:
whatever ends it, what was recorded so far is finished.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from rich.console import Console

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.interruptions import Interruptions
from arseg.terminal import err_console, progress_bar, say
from arseg.video import VideoError, VideoFrame, VideoReader
from arseg.video.errors import encode_hint
from arseg.video.live import can_read_again
from arseg.video.names import local_path, shown
from arseg.video.sink import cannot_write

from .modes import FROM_KEYFRAME
from .outputs import Output
from .segmenter import VideoSegmenter
from .stages import ahead
from .written import Written


def segment_file(
    segmenter: VideoSegmenter,
    video: StrPath,
    outputs: Sequence[Output],
    *,
    console: Console | None = None,
    frames: int | None = None,
    overlap: bool | None = None,
    palette: np.ndarray | None = None,
    **options: Any,
) -> int:
    """Segments a file or a URL, and writes the results to `outputs`; returns the number of frames.

    An exception leaves nothing of a file's results. Of a source that cannot be read again it leaves what there was up
    to it, finished, unless these cannot be written: `KeyboardInterrupt`, `SystemExit`, `ConnectionLostError` …; that,
    what was lost of a live source or of a damaged file with `on_error="resync"`, and where times were shifted, is said
    on `console`.

    Args:
        outputs: such as `arseg.segment.outputs.Overlay("overlay.mp4")`; each frame is written to them, and they are put
            in place, in this order, but that those which tell times come last. So a video, which may fail at its end,
            comes before a folder of finished files.
        console: for remarks and the progress bar; None: stderr.
        frames: stop after so many; live sources have no other end.
        overlap: whether decoding and the network have threads of their own, each up to two batches ahead; live sources
            have not. None: where the network runs on CUDA.
        palette: colours of the classes in place of the network's, uint8 `[K, 3]`, RGB.
        options: for `VideoReader`.

    Raises:
        InputError: two of the input and the outputs have one name, or an output cannot be written.
        VideoError: of the source, see `VideoReader`, or of a video to write.
    """
    console = console or err_console()
    _check_names(video, outputs)
    count = keyframes = 0
    ended: BaseException | None = None
    with ExitStack() as stack:
        stops = stack.enter_context(Interruptions())
        with stops.waiting():
            policy = segmenter.new_policy()
            reader = stack.enter_context(open_video(video, console, **{**segmenter.reading(policy), **options}))
        again = can_read_again(video, reader.duration, live=reader.live)
        segmenter.begin(policy, (reader.height, reader.width), live=not again)
        # The one opened last is closed first.
        label_set = segmenter.label_set if palette is None else replace(segmenter.label_set, palette=palette)
        written = Written(sorted(outputs, key=lambda out: out.last))
        written.open(stack, reader, label_set)
        progress = stack.enter_context(progress_bar(console))
        task = progress.add_task("segmenting", total=frames or reader.frame_count)
        try:
            read: Iterable[VideoFrame] = islice(reader, frames)
            if again and (overlap or (overlap is None and segmenter.device.type == "cuda")):
                # A live source is read where a signal can end the waiting, and is never ahead.
                read = stack.enter_context(ahead(read, 2 * segmenter.batch))
                results = segmenter.segment_all(read, reader.rotation, reader.display_matrix, policy=policy)
                results = stack.enter_context(ahead(results, 2 * segmenter.batch))
            else:
                shown_as = reader.rotation, reader.display_matrix
                results = segmenter.segment_all(read, *shown_as, live=not again, policy=policy)
            for result in stops.each(results):
                written.write(result)
                count += 1
                keyframes += result.keyframe
                with suppress(OSError):  # the terminal may have gone
                    progress.advance(task)
                    if keyframes == count == segmenter.gop + 1 > 2 and segmenter.mode in FROM_KEYFRAME:
                        say(console, _all_keyframes(video, count))
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
        for out in outputs:
            if out.remark is not None:
                say(console, out.remark)
        if 1 < keyframes == count <= segmenter.gop and segmenter.mode in FROM_KEYFRAME:
            say(console, _all_keyframes(video, count))
        if ended is not None:
            kept = " and ".join(str(out.target) for out in outputs)
            say(console, f"{shown(video)}: ended early; what there was until then is kept, {count} frames: {kept}")
    if ended is not None:
        raise ended
    stops.raise_late()
    return count


def open_video(video: StrPath, console: Console, **options: Any) -> VideoReader:
    """A reader, and a word on `console` where it has to transcode, or took one of several video streams."""
    reader = VideoReader(video, **options)
    if reader.choice:
        say(console, f"{reader.choice}.")
    if reader.transcoding:
        say(console, f"{reader.transcoding}: finding vectors by transcoding while reading.")
    return reader


def _check_names(video: StrPath, outputs: Sequence[Output]) -> None:
    source = local_path(video)
    targets = [os.path.realpath(out.target) for out in outputs]
    if (source is not None and os.path.realpath(source) in targets) or len(targets) > len(set(targets)):
        raise InputError(f"{outputs[0].target}: input and outputs need names of their own; give another name")


def _all_keyframes(video: StrPath, count: int) -> str:
    """What to say of a video whose first `count` frames are keyframes all."""
    return (
        f"{shown(video)}: each of its first {count} frames is a keyframe (all-intra), so that each is segmented at "
        f"full resolution and no compute is saved; to save it, {encode_hint(shown(video))}"
    )
