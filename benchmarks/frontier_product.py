"""What `arseg segment --budget` and `--live` make of the frontier's streams: the network runs as a user's does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from frontier_ways import Labelled

from arseg.networks.arseg_net import ARSegNet
from arseg.segment.costs import costs_of
from arseg.segment.segmenter import VideoSegmenter


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
        costs = costs_of(segmenter._engine, size, policy.ways, "hr")
        policy.begin(costs, gop=12, live=False)
        cost: Callable[[bool], float]
        if policy.spread > 1:
            cost = lambda keyframe: costs.key / policy.spread + costs.of(self.policy or "warp")  # noqa: E731
        else:
            way = self.policy or "bidirectional"  # of a file, that is what its frames between are made of
            cost = lambda keyframe: costs.key if keyframe else costs.of(way)  # noqa: E731
        for frame in islice(segmenter.stream(video), count):
            yield frame.labels, cost(frame.keyframe)


def asked_for() -> list[Asked]:
    found = [Asked("arseg --budget", f"arseg --budget, 1/{n}", f"{100 / n:.4f}%") for n in (3, 4, 6, 12)]
    found.append(Asked("arseg ensemble", "arseg --budget, 1/3, ensemble", f"{100 / 3:.4f}%", policy="ensemble"))
    found.append(Asked("arseg --live", "arseg --live 40%", slowest="40%"))
    found.append(Asked("arseg --live ar", "arseg --live 40%, ar", slowest="40%", policy="ar"))
    return found
