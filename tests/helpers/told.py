"""A command in a process of its own that says how far it is, so that nobody has to look at the clock."""

from __future__ import annotations

import sys

PROGRAM = """
import sys, time
from arseg.video import VideoReader

frames, at, stays = VideoReader.__iter__, int(sys.argv[1]), sys.argv[2] == "stays"

def told(self):
    for frame in frames(self):
        if frame.index == at:
            print(f"frame {at}", flush=True)
            while stays:
                time.sleep(1)  # the signal ends it
        yield frame

VideoReader.__iter__ = told
sys.argv[1:3] = []
from arseg.cli import main
main()
"""


def that_tells_of_frame(frame: int, *arguments: str, stays: bool = False) -> list[str]:
    """The command line of `arseg ARGUMENTS…` that prints "frame N" where it reads that one, and stays or goes on."""
    return [sys.executable, "-c", PROGRAM, str(frame), "stays" if stays else "goes on", *arguments]
