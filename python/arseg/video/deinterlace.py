"""Whole pictures from interlaced ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph


def progressive(frames: Iterable[av.VideoFrame], time_base: Fraction | None) -> Iterator[av.VideoFrame]:
    """As many frames as come in, deinterlaced from the first interlaced one on; progressive ones pass unchanged.

    Args:
        time_base: unit of the frames' timestamps.
    """
    graph: Graph | None = None
    kind: tuple[int, int, str] | None = None
    for frame in frames:
        if graph is not None and kind != _kind(frame):
            yield from _finish(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, kind = _deinterlacer(frame, time_base), _kind(frame)
        if graph is None:
            yield frame
            continue
        graph.push(frame)
        yield from _pull(graph)
    if graph is not None:
        yield from _finish(graph)


def _kind(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _deinterlacer(frame: av.VideoFrame, time_base: Fraction | None) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base),
        graph.add("yadif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _finish(graph: Graph) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _pull(graph)


def _pull(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, av.VideoFrame)
        yield frame
