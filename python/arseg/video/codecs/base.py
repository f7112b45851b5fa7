"""What there is to know of a codec, and the table of those that are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import av

from arseg.registry import Registry
from arseg.video.pictures import Coded, Decoded


class Headers(ABC):
    """Reads packets in decoding order: above all, which frames the vectors of each picture may point to."""

    @abstractmethod
    def push(self, packet: av.Packet, index: int) -> Coded | None:
        """What packet number `index` holds; None where it holds no picture."""

    def restart(self) -> None:  # noqa: B027
        """The next packet is no continuation of the last."""

    def known(self, index: int) -> bool:
        """Whether all is known of picture `index`, or no more will come; a library may lag behind the decoder."""
        return True

    def flush(self) -> None:  # noqa: B027
        """No more packets come."""

    def completed(self, decoded: Decoded) -> Decoded:
        """A decoded picture with what became known after `push`; called once `known` says so, or after `flush`."""
        return decoded


@dataclass(frozen=True)
class Codec:
    """A codec, and where its motion vectors come from.

    Two sources are there: FFmpeg's decoder exports them, then `headers` says which frames they point to; or a `library`
    reads them beside the decoder. A codec without either is decoded, and encoded again in memory for its vectors.

    Attributes:
        name: FFmpeg's, such as "hevc".
        label: the one people know it by.
        headers: for codecs whose vectors FFmpeg exports: makes what reads the headers, of the container's extradata.
        library: makes what finds vectors in the packets, and their references, of the container's extradata.
        available: whether this build has that library.
        frame_threads: several threads may decode a frame each: vectors stay right unless frames are put in order.
        follows_parameters: its decoder takes new parameter sets as they come, at least with one frame at a time; else a
            new decoder has to.
        needs_successor: the decoder gives a picture its vectors only if another follows.
    """

    name: str
    label: str
    headers: Callable[[bytes | None], Headers] | None = None
    library: Callable[[bytes | None], Headers] | None = None
    available: Callable[[], bool] = lambda: True
    frame_threads: bool = True
    follows_parameters: bool = False
    needs_successor: bool = False

    @property
    def has_vectors(self) -> bool:
        """Whether its vectors can be had without encoding again."""
        return self.headers is not None or (self.library is not None and self.available())

    def reading(self, extradata: bytes | None, *, vectors: bool) -> Headers | None:
        """What reads the packets of a stream, for its vectors or the frames' order alone; None where nothing does."""
        if self.headers is not None:
            return self.headers(extradata)
        return self.library(extradata) if vectors and self.library is not None and self.available() else None


CODECS: Registry[Codec] = Registry("codec")
"""By FFmpeg's name."""


def codec_named(name: str) -> Codec:
    """Of the table, or one that is nothing but decoded."""
    return CODECS[name] if name in CODECS else Codec(name, name)


def new_extradata(packet: av.Packet) -> bytes:
    """Parameter sets that the container brings with `packet`, in place of those before; empty without any.

    Encoders that start anew send them so in FLV and RTMP, and an MP4 with several sample descriptions has them.
    """
    return bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
