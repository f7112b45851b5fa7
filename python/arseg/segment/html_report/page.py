"""The page itself: template, style, script, data and video in one file, written front to back."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from arseg.errors import InputError
from arseg.files import check_writable, replacing
from arseg.labels import LabelSet
from arseg.segment.draw import colour
from arseg.video.errors import NoFramesError
from arseg.video.names import shown
from arseg.video.orientation import Matrix, upright
from arseg.video.properties import VideoProperties
from arseg_ext import __version__

from .columns import Columns
from .player import Player, player_size

__all__ = ["PLAYER_HEIGHT", "PLAYER_LIMIT", "Page", "page"]

PLAYER_HEIGHT = 720
PLAYER_LIMIT = 200
"""Megabytes of the page that its video may have."""

_PIECE = 3 << 20  # bytes of video to a script element; a multiple of 3, for base64
_ROOM = 4 / 3  # base64


@dataclass(frozen=True)
class Page:
    """What frames are added to; see `page`."""

    add: Callable[[np.ndarray, np.ndarray, Mapping[str, Any], int | None, Fraction], None]
    """Picture, uint8 `[H, W, 3]`, and class ids, uint8 `[H, W]`, as coded; the row; its timestamp."""


@contextmanager
def page(
    target: Path,
    about: VideoProperties,
    label_set: LabelSet,
    *,
    opacity: float,
    player_height: int = PLAYER_HEIGHT,
    player_limit: float = PLAYER_LIMIT,
    say: Callable[[str], object] = lambda sentence: None,
) -> Iterator[Page]:
    """Writes the page at the end of the block; nothing is left of one that raises.

    Memory holds the rows alone: the video grows in a file beside the target.

    Args:
        target: the file.
        about: the video as it is coded.
        label_set: names and colours of the classes.
        opacity: of the colours over the picture at first, 0..1.
        player_height: of the video in the page at most, pixels.
        player_limit: megabytes of the page that it may have; later frames are in the timeline alone.
        say: told, in a sentence, where frames are left out.
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity: expected 0..1, got {opacity!r}")
    if not 16 <= player_height <= 2160:
        raise InputError(f"player_height: expected 16 to 2160 pixels, got {player_height!r}")
    if not player_limit > 0:
        raise InputError(f"player_limit: expected megabytes above 0, got {player_limit!r}")
    check_writable(target)
    matrix: Matrix | None = about.display_matrix
    size = player_size(about.upright(), player_height)
    limit = round(player_limit * 1e6 / _ROOM)
    columns = Columns(label_set.classes)
    video = target.with_name(f".{target.name}.mp4")
    with replacing(target) as part:
        try:
            with Player.playing(video, size, Fraction(about.rate), limit) as player:

                def add(
                    image: np.ndarray,
                    labels: np.ndarray,
                    row: Mapping[str, Any],
                    pts: int | None,
                    time_base: Fraction,
                ) -> None:
                    columns.add(row)
                    painted = colour(labels, label_set.palette)
                    player.add(upright(image, matrix), upright(painted, matrix), pts, time_base)

                yield Page(add)
            if player.full:
                say(
                    f"{target}: its player has the first {len(player.times)} of {columns.frames} frames, "
                    f"{player_limit:g} MB; for more give a smaller --player-height, --every or a part (--start, "
                    "--end), or a larger --player-limit"
                )
            head = _head(about, label_set, opacity, size)
            with part.open("w", encoding="utf-8") as file:
                _write(file, head, player.times, columns, video)
        except NoFramesError:
            raise NoFramesError(f"{target} was not written: there are no frames to write", path=target) from None
        finally:
            video.unlink(missing_ok=True)


def _head(about: VideoProperties, label_set: LabelSet, opacity: float, size: tuple[int, int]) -> dict[str, Any]:
    seen = about.upright()
    palette = label_set.palette[: len(label_set.classes)].tolist()
    classes = [{"name": name, "colour": rgb} for name, rgb in zip(label_set.classes, palette, strict=True)]
    return {
        "name": os.path.basename(shown(about.path).rstrip("/")) or "video",
        "width": seen.width,
        "height": seen.height,
        "player": [size[1], size[0]],
        "rate": float(about.rate),
        "opacity": opacity,
        "classes": classes,
        "version": __version__,
    }


def _write(file: TextIO, head: Mapping[str, Any], times: list[float], columns: Columns, video: Path) -> None:
    template = _resource("page.html")
    for name, text in (("name", html.escape(head["name"])), ("style", _resource("page.css"))):
        template = template.replace(f"<!-- {name} -->", text)
    before, rest = template.split("<!-- data -->")
    between, after = rest.split("<!-- video -->")
    file.write(before)
    file.write(_inert(json.dumps(dict(head), ensure_ascii=False, allow_nan=False))[:-1])
    file.write(f',"shown":[{",".join(f"{time:.4f}" for time in times)}],')
    for text in columns.json():
        file.write(text)
    file.write("}")
    file.write(between)
    with video.open("rb") as data:
        while piece := data.read(_PIECE):
            file.write('<script type="text/plain" class="piece">')
            file.write(base64.b64encode(piece).decode("ascii"))
            file.write("</script>\n")
    file.write(after.replace("<!-- script -->", _resource("page.js")))


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inert(text: str) -> str:
    """JSON for a script element, which nothing in it ends."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
