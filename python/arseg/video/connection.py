"""A video opened for reading: its first frame decoded, and settled where its vectors come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from av.codec.context import Flags, Flags2

from arseg.errors import InputError
from arseg.files import StrPath

from .decoding import Decoding
from .errors import InterlacedError, UnsupportedCodecError, VideoError, transcode_hint
from .field_builder import FieldBuilder
from .names import shown
from .pictures import Decoded
from .source import Source, open_source


@dataclass(eq=False)
class Connection:
    """An open source that has given its first frame."""

    source: Source
    first: Decoded
    rest: Iterator[Decoded]

    def decoded(self) -> Iterator[Decoded]:
        """Every frame, with the vectors that the stream has; in presentation order."""
        yield self.first
        yield from self.rest


class Connector:
    """Opens a source as often as it is read, and again where it broke off.

    Args:
        path: as for `VideoReader`.
        transcode: whether a stream without vectors of use is to be encoded again; else it is an error.
        tolerant: go on after damage.
        options: for `open_source`.

    Attributes:
        transcoding: why the frames that come have no vectors and are to be encoded again; None: they have.
    """

    def __init__(self, path: StrPath, *, transcode: bool, tolerant: bool, **options: Any) -> None:
        self._path = path
        self._name = shown(path)
        self._transcode = transcode
        self._tolerant = tolerant
        self._options = options
        self._open: list[Source] = []
        self._closed = False
        self.transcoding: str | None = None

    def connect(self, builder: FieldBuilder) -> Connection:
        """Open the source and decode its first frame, which tells what the container does not.

        `builder` hears of coded pictures before their frames come.
        """
        source = self.open()
        try:
            transcoding = self.transcoding is not None
            headers = source.codec.reading(source.stream.codec_context.extradata, vectors=not transcoding)
            announce = None if transcoding else builder.announce
            frames = Decoding(source, headers, announce=announce, tolerant=self._tolerant).frames()
            first = next(frames)
            if (first.frame.interlaced_frame or first.coded.interlaced) and not transcoding:
                self._refuse(f"{self._name} is interlaced", InterlacedError, frame=0)
                self.disconnect(source)
                builder.restart()
                return self.connect(builder)
            return Connection(source, first, frames)
        except BaseException:
            self.disconnect(source)
            raise

    def open(self) -> Source:
        """Open the source and set up its decoder."""
        if self._closed:
            raise InputError(f"{self._name}: the reader is closed; open the video again, with another VideoReader")
        source = open_source(self._path, **self._options)
        self._open.append(source)
        try:
            self._settle(source)
            self._set_up(source)
        except BaseException:
            self.disconnect(source)
            raise
        return source

    def disconnect(self, source: Source) -> None:
        """Close the source, if it still is open."""
        if source in self._open:
            self._open.remove(source)
            _close(source)

    def is_open(self, source: Source) -> bool:
        return source in self._open

    def close(self) -> None:
        """Close all that is open, and open nothing any more."""
        self._closed = True
        while self._open:
            _close(self._open.pop())

    def _settle(self, source: Source) -> None:
        """Whether the container's and the codec's word is that vectors are to be found by transcoding."""
        if not source.codec.has_vectors:
            self._refuse(
                f"{source.path} is {source.codec.label}, whose motion vectors cannot be read", UnsupportedCodecError
            )
        if source.interlaced:
            self._refuse(f"{self._name} is interlaced", InterlacedError)

    def _set_up(self, source: Source) -> None:
        """Prepare FFmpeg's decoder."""
        context = source.stream.codec_context
        limit = (self._options.get("options") or {}).get("max_pixels")
        if limit is not None:  # the decoder's, which looks at each frame
            context.options = {**context.options, "max_pixels": limit}
        context.flags |= Flags.unaligned  # else a left crop is rounded, and pixels and vectors part
        if self.transcoding is None:
            context.flags2 |= Flags2.export_mvs
        # Where frames are put in order, threads that decode several at once hand out vectors before they are there.
        threads = source.codec.frame_threads and not context.has_b_frames
        context.thread_type = "AUTO" if threads or self.transcoding is not None else "SLICE"

    def _refuse(self, why: str, error: type[VideoError], frame: int | None = None) -> None:
        """The stream's own vectors cannot be used."""
        if not self._transcode:
            raise error(f"{why}: {transcode_hint(self._name)}", path=self._name, frame=frame)
        self.transcoding = why


def _close(source: Source) -> None:
    source.closed = True
    source.container.close()
