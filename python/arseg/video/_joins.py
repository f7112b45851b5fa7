"""Where one recording ends and the next begins in one transport stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import av

# Seconds that a frame may be shown for: more is a jump of the clock for FFmpeg's player, less a still picture.
LONGEST = 3600


def without_false_alarms(packets: Iterable[av.Packet | Exception]) -> Iterator[av.Packet | Exception]:
    """The packets, less the mark "corrupt" where it says no more than that two recordings meet.

    Each piece of a transport stream is counted, and where the count jumps FFmpeg marks the picture it is reading as
    corrupt; through its parser the mark gets to the one before. The decoder often does not notice a hole in a picture,
    so the mark counts. At a join it does not: a keyframe comes then, and its time does not go on. That the last picture
    before it was cut off, the decoder tells.
    """
    source = iter(packets)
    ahead: deque[av.Packet | Exception] = deque()
    while True:
        packet = ahead.popleft() if ahead else next(source, None)
        if packet is None:
            return
        if isinstance(packet, av.Packet) and packet.is_corrupt:
            while len(ahead) < 2 and (following := next(source, None)) is not None:
                ahead.append(following)
            if len(ahead) == 2 and _restarts(*ahead):
                packet.is_corrupt = False
        yield packet


def _restarts(last: av.Packet | Exception, first: av.Packet | Exception) -> bool:
    if isinstance(last, Exception) or isinstance(first, Exception) or not first.is_keyframe:
        return False
    if last.dts is None or first.dts is None:
        return False
    return not 0 < (first.dts - last.dts) * first.time_base <= LONGEST
