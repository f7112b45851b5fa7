"""How long each frame took, by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arseg.video import VideoFrame

Key = tuple[object, int]


class StageClock:
    """Milliseconds that one stream of frames takes: waiting for each, and in the network.

    What a batch takes in the network is shared out evenly among its frames.
    """

    def __init__(self) -> None:
        self._decode: dict[Key, float] = {}
        self._network: dict[Key, float] = {}
        self._since = perf_counter()
        self._waited = 0.0

    def waiting_for(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames; how long each is waited for counts as its decoding."""
        iterator = iter(frames)
        while True:
            started = perf_counter()
            frame = next(iterator, None)
            took = perf_counter() - started
            self._waited += took
            if frame is None:
                return
            self._decode[_key(frame)] = took * 1e3
            yield frame
            del frame

    def seen(self, frames: Sequence[VideoFrame]) -> None:
        """The label maps of a batch are there."""
        now = perf_counter()
        each = (now - self._since - self._waited) * 1e3 / len(frames)
        self._network.update((_key(frame), each) for frame in frames)
        self._since, self._waited = now, 0.0

    def of(self, frame: VideoFrame) -> dict[str, float]:
        """`{"decode": …, "network": …}` of a frame, once."""
        key = _key(frame)
        return {"decode": self._decode.pop(key, 0.0), "network": self._network.pop(key, 0.0)}

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time in this block counts for no stage."""
        started = perf_counter()
        try:
            yield
        finally:
            self._since += perf_counter() - started


def _key(frame: VideoFrame) -> Key:
    return frame.stream, frame.index
