"""What a process keeps from job to job: its network, and the video that it read last."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from arseg.errors import InputError
from arseg.segment.segmenter import VideoSegmenter
from arseg.video.names import local_path

if TYPE_CHECKING:
    from arseg.segment.policies import Policy
    from arseg.video import Candidate, VideoReader

MakeSegmenter = Callable[[str], VideoSegmenter]
"""Makes a segmenter on a device; can be pickled."""


class Worker:
    """One process.

    Args:
        make: its segmenter, once the first job needs it.
        device: where its network runs.
    """

    def __init__(self, make: MakeSegmenter, device: str = "cpu") -> None:
        self._make, self._device = make, device
        self._segmenter: VideoSegmenter | None = None
        self._reader: tuple[Any, VideoReader] | None = None
        self._policy: Policy | None = None

    @property
    def segmenter(self) -> VideoSegmenter:
        if self._segmenter is None:
            self._segmenter = self._make(self._device)
        return self._segmenter

    def reader(self, video: str, options: dict[str, Any]) -> tuple[VideoReader, Policy | None]:
        """Of a video, kept for the next job, which mostly is of the same one; and a new policy that it is read with.

        The policy is one that `restarts`: there may be a new one wherever decoding begins.
        """
        from arseg.video import VideoReader

        self._policy = policy = self.segmenter.new_policy()
        key = (video, sorted(options.items()))
        if self._reader is None or self._reader[0] != key:
            self.close()
            reading = self.segmenter.reading(policy)
            if policy is not None:
                reading["starts"] = self._starts
            self._reader = key, VideoReader(reachable(video), **{**reading, **options})
        reader = self._reader[1]
        self.segmenter.begin(policy, (reader.height, reader.width), live=False)
        return reader, policy

    def _starts(self, seen: Candidate) -> bool:
        assert self._policy is not None
        return self._policy.starts(seen)

    def close(self) -> None:
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None


def reachable(video: str) -> str:
    """The same; raises `InputError` where this machine cannot read the file."""
    path = local_path(video)
    if path is not None and not os.access(path, os.R_OK):
        raise InputError(
            f"{video}: the worker on {os.uname().nodename} cannot read it; put it where all machines have it under "
            "this name (shared storage), or give a URL"
        )
    return video


def device_of(device: str, number: int) -> str:
    """Where the worker of a number computes: "cuda" are all cards in turn, any other device is what it says."""
    if device != "cuda" or torch.cuda.device_count() < 2:
        return device
    return f"cuda:{number % torch.cuda.device_count()}"
