"""Where one recording ends and the next begins in one transport stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .names import local_path

# Seconds that a frame may be shown for: more is a jump of the clock for FFmpeg's player, less a still picture.
LONGEST = 3600

# Sizes of a transport stream's packets, plain, with a time before it and with a checksum behind it; and its first byte.
_SIZES = (188, 192, 204)
_SYNC = 0x47
_LARGEST_PICTURE = 1 << 26


State = Literal["whole", "cut off", "holed", "unknown"]


def with_true_marks(packets: Iterable[av.Packet | Exception], pieces: Pieces) -> Iterator[av.Packet | Exception]:
    """The packets, with the mark "corrupt" where a picture is damaged, and not where two recordings meet.

    Each piece of a transport stream is counted, and where the count jumps FFmpeg marks the picture it is reading as
    corrupt; through its parser the mark gets to the one before, so that the first and the last have none. The decoder
    often does not notice a hole in a picture, so the mark counts. At a join it does not: a keyframe comes then, and no
    piece of the pictures before it is missing, or where that cannot be seen, times start again.
    """
    source = iter(packets)
    ahead: deque[av.Packet | Exception] = deque()

    def look(count: int) -> list[av.Packet]:
        while len(ahead) < count and (following := next(source, None)) is not None:
            ahead.append(following)
        return [other for other in islice(ahead, count) if isinstance(other, av.Packet)]

    first = True
    while True:
        packet = ahead.popleft() if ahead else next(source, None)
        if packet is None:
            return
        if isinstance(packet, av.Packet) and packet.size:
            if packet.is_corrupt:
                packet.is_corrupt = not _only_meet([packet, *look(2)], pieces)
            elif pieces.known:
                following = next((other for other in look(1) if other.size), None)
                if following is None or first:
                    packet.is_corrupt = pieces.state(packet, following) in ("holed", "cut off")
            first = False
        yield packet


def _only_meet(met: list[av.Packet], pieces: Pieces) -> bool:
    if len(met) < 3 or not met[2].is_keyframe:
        return False
    states = {pieces.state(picture, following) for picture, following in pairwise(met)}
    if states == {"whole"}:
        return True
    # A picture that fills its last piece looks cut off; if it is, the decoder mostly tells.
    return "holed" not in states and _restarts(met[1], met[2])


def _restarts(last: av.Packet, first: av.Packet) -> bool:
    if last.dts is None or first.dts is None:
        return False
    return not 0 < (first.dts - last.dts) * first.time_base <= LONGEST


class Pieces:
    """The packets of a transport stream that hold a video stream's pictures, in a file; in another source, none."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._pid = stream.id
        path = local_path(container.name) if container.format.name == "mpegts" else None
        # A pipe opened once more would wait for a second writer.
        self._path: Path | None = path if path is not None and path.is_file() else None

    @property
    def known(self) -> bool:
        return self._path is not None

    def state(self, picture: av.Packet, following: av.Packet | None) -> State:
        """Whether all pieces of `picture` are there; `following` is the packet behind it, None at the end."""
        begin = picture.pos
        if self._path is None or begin is None:
            return "unknown"
        end = begin + _LARGEST_PICTURE if following is None else following.pos
        if end is None or not begin < end <= begin + _LARGEST_PICTURE:
            return "unknown"
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                data = file.read(end - begin + 4)
        except OSError:
            return "unknown"
        size = next((size for size in _SIZES if set(data[::size]) == {_SYNC}), None)
        if size is None:
            return "unknown"
        pieces = [data[at : at + size] for at in range(0, len(data) - 3, size)]
        mine = [piece for piece in pieces if (piece[1] & 0x1F) << 8 | piece[2] == self._pid and piece[3] & 0x10]
        behind = [] if following is None else mine[-1:]  # the head of the first piece of the next picture
        if behind:
            del mine[-1]
        if not mine or any(len(piece) != 4 for piece in behind):
            return "unknown"
        if any(piece[1] & 0x80 for piece in mine) or any(_jump(a, b) for a, b in pairwise(mine)):
            return "holed"
        return "cut off" if any(_jump(mine[-1], b) for b in behind) and not _is_filled_up(mine[-1]) else "whole"


def _jump(piece: bytes, following: bytes) -> bool:
    return (following[3] - piece[3]) % 16 != 1


def _is_filled_up(piece: bytes) -> bool:
    """Whether there is more in the adaptation field than it says: so a picture's last piece gets its size (2.4.3.5)."""
    if not piece[3] & 0x20:
        return False
    length, flags = piece[4], piece[5]
    if length == 0 or flags == 0:
        return True
    used = 1 + 6 * bool(flags & 0x10) + 6 * bool(flags & 0x08) + bool(flags & 0x04)
    if flags & 0x02 and 5 + used < len(piece):
        used += 1 + piece[5 + used]
    return length > used and not flags & 0x01
