"""What `arseg segment --budget` and `--live` make of the frontier's streams: the network runs as a user's does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from frontier_ways import Labelled

from arseg.networks.arseg_net import ARSegNet
from arseg.segment.costs import costs_of
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import VideoReader


@dataclass(frozen=True)
class Asked:
    """What a user asks for, in percent of the network on every frame; `family` is its curve."""

    family: str
    name: str
    budget: str | None = None
    slowest: str | None = None
    policy: str | None = None

    def labelled(self, net: ARSegNet, video: Path, size: tuple[int, int], count: int) -> Iterator[Labelled]:
        """Label maps of the first `count` frames, and what each costs."""
        segmenter = VideoSegmenter(net, budget=self.budget, slowest=self.slowest, policy=self.policy)
        policy = segmenter.new_policy()
        assert policy is not None
        ways = policy.ways
        with VideoReader(video, **segmenter.reading(policy)) as reader:
            segmenter.begin(policy, size, live=False)
            costs = costs_of(segmenter._engine, size, ways, "hr")
            own, used = 0, False
            for frame in islice(segmenter.segment_all(reader, policy=policy), count):
                if policy.spread > 1:
                    made = getattr(policy, "own_results", 0)
                    beside = costs.of("ar") if made == own else costs.of("ensemble")
                    trial = made > own and not used  # has no share of the keyframe's work
                    yield frame.labels, beside + (0.0 if trial else costs.key / policy.spread)
                    own, used = made, "worth" in vars(policy) and policy.worth.used
                else:
                    (way,) = policy.ways - {"lr"}  # of a file, that is what its frames between are made of
                    yield frame.labels, costs.key + costs.of("ensemble") if frame.keyframe else costs.of(way)


def asked_for() -> list[Asked]:
    found = [Asked("arseg --budget", f"arseg --budget, 1/{n}", f"{100 / n:.4f}%") for n in (3, 4, 6, 12)]
    found.append(Asked("arseg ensemble", "arseg --budget, 1/3, ensemble", f"{100 / 3:.4f}%", policy="ensemble"))
    found.append(Asked("arseg --live", "arseg --live 40%", slowest="40%"))
    found.append(Asked("arseg --live warp", "arseg --live 40%, warp", slowest="40%", policy="warp"))
    found.append(Asked("arseg --live ar", "arseg --live 40%, ar", slowest="40%", policy="ar"))
    return found
