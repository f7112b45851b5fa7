"""From a video to files: reader, segmenter and outputs put together.

Of a file, the outputs are there whole or not at all. A camera, a network stream or a pipe cannot be read again:
whatever ends it, what was recorded so far is finished.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.interruptions import Interruptions
from arseg.terminal import err_console, frames_bar, say
from arseg.video import VideoError, VideoFrame, VideoReader
from arseg.video.errors import encode_hint
from arseg.video.live import can_read_again, is_live
from arseg.video.names import local_path, shown
from arseg.video.picture_reader import PictureReader
from arseg.video.properties import VideoProperties
from arseg.video.sink import cannot_write
from arseg_ext import __version__

from .journal import FORMAT, Journal, with_journal
from .modes import FROM_KEYFRAME
from .outputs import Output
from .pace import EveryGroup, Pace
from .policies import Policy
from .policies.spaced import LONGEST
from .result import SegmentedFrame
from .segmenter import VideoSegmenter
from .selection import Selection
from .shards.groups import groups_of, shards_of, why_not, with_pictures
from .shards.jobs import Runner
from .stages import ahead
from .steered_run import steered_run
from .written import Written

_log = logging.getLogger(__name__)


def segment_file(
    segmenter: VideoSegmenter,
    video: StrPath | PictureReader,
    outputs: Sequence[Output],
    *,
    console: Console | None = None,
    frames: int | None = None,
    overlap: bool | None = None,
    palette: np.ndarray | None = None,
    selection: Selection | None = None,
    partial: bool = False,
    resume: bool = False,
    remember: bool = False,
    runner: Runner | None = None,
    at_once: bool = False,
    on_frame: Callable[[int, int], object] = lambda count, keyframes: None,
    **options: Any,
) -> int:
    """Segments a file or a URL, and writes the results to `outputs`; returns the number of frames.

    An exception leaves nothing of a file's results. Of a source that cannot be read again it leaves what there was up
    to it, finished, unless these cannot be written: `KeyboardInterrupt`, `SystemExit`, `ConnectionLostError` …; that,
    what was lost of a live source or of a damaged file with `on_error="resync"`, and where times were shifted, is said
    on `console`.

    Args:
        outputs: such as `arseg.segment.outputs.Overlay("overlay.mp4")`; each frame is written to them, and they are put
            in place, in this order, but that folders come after files, and what tells times last. So a video, which may
            fail at its end, comes before a folder of finished files.
        console: for remarks and the progress bar; None: stderr.
        frames: stop after so many; live sources have no other end.
        overlap: whether decoding and the network have threads of their own, each up to two batches ahead; live sources
            have not. None: where the network runs on CUDA.
        palette: colours of the classes in place of the network's, uint8 `[K, 3]`, RGB.
        selection: which frames are segmented; None: all, or the first `frames`.
        partial: whether results of a file, too, are finished with what there is when something ends the run.
        resume: go on where an earlier run with the same settings was stopped or killed. Finished groups are kept in a
            journal beside the first output, `NAME.resume`, until all is done; what is written is the same to the bit.
        remember: with `resume`, for one of several files: where it is finished, a note stays in place of the journal,
            and the next run passes over it, as long as the outputs are as they were. `forget` removes it.
        runner: shares the video with other processes (`arseg.segment.shards`), from groups to groups of its frames;
            their segmenters are to be made as this one. What is written is the same to the bit, where torch has as many
            threads in each as here. None: this process segments it.
        at_once: each result comes before the next frame is read, of a file as of a live source: a policy does without
            the next keyframe.
        on_frame: called with the numbers of frames that are written, and of keyframes among them.
        options: for `VideoReader`.

    Raises:
        InputError: two of the input and the outputs have one name, or an output cannot be written.
        VideoError: of the source, see `VideoReader`, or of a video to write.
    """
    console = console or err_console()
    opened, video = video, video.path if isinstance(video, PictureReader) else video
    if isinstance(opened, PictureReader):
        if segmenter.bounded:
            raise InputError("--budget, --live: pictures have no frames between keyframes; leave it out")
        segmenter = segmenter.plain()
    _check_names(video, outputs)
    count = keyframes = 0
    ended: BaseException | None = None
    remarkable = (
        segmenter.mode in FROM_KEYFRAME
        and not segmenter.bounded
        and not isinstance(opened, PictureReader)
        and selection is None
    )
    with ExitStack() as stack:
        stops = stack.enter_context(Interruptions())
        with stops.waiting():
            policy = segmenter.new_policy()
            if resume and (why := segmenter.repeatable) is not None:
                raise InputError(f"{why}; leave out --resume")
            live = not isinstance(opened, PictureReader) and (
                options.get("live") or is_live(video, options.get("format"))
            )
            reading = segmenter.reading(policy, live=bool(live or at_once))
            pace = None
            if live:
                pace = _pace(segmenter, policy, reading, shown(video), console)
            reader = stack.enter_context(_open(opened, console, {**reading, **options}))
        rate, chosen = Fraction(reader.rate), selection or Selection(limit=frames)
        again = can_read_again(video, reader.duration, live=reader.live)
        at_once |= not again
        segmenter.begin(policy, (reader.height, reader.width), live=at_once)
        # The one opened last is closed first.
        label_set = segmenter.label_set if palette is None else replace(segmenter.label_set, palette=palette)
        written = Written(sorted(outputs, key=lambda out: (out.last, out.is_folder)))
        about: Any = reader
        if chosen.every > 1:
            about = replace(VideoProperties.of(reader), rate=rate / chosen.every)
        journal = None
        if resume:
            journal = Journal(journal_path(outputs), _made(segmenter, video, opened, chosen, options, again, at_once))
            stack.callback(journal.close)
            targets = [out.target for out in outputs]
            if (before := journal.finished(targets)) is not None:
                say(console, f"{shown(video)}: was finished by an earlier run")
                on_frame(*before)
                return before[0]
            if remember:
                note = journal.finish  # after the outputs are in place, and before the journal is closed
                stack.push(lambda kind, *_: note(count, keyframes, targets) if kind is ended is None else None)
            if journal.frames:
                say(console, f"{journal.path}: {len(journal.frames)} frames are done already")
        if runner is not None and (why := why_not(policy, reader) if again else "it comes once") is not None:
            say(console, f"{shown(video)}: one process segments it: {why}")
            runner = None
        written.open(stack, about, label_set)
        progress = stack.enter_context(frames_bar(console))
        task = progress.add_task("segmenting", total=chosen.count(reader.frame_count, rate), keyframes=0)
        saved: Callable[[int, int], float | None] = lambda count, keyframes: None  # noqa: E731
        if console.is_terminal and not console.quiet:
            saved = segmenter.compute_saved((reader.height, reader.width), policy)
        try:
            follows = segmenter.mode in FROM_KEYFRAME and runner is None
            taken = reader if pace is None else pace.watched(reader, lambda: (reader.losses, reader.discontinuities))
            read: Iterable[VideoFrame] = chosen.frames(taken, rate, keyframes=follows)
            if runner is not None:
                pictures = any(out.needs_pictures for out in outputs)
                results = _shared(
                    segmenter, opened, reader, chosen, runner, journal, read if pictures else None, options
                )
            elif policy is not None and (journal or selection or (again and chosen.limit is not None)):
                shown_as = reader.rotation, reader.display_matrix
                results = steered_run(segmenter, taken, policy, chosen, rate, journal, *shown_as, live=at_once)
            elif journal is not None:
                results = with_journal(segmenter, read, journal, reader.rotation, reader.display_matrix)
            elif not at_once and (overlap or (overlap is None and segmenter.device.type == "cuda")):
                # A live source is read where a signal can end the waiting, and is never ahead.
                if policy is None or policy.spread == 1:  # else it learns from results where groups start
                    read = stack.enter_context(ahead(read, 2 * segmenter.batch))
                results = segmenter.segment_all(read, reader.rotation, reader.display_matrix, policy=policy)
                results = stack.enter_context(ahead(results, 2 * segmenter.batch))
            else:
                shown_as = reader.rotation, reader.display_matrix
                results = segmenter.segment_all(read, *shown_as, live=at_once, policy=policy)
            for result in stops.each(chosen.results(results)):
                written.write(result)
                count += 1
                keyframes += result.keyframe
                on_frame(count, keyframes)
                with suppress(OSError):  # the terminal may have gone
                    progress.update(task, advance=1, keyframes=keyframes, saved=saved(count, keyframes))
                    if keyframes == count == segmenter.gop + 1 > 2 and remarkable:
                        say(console, _all_keyframes(video, count))
            if count == 0 and chosen.start > 0:
                if journal is not None:
                    journal.remove()
                raise InputError(f"start: expected a time before the end of {shown(video)}, got {chosen.start:g} s")
        except BaseException as error:
            if again and not partial and isinstance(error, VideoError):
                error.args = (f"{error}; nothing was written",)
            if (again and not partial) or count == 0 or cannot_write(error):
                raise
            ended = error
    # All is in place: from here on nothing but words can be lost.
    if journal is not None and ended is None and not remember:
        journal.remove()
    _log.info("%s: %d frames, %d of them keyframes", shown(video), count, keyframes)
    with suppress(OSError):
        for loss in (*reader.losses, *reader.discontinuities):
            say(console, f"{shown(video)}: {loss}")
        for out in outputs:
            if out.remark is not None:
                say(console, out.remark)
        if 1 < keyframes == count <= segmenter.gop and remarkable:
            say(console, _all_keyframes(video, count))
        if ended is not None:
            kept = " and ".join(str(out.target) for out in outputs)
            say(console, f"{shown(video)}: ended early; what there was until then is kept, {count} frames: {kept}")
    if ended is not None:
        raise ended
    stops.raise_late()
    return count


def _pace(
    segmenter: VideoSegmenter, policy: Policy | None, reading: dict[str, Any], name: str, console: Console
) -> Pace | None:
    """What lowers the compute of a live stream that falls behind; None: nothing can. Changes `reading` for it."""
    if policy is None and segmenter.mode in FROM_KEYFRAME:
        every = EveryGroup(segmenter.gop)
        reading |= {"gop": max(LONGEST, segmenter.gop), "starts": every}
        change: Any = every.stretch
    else:
        change = getattr(policy, "stretch", None)
    if change is None:
        return None

    def told(behind: float) -> None:
        with suppress(OSError):
            say(console, f"{name}: is {behind:.1f} s behind; keyframes come further apart until it has caught up")

    return Pace(change, told)


def _shared(
    segmenter: VideoSegmenter,
    video: StrPath | PictureReader,
    reader: Any,
    chosen: Selection,
    runner: Runner,
    journal: Journal | None,
    read: Iterable[VideoFrame] | None,
    options: dict[str, Any],
) -> Iterator[SegmentedFrame]:
    """Results of frames that others segment; with pictures where these are `read` here."""
    wanted = chosen.indices(reader.times, Fraction(reader.rate))
    source = tuple(map(Path, map(os.path.abspath, video.files))) if isinstance(video, PictureReader) else _named(video)
    done = frozenset() if journal is None else frozenset(journal.frames)
    shards = shards_of(source, reader.entries, len(reader), wanted, options, done)
    groups = groups_of(shards, runner, journal)
    shown_as = reader.rotation, reader.display_matrix
    if read is not None:
        yield from with_pictures(groups, read, segmenter, *shown_as)
        return
    for group in groups:
        yield from (one for one in group.results(*shown_as, segmenter.label_set) if one.index in wanted)


def _named(video: StrPath) -> str:
    """A name that is the same in every folder."""
    path = local_path(video)
    return os.fspath(video) if path is None else os.path.abspath(path)  # type: ignore[return-value]


def open_video(video: StrPath, console: Console, **options: Any) -> VideoReader:
    """A reader, and a word on `console` where it has to transcode, or took one of several video streams."""
    reader = VideoReader(video, **options)
    if reader.choice:
        say(console, f"{reader.choice}.")
    if reader.transcoding:
        say(console, f"{reader.transcoding}: finding vectors by transcoding while reading.")
    return reader


def _open(video: StrPath | PictureReader, console: Console, options: dict[str, Any]) -> Any:
    return video if isinstance(video, PictureReader) else open_video(video, console, **options)


def journal_path(outputs: Sequence[Output]) -> Path:
    """Beside the first output."""
    target = Path(os.path.abspath(outputs[0].target))
    return target.with_name(f"{target.name}.resume")


def forget(outputs: Sequence[Output]) -> None:
    """Removes what `segment_file(remember=True)` left beside these outputs."""
    journal_path(outputs).unlink(missing_ok=True)


def _made(
    segmenter: VideoSegmenter,
    video: StrPath,
    opened: StrPath | PictureReader,
    selection: Selection,
    options: Mapping[str, Any],
    again: bool,
    at_once: bool,
) -> dict[str, Any]:
    """What has to be the same for a run to be gone on with."""
    path = local_path(video)
    if not again:
        raise InputError(f"{shown(video)}: a source that cannot be read again cannot be resumed; leave out --resume")
    status = None if path is None else path.stat()
    made = {
        name: getattr(segmenter, name) for name in ("gop", "mode", "height", "scale", "half", "batch", "keep_logits")
    }
    made |= {"video": shown(video), "bytes": status and status.st_size, "changed": status and status.st_mtime_ns}
    if isinstance(opened, PictureReader):
        made["pictures"] = opened.state_digest()
    made |= {name: None if value is None else str(value) for name, value in segmenter.asked.items()}
    made |= {"start": selection.start, "end": selection.end, "every": selection.every, "frames": selection.limit}
    made |= {"weights": segmenter.model.state_digest(), "device": segmenter.device.type}
    made |= {"version": __version__, "journal": FORMAT, "at once": at_once}
    return made | {"options": {name: repr(value) for name, value in sorted(options.items())}}


def _check_names(video: StrPath, outputs: Sequence[Output]) -> None:
    source = local_path(video)
    targets = [os.path.realpath(out.target) for out in outputs]
    if (source is not None and os.path.realpath(source) in targets) or len(targets) > len(set(targets)):
        raise InputError(f"{outputs[0].target}: input and outputs need names of their own; give another name")
    for folder in (out.target for out in outputs if out.is_folder):
        within = os.path.join(os.path.realpath(folder), "")
        for out, target in zip(outputs, targets, strict=True):
            if not target.startswith(within):
                continue
            if out.last:
                raise InputError(
                    f"{out.target}: lies in {folder}, another output, which has to be new or empty; give a name beside "
                    "it"
                )
            if not os.path.isdir(within):
                raise InputError(
                    f"{out.target}: lies in {folder}, which is there when all is done; make it first, or give a name "
                    "beside it"
                )


def _all_keyframes(video: StrPath, count: int) -> str:
    """What to say of a video whose first `count` frames are keyframes all."""
    return (
        f"{shown(video)}: each of its first {count} frames is a keyframe (all-intra), so that each is segmented at "
        f"full resolution and no compute is saved; to save it, {encode_hint(shown(video))}"
    )
