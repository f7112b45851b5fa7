"""Decoding, the network and the outputs in threads of their own: the same files, and the same ends."""

from __future__ import annotations

import os
import threading

import pytest

from arseg.segment.outputs import LabelMaps
from arseg.segment.run import segment_file
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoReader


def label_files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_files_are_the_same(tiny, clip, tmp_path):
    for name, overlap in (("one", False), ("three", True)):
        count = segment_file(VideoSegmenter(tiny), clip, [LabelMaps(tmp_path / name)], overlap=overlap, frames=17)
        assert count == 17
    assert label_files(tmp_path / "one") == label_files(tmp_path / "three")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("where", ["reading", "segmenting", "writing"])
def test_whatever_ends_it_leaves_nothing_of_a_file_and_no_thread(tiny, clip, tmp_path, monkeypatch, error, where):
    segmenter, frames = VideoSegmenter(tiny), VideoReader.__iter__

    def stop(*_, **__):
        raise error

    def until(self):
        for frame in frames(self):
            if frame.index == 9:
                raise error
            yield frame

    if where == "reading":
        monkeypatch.setattr(VideoReader, "__iter__", until)
    elif where == "segmenting":
        monkeypatch.setattr(segmenter._engine, "after", stop)
    else:
        monkeypatch.setattr("arseg.segment.outputs.label_maps.save_labels", stop)
    with pytest.raises(error):
        segment_file(segmenter, clip, [LabelMaps(tmp_path / "labels")], overlap=True)
    assert os.listdir(tmp_path) == [] and not any(thread.name == "arseg stage" for thread in threading.enumerate())
