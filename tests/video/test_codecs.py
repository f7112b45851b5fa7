"""The table of codecs: what is in it, and how a script adds to it."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from helpers.video_clips import pan, write_av

from arseg.errors import InputError
from arseg.video import UnsupportedCodecError, VideoReader
from arseg.video.codecs import CODECS, Codec, codec_named


def test_every_entry_is_a_codec_of_ffmpeg_under_its_own_name() -> None:
    for name in CODECS:
        codec = CODECS[name]
        assert codec.name == name and av.Codec(name, "r").canonical_name == name
        assert codec.headers is None or codec.library is None, "vectors come from one place"


def test_where_vectors_come_from() -> None:
    read = {name for name in CODECS if CODECS[name].headers is not None}
    assert {"h264", "mpeg1video", "mpeg2video", "mpeg4", "h263"} < read and all(CODECS[n].has_vectors for n in read)
    assert not any(CODECS[name].has_vectors for name in ("vp8", "vp9", "av1"))
    assert CODECS["hevc"].library is not None and CODECS["hevc"].reading(None, vectors=False) is None
    assert codec_named("ffv1") == Codec("ffv1", "ffv1") and not codec_named("ffv1").has_vectors


def test_a_codec_of_one_s_own(tmp_path: Path) -> None:
    """One that is known by name alone; with vectors it would bring `headers` or a `library`, too."""
    CODECS.register("huffyuv", Codec("huffyuv", "Huffman"))
    path = write_av(tmp_path / "clip.avi", pan(3, (64, 64), 2, 1), codec="huffyuv", pixels="yuv422p")
    with pytest.raises(UnsupportedCodecError, match="is Huffman, whose motion vectors cannot be read"):
        VideoReader(path, transcode=False)
    with VideoReader(path) as reader:
        assert reader.codec == "huffyuv" and [frame.image.shape for frame in reader] == [(64, 64, 3)] * 3
    with pytest.raises(InputError, match="codec: 'huffyuv' is registered already"):
        CODECS.register("huffyuv", Codec("huffyuv", "Huffman"))
