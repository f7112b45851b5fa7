"""From a video file to files: an overlay video, label maps. Nothing half-written stays behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from arseg import viz
from arseg.data.street import StreetScene
from arseg.engine import VideoSegmenter
from arseg.errors import InputError
from arseg.terminal import progress_bar
from arseg.video import VideoReader, VideoWriter, encode


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


def save_labels(folder: Path, index: int, labels: np.ndarray) -> None:
    """`000000.png`, ...: class ids as a palette picture, so that viewers show CamVid's colours."""
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(viz.PALETTE.ravel().tolist())
    picture.save(folder / f"{index:06d}.png")


def segment_file(
    segmenter: VideoSegmenter,
    video: Path,
    *,
    overlay: Path | None,
    labels: Path | None,
    opacity: float,
    console: Console,
) -> int:
    """Segments a file; writes an overlay video and a folder of label maps where asked. Returns the number of frames."""
    targets = [path.resolve() for path in (overlay, labels) if path is not None]
    if video.resolve() in targets or len(targets) > len(set(targets)):
        raise InputError(f"{overlay or labels}: input, overlay and labels need names of their own; give another name")
    count = 0
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(video, gop=segmenter.gop))
        folder = stack.enter_context(new_folder(labels)) if labels is not None else None
        writer = None
        if overlay is not None:
            writer = stack.enter_context(VideoWriter.like(reader, overlay))
        progress = stack.enter_context(progress_bar(console))
        task = progress.add_task("segmenting", total=reader.frame_count)
        for result in segmenter.segment_all(reader, reader.rotation):
            if writer is not None:
                picture = viz.overlay(result.image, result.labels, opacity)
                writer.write(picture, pts=result.pts, time_base=result.time_base)
            if folder is not None:
                save_labels(folder, result.index, result.labels)
            progress.advance(task)
            count += 1
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
