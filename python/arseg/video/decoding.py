"""From packets to decoded frames with what their headers told, in presentation order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.codeccontext import VideoCodecContext

from .codecs import Headers, new_extradata
from .errors import VideoError
from .joins import Pieces, with_true_marks
from .pictures import Coded, Decoded
from .source import Source, end_of_stream

# Timestamp of a packet that is there to push out another picture.
_PUSHER = -1


def records_of(frame: av.VideoFrame) -> np.ndarray | None:
    """The frame's motion vectors, `[n]` of `RECORD`; None without any.

    `frame.side_data` would keep the container in the frame, which it refers to: a cycle, and decoded pictures would
    pile up until the garbage collector runs.
    """
    vectors = SideDataContainer(frame).get("MOTION_VECTORS")  # type: ignore[call-arg]
    return None if vectors is None else vectors.to_ndarray()  # type: ignore[attr-defined]


@dataclass
class _Stamp:
    """What is to be known of a packet when its frame comes."""

    coded: Coded
    pts: int | None
    duration: int
    corrupt: bool
    hidden: bool


class Decoding:
    """Decodes a source; remembers which packet each frame comes from.

    Args:
        source: opened, its decoder set up and not yet used.
        headers: reads each packet before it is decoded; None: nothing is known of them.
        announce: called with each coded picture, before any frame that comes after it.
        tolerant: go on after damage.
        first: number of the first packet.
    """

    def __init__(
        self,
        source: Source,
        headers: Headers | None,
        *,
        announce: Callable[[Coded], None] | None = None,
        tolerant: bool = False,
        first: int = 0,
    ) -> None:
        self._source = source
        self._headers = headers
        self._announce = announce
        self._tolerant = tolerant
        self._context = source.stream.codec_context
        self._extradata = self._context.extradata
        self._stamps: dict[int, _Stamp] = {}
        self.next_index = first
        self._pusher: bytes | None = None
        self._key_pts: int | None = None
        self._edited = False
        self._position: int | None = None
        self._highest: int | None = None  # timestamp
        self._rising = True  # timestamps in decoding order

    def frames(self) -> Iterator[Decoded]:
        """Every frame in presentation order, as soon as all is known of it.

        Raises:
            NoFramesError, NoKeyframeError, TruncatedStreamError: as `end_of_stream` says, after the last good frame.
        """
        if self._headers is None:
            yield from self._pictures()
            return
        waiting: deque[Decoded] = deque()
        ended: VideoError | None = None
        try:
            for decoded in self._pictures():
                waiting.append(decoded)
                while waiting and self._headers.known(waiting[0].coded.index):
                    yield self._headers.completed(waiting.popleft())
        except VideoError as error:
            ended = error
        self._headers.flush()
        for decoded in waiting:
            yield self._headers.completed(decoded)
        if ended is not None:
            raise ended

    def _pictures(self) -> Iterator[Decoded]:
        """What the decoder gives."""
        packets = count = hidden = 0
        broken: Exception | None = None
        early: Exception | None = None  # before the first frame: how a stream that starts in mid-group begins
        pieces = Pieces(self._source.container, self._source.stream)
        for packet in with_true_marks(self._packets(), pieces):
            if isinstance(packet, Exception):
                broken = packet
                break
            packets += bool(packet.size)
            try:
                frames = self._decode(packet)
            except (av.error.FFmpegError, OSError) as error:
                if count == 0:
                    early = error
                    continue
                broken = error
                if self._tolerant:
                    continue
                break
            for decoded in frames:
                count += 1
                hidden += decoded.hidden
                yield decoded
        if broken is not None:
            # The decoder's threads may still hold good frames from before the break.
            for decoded in self._flush():
                count += 1
                hidden += decoded.hidden
                yield decoded
        end_of_stream(self._source, packets, count, broken or (early if count == 0 else None), hidden=hidden)

    def _packets(self) -> Iterator[av.Packet | Exception]:
        """Packets, the last one empty; what the container raises comes as the last item."""
        try:
            yield from self._source.packets()
        except (av.error.FFmpegError, OSError) as error:
            yield error

    def _decode(self, packet: av.Packet) -> list[Decoded]:
        frames: list[Decoded] = []
        if packet.size:
            index = self.next_index
            self.next_index += 1
            self._extradata = new_extradata(packet) or self._extradata
            jump = self._jumps(packet)
            if jump:
                frames += self._start_anew()
            coded = Coded(index) if self._headers is None else self._headers.push(packet, index)
            if coded is not None and coded.afresh:
                frames += self._start_afresh()
            if coded is not None and (jump or packet.is_discard):
                coded = replace(coded, hidden=packet.is_discard, entry=jump)
            if packet.is_keyframe:
                self._key_pts = packet.pts
            if packet.pts is not None and self._rising:
                self._rising = self._highest is None or packet.pts > self._highest
                self._highest = packet.pts
            if coded is not None and self._announce is not None and not self._leads_hidden(packet):
                self._announce(coded)
            self._stamps[index] = _Stamp(
                coded or Coded(index), packet.pts, packet.duration or 0, packet.is_corrupt, packet.is_discard
            )
            if packet.is_discard:
                packet = _to_be_output(packet)
            packet.pts = index  # comes back as the frame's, whatever order frames come in
            if packet.is_keyframe and self._source.codec.needs_successor:
                self._pusher = bytes(packet)
        else:
            frames += self._push_out()
        return frames + [self._decoded(f) for f in self._context.decode(packet) if f.pts != _PUSHER]

    def _start_afresh(self) -> list[Decoded]:
        """Go on with a new decoder, which does one frame at a time; returns the frames that the last one still held."""
        old = self._context
        if self._source.codec.follows_parameters and (self._announce is None or old.thread_type.name == "SLICE"):
            return []
        frames = self._push_out() + self._flush()
        self._pusher = None
        new = av.CodecContext.create(old.codec, "r")
        assert isinstance(new, VideoCodecContext)
        new.extradata, new.flags, new.flags2, new.thread_type = self._extradata, old.flags, old.flags2, "SLICE"
        self._context = new
        return frames

    def _jumps(self, packet: av.Packet) -> bool:
        """Whether an edit list goes back in the file here, to repeat a part of it or to show a part that comes before.

        Decoders are not told, and mix what they still hold with pictures of the same number.
        """
        source = self._source
        self._edited = self._edited or packet.is_discard
        back = packet.pos is not None and self._position is not None and packet.pos <= self._position
        self._position = packet.pos
        if not (back and packet.is_keyframe and source.counted):
            return False
        return self._edited or len(source.stream.index_entries) != source.stream.frames

    def _start_anew(self) -> list[Decoded]:
        """As after a seek; returns the frames that the decoder still held."""
        frames = self._push_out() + self._flush()
        self._context.flush_buffers()
        if self._headers is not None:
            self._headers.restart()
        return frames

    def _leads_hidden(self, packet: av.Packet) -> bool:
        """Not shown, and shown before its keyframe: where decoding starts there, it cannot be decoded, and need not."""
        before = packet.pts is not None and self._key_pts is not None and packet.pts < self._key_pts
        return packet.is_discard and before

    def _push_out(self) -> list[Decoded]:
        """The last picture of the MPEG family: it has its vectors if another follows, and none if it is flushed."""
        if self._pusher is None or self._announce is None:
            return []
        packet = _packet(self._pusher)
        packet.pts = _PUSHER
        frames = self._context.decode(packet)
        return [self._decoded(frame) for frame in frames if frame.pts != _PUSHER]

    def _flush(self) -> list[Decoded]:
        try:
            frames = self._context.decode(None)
        except (av.error.FFmpegError, OSError):
            return []
        return [self._decoded(frame) for frame in frames if frame.pts != _PUSHER]

    def _decoded(self, frame: av.VideoFrame) -> Decoded:
        index = frame.pts if frame.pts in self._stamps else min(self._stamps, default=None)
        stamp = _Stamp(Coded(self.next_index), None, 0, False, False) if index is None else self._stamps.pop(index)
        # Packets that gave no frame: as far back as no codec reorders.
        for old in [i for i in self._stamps if i < stamp.coded.index - 64]:
            del self._stamps[old]
        self._sort_times(stamp, av.video.frame.PictureType(frame.pict_type))
        time_base = self._source.stream.time_base or frame.time_base or Fraction(1, 25)
        return Decoded(
            frame,
            stamp.coded,
            records_of(frame),
            stamp.pts,
            Fraction(time_base),
            duration=stamp.duration,
            damaged=stamp.corrupt or frame.is_corrupt,
            hidden=stamp.hidden,
        )

    def _sort_times(self, stamp: _Stamp, kind: av.video.frame.PictureType) -> None:
        """Give the frame the earliest time of those of its sequence that are shown after it.

        AVI and ASF know times in decoding order alone. Where others came, the container knows better. The headers of
        the MPEG family have no order: there a B picture is shown before the one that was coded before it and is not out
        yet; others come out as they were coded, and what was coded before them gives no picture any more.
        """
        order = stamp.coded.order
        if stamp.pts is None or not self._rising or self._headers is None:
            return
        if order is None and kind != av.video.frame.PictureType.B:
            for old in [index for index in self._stamps if index < stamp.coded.index]:
                del self._stamps[old]
            return
        for other in self._stamps.values():
            if order is None:
                later = other.coded.index < stamp.coded.index and not other.coded.repeated
            else:
                theirs = other.coded.order
                later = theirs is not None and theirs[0] == order[0] and theirs > order
            if later and other.pts is not None and other.pts < stamp.pts:
                stamp.pts, other.pts = other.pts, stamp.pts


def _to_be_output(packet: av.Packet) -> av.Packet:
    """A packet that an edit list hides, as the decoder takes it to give its picture all the same."""
    copy = _packet(bytes(packet))
    copy.dts, copy.is_keyframe, copy.is_corrupt = packet.dts, packet.is_keyframe, packet.is_corrupt
    for side_data in packet.iter_sidedata():
        copy.set_sidedata(side_data)
    return copy


def _packet(data: bytes) -> av.Packet:
    """A packet with the zeros behind its data that decoders read as well; `av.Packet(data)` has none."""
    packet = av.Packet(len(data))
    packet.update(data)
    return packet
