"""Motion vectors for a stream that has none: H.264 made of it in memory, frame by frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import av
from av.codec.context import Flags2
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from .codecs.h264 import ENCODER
from .colours import subsampled
from .decoding import records_of
from .deinterlace import progressive
from .pictures import Coded, Decoded
from .settings import Settings, pixel_format


def recoded(frames: Iterable[Decoded], *, gop: int, rate: Fraction) -> Iterator[Decoded]:
    """The same frames in the same order, with the vectors that x264 finds for them, each pointing one frame back.

    The pictures stay those of the source (deinterlaced, where they were interlaced): what encoding loses is not in
    them. Encoder and decoder hold a few frames
    (x264's lookahead), nothing is written to disk. A new size starts a new stream with an I frame.
    """
    waiting: deque[Decoded] = deque()
    link: VectorFinder | None = None
    index = 0
    for decoded in _progressive(frames):
        if link is None or link.size != (decoded.frame.width, decoded.frame.height):
            for vectors in link.finish() if link is not None else ():
                yield _joined(waiting.popleft(), vectors, index)
                index += 1
            link = VectorFinder(decoded.frame, gop, rate)
        waiting.append(decoded)
        for vectors in link.push(decoded.frame):
            yield _joined(waiting.popleft(), vectors, index)
            index += 1
    for vectors in link.finish() if link is not None else ():
        yield _joined(waiting.popleft(), vectors, index)
        index += 1


def _progressive(frames: Iterable[Decoded]) -> Iterator[Decoded]:
    waiting: deque[Decoded] = deque()

    def pictures() -> Iterator[av.VideoFrame]:
        for decoded in frames:
            waiting.append(decoded)
            yield decoded.frame

    # Timestamps are packet numbers here, and go with `Decoded`; the filter wants some unit for them.
    for frame in progressive(pictures(), Fraction(1)):
        yield replace(waiting.popleft(), frame=frame)


def _joined(source: Decoded, vectors: av.VideoFrame, index: int) -> Decoded:
    intra = PictureType(vectors.pict_type) == PictureType.I
    source.frame.pict_type = PictureType.I if intra else PictureType.P
    return Decoded(
        frame=source.frame,
        coded=Coded(index, order=(0, index), past=() if intra else (index - 1,), future=()),
        records=records_of(vectors),
        pts=source.pts,
        time_base=source.time_base,
        damaged=source.damaged,
    )


class VectorFinder:
    """An encoder and the decoder that reads its vectors."""

    def __init__(self, frame: av.VideoFrame, gop: int, rate: Fraction) -> None:
        self.size = (frame.width, frame.height)
        self._format = pixel_format(frame.width, frame.height)
        settings = Settings(crf=18, preset="veryfast", gop=gop, motion=True)
        encoder = av.CodecContext.create(ENCODER, "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height = self.size
        encoder.pix_fmt = self._format
        encoder.time_base = 1 / rate
        encoder.framerate = rate
        encoder.gop_size = gop
        encoder.max_b_frames = 0
        encoder.thread_type = "FRAME"
        encoder.options = settings.options()
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.flags2 |= Flags2.export_mvs
        decoder.thread_type = "AUTO"
        self._encoder, self._decoder = encoder, decoder
        self._count = 0

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        # A copy where the format fits, too: timestamp and type of the source's frame are not the encoder's business.
        copy = subsampled(frame, self._format)
        if copy is frame:
            copy = av.VideoFrame.from_ndarray(frame.to_ndarray(), format=self._format)
        copy.pts, copy.time_base, copy.pict_type = self._count, self._encoder.time_base, PictureType.NONE
        self._count += 1
        for packet in self._encoder.encode(copy):
            yield from self._decoder.decode(packet)

    def finish(self) -> Iterator[av.VideoFrame]:
        for packet in self._encoder.encode(None):
            yield from self._decoder.decode(packet)
        yield from self._decoder.decode(None)
