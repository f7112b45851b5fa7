"""From decoded frames to frames with fields, for every way of reading."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .errors import UnsupportedStreamError, VideoError, encode_hint
from .field_builder import FieldBuilder
from .fields import PendingFrame
from .pictures import Decoded
from .recoding import recoded


def with_fields(
    frames: Iterator[Decoded], builder: FieldBuilder, name: str, encoded: tuple[int, Fraction] | None
) -> Iterator[PendingFrame]:
    """The frames that are shown, with their fields to the keyframe; what is wrong with the stream comes last.

    Args:
        name: of the video, for messages.
        encoded: longest group and frames a second, where vectors are to be found by encoding.
    """
    if encoded is not None:
        builder.transcoded = True
        gop, rate = encoded
        frames = recoded((decoded for decoded in frames if not decoded.hidden), gop=gop, rate=rate)
    ended: VideoError | None = None
    while builder.problem is None:
        try:
            decoded = next(frames, None)
        except VideoError as error:
            ended = error
            break
        if decoded is None:
            break
        yield from _added(builder, decoded, name)
    if builder.problem is None:
        yield from builder.flush(cut=ended is not None)
    if builder.problem is not None:
        raise builder.problem.error(name)
    if ended is not None:
        raise ended


def _added(builder: FieldBuilder, decoded: Decoded, name: str) -> list[PendingFrame]:
    try:
        return builder.add(decoded)
    except ValueError as error:
        raise UnsupportedStreamError(
            f"{name} has a motion vector that cannot be used ({error}): {encode_hint(name)}", path=name
        ) from error
