"""Where keyframes are and what is made of the frames between them, on what `frontier_signals` recorded.

Each policy yields, frame by frame, its label map and what the frame costs, as a share of the network on every frame.
What it moves is what the network gave in the recording: no network runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from frontier_signals import GROUP, Field, Recording
from torch import Tensor

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.bidirectional import bidirectional_logits, moved_logits, pixel_luma
from arseg.networks.keyframe import warped_logits
from arseg.networks.layers import resize
from arseg.networks.motion import warp
from arseg.networks.trust import photometric_error
from arseg.segment.steered import OWN_WEIGHTS, UNTESTED
from arseg.video.hops import inverted
from arseg.video.motion import CELL, BlockField, chain

Labelled = tuple[np.ndarray, float]
"""A frame's label map, uint8 `[H, W]`, and its cost."""

RESIDUAL = 0.74, 33.6
"""Share and tau of the branch's residual: those of the pilot, found on other clips with lite0."""

GRID = 6, 8
"""Tiles of a frame, down and across."""

CONTEXT = 1.5
"""What a tile with its margin costs, of its own area."""

HOLE = 64.0
"""What counts as e where no vectors lead: more than a warp is ever off by in the mean of a tile."""

TAU = 8.0
"""Of what a branch or a memory is joined with, in levels of luma."""


@dataclass
class Frames:
    """A recording as policies see it; float32, one frame at a time."""

    of: Recording
    net: ARSegNet

    def __len__(self) -> int:
        return len(self.of)

    def logits(self, t: int) -> Tensor:
        return self.of.logits[t : t + 1].float()

    def branch(self, t: int) -> Tensor:
        """Of the branch for low resolution, at the logits' resolution."""
        assert self.of.low is not None
        return resize(self.of.low[t : t + 1].float(), self.of.logits.shape[2:], align_corners=True)

    def share(self, way: str) -> float:
        return self.of.costs[way] / self.of.costs["hr"]

    def labels(self, logits: Tensor) -> np.ndarray:
        return self.net.labels(logits, self.of.size)[0].numpy()

    def given(self, t: int) -> np.ndarray:
        """The network's own labels."""
        return self.of.labels[t].numpy()

    def onward(self, t: int, before: Field | None) -> Field:
        """From frame t to the keyframe, of that of the frame before (None: that is the keyframe)."""
        hop = self.of.hop(t)
        return hop if before is None else chain(*hop, *before)

    def along(self, first: int, last: int) -> Field:
        """From frame `last` to `first`, which is before it."""
        found = None
        for t in range(first + 1, last + 1):
            found = self.onward(t, found)
        assert found is not None
        return found

    def moved(self, logits: Tensor, vectors: np.ndarray) -> Tensor:
        return warped_logits(logits, as_motion(vectors), CELL, self.of.size)

    def inside(self, vectors: np.ndarray) -> Tensor:
        one = torch.ones(1, 1, *self.of.logits.shape[2:])
        return warp(one, as_motion(vectors), CELL, self.of.size)

    def kept(self, vectors: np.ndarray, valid: np.ndarray) -> Tensor:
        """1 where vectors of the codec lead into the picture, at the logits' resolution, else 0."""
        known = torch.from_numpy(np.ascontiguousarray(valid)).float()[None, None]
        return (self.inside(vectors) > 0.5) * F.interpolate(known, size=self.of.logits.shape[2:])

    def error(self, t: int, key: int, vectors: np.ndarray) -> Tensor:
        """e of `arseg.networks.trust` at the logits' resolution."""
        pictures = (self.of.luma[at : at + 1].float() for at in (t, key))
        return photometric_error(*pictures, as_motion(vectors), self.of.logits.shape[2:], CELL, self.of.size)

    def small_luma(self, t: int) -> Tensor:
        grey = self.of.luma[t : t + 1, 0, ..., None].expand(-1, -1, -1, 3)
        return pixel_luma(grey, self.of.logits.shape[2:])


def as_motion(vectors: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(vectors))[None]


# --- where keyframes are ----------------------------------------------------------------------------------------------


def regular(intra: list[bool], length: int, phase: int = 0) -> list[int]:
    """Every `length` frames from the first on, anew at frame `phase` and at the codec's own I frames."""
    found: list[int] = []
    for t, is_intra in enumerate(intra):
        if is_intra or t == phase or t - found[-1] >= length:
            found.append(t)
    return found


def gathering(frames: Frames, share: float, *, urge: float = 0.5) -> list[int]:
    """Keyframes where e, summed since the last one, exceeds what a group has gathered in the mean so far.

    The mean budget `share` is held within one keyframe: what was saved lowers the threshold (`urge`), what is owed
    raises it. The threshold is of the stream itself, as no level of e means the same on two streams.
    """
    found: list[int] = []
    gathered: list[float] = []
    total, saved = 0.0, 0.0
    way: Field | None = None
    for t in range(len(frames)):
        saved += share
        start = frames.of.intra[t]
        if not start:
            way = frames.onward(t, way)
            total += float(frames.error(t, found[-1], way[0]).mean())
            level = np.mean(gathered) if gathered else None
            start = t - found[-1] >= 1 / share if level is None else total > level * np.exp(-urge * saved)
            start = (start and saved >= 0) or saved >= 2
        if start:
            if found and not frames.of.intra[t]:
                gathered.append(total)
            found.append(t)
            total, way, saved = 0.0, None, saved - 1
    return found


def best_places(gain: Mapping[tuple[int, int], float], count: int, frames: int) -> list[int]:
    """The `count` keyframes with the greatest sum over frames of `gain[keyframe, frame]`; what no causal rule can beat.

    `gain` has no entry where a keyframe's vectors do not lead. Raises `ValueError` where so few keyframes do not do.
    """
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]  # by where the next group starts: gain, last keyframe
    for _ in range(count):
        now: dict[int, tuple[float, int]] = {}
        for key, (before, _) in best[-1].items():
            total = before
            for t in range(key, frames):
                if (key, t) not in gain:
                    break
                total += gain[key, t]
                if t + 1 not in now or total > now[t + 1][0]:
                    now[t + 1] = total, key
        best.append(now)
    if frames not in best[-1]:
        raise ValueError(f"count: {count} keyframes do not reach all of {frames} frames")
    found, end = [], frames
    for states in reversed(best[1:]):
        end = states[end][1]
        found.append(end)
    return found[::-1]


# --- what is made of the frames between -------------------------------------------------------------------------------


def every_frame(frames: Frames) -> Iterator[Labelled]:
    for t in range(len(frames)):
        yield frames.given(t), 1.0


def warped(frames: Frames, keys: list[int]) -> Iterator[Labelled]:
    """The keyframe's result moved along the chain of vectors."""
    for t, key, way in followed(frames, keys):
        if way is None:
            yield frames.given(t), 1.0
        else:
            yield frames.labels(frames.moved(frames.logits(key), way[0])), 0.0


def followed(frames: Frames, keys: list[int]) -> Iterator[tuple[int, int, Field | None]]:
    """Each frame, its keyframe, and the field to that (None for itself)."""
    starts, key, way = set(keys), 0, None
    for t in range(len(frames)):
        key, way = (t, None) if t in starts else (key, frames.onward(t, way))
        yield t, key, way


def hopping(frames: Frames, keys: list[int]) -> Iterator[Labelled]:
    """The last frame's logits moved to the next, from frame to frame: no field is chained."""
    starts, logits = set(keys), frames.logits(0)
    for t in range(len(frames)):
        if t in starts:
            logits = frames.logits(t)
            yield frames.given(t), 1.0
        else:
            logits = frames.moved(logits, frames.of.hop(t)[0])
            yield frames.labels(logits), 0.0


def remembering(frames: Frames, keys: list[int], share: float = 1.0) -> Iterator[Labelled]:
    """As `warped`; a keyframe's logits are joined with what was moved to it, which counts `share * exp(-e / tau)`."""
    starts, memory, way, key = set(keys), frames.logits(0), None, 0
    for t in range(len(frames)):
        if t not in starts:
            way = frames.onward(t, way)
            yield frames.labels(frames.moved(memory, way[0])), 0.0
            continue
        logits = frames.logits(t)
        if t and not frames.of.intra[t]:
            way = frames.onward(t, way)
            weight = share * frames.inside(way[0]) * torch.exp(-frames.error(t, key, way[0]) / TAU)
            logits = (logits + weight * frames.moved(memory, way[0])) / (1 + weight)
        memory, way, key = logits, None, t
        yield frames.labels(logits), 1.0


def both_sides(
    frames: Frames, keys: list[int], branch: float | Callable[[Frames, int, int], float] = 0.0
) -> Iterator[Labelled]:
    """A mean of the keyframes before and after, both moved (`bidirectional_logits`): as late as the next keyframe.

    `branch`: what the frame's own low-resolution logits count beside a keyframe that is one frame away; or what says
    so of both keyframes, such as `tested`.
    """
    after = dict(pairwise(keys))
    ways: dict[int, Field] = {}
    share = branch if isinstance(branch, float) else 0.0
    how: dict[str, Any] = {"block": CELL, "frame_size": frames.of.size}
    for t, key, way in followed(frames, keys):
        following = after.get(key)
        if way is None:
            alone = following is None or frames.of.intra[following]
            ways = {} if following is None or alone else back_from(frames, key, following)
            if not isinstance(branch, float):
                share = OWN_WEIGHTS[UNTESTED] if following is None or alone else branch(frames, key, following)
            yield frames.given(t), 1.0 + (0.0 if isinstance(branch, float) else frames.share("lr"))
            continue
        own = frames.branch(t) if share else None
        before, luma = as_motion(way[0]), frames.small_luma(t)
        distance = torch.tensor([t - key])
        if following is not None and t in ways:
            sides = frames.logits(key), frames.logits(following), before, as_motion(ways[t][0])
            lumas = luma, frames.small_luma(key), frames.small_luma(following)
            left = torch.tensor([following - t])
            logits = bidirectional_logits(*sides, distance, left, *lumas, **how, own=own, own_weight=share)
        else:
            logits, weight = moved_logits(frames.logits(key), frames.small_luma(key), before, luma, **how)
            if own is not None:
                weight = weight / distance
                logits = (weight * logits + share * own) / (weight + share)
        yield frames.labels(logits), frames.share("lr") if own is not None else 0.0


def tested(frames: Frames, key: int, following: int) -> float:
    """The weight of a frame's own result that tells the later keyframe best, as `arseg segment` finds it."""
    luma, way = frames.small_luma(following), as_motion(frames.along(key, following)[0])
    how: dict[str, Any] = {"block": CELL, "frame_size": frames.of.size}
    moved, trusted = moved_logits(frames.logits(key), frames.small_luma(key), way, luma, **how)
    moved, own = moved * trusted / (following - key), frames.branch(following)
    classes = frames.logits(following).argmax(1)
    shares = [float(((moved + weight * own).argmax(1) == classes).float().mean()) for weight in OWN_WEIGHTS]
    return OWN_WEIGHTS[int(np.argmax(shares))]


def back_from(frames: Frames, key: int, following: int) -> dict[int, Field]:
    """Fields from the frames between two keyframes to the later: each hop inverted, then chained backwards."""
    found: dict[int, Field] = {}
    way: Field | None = None
    for t in range(following - 1, key, -1):
        step = inverted(BlockField(*frames.of.hop(t + 1), CELL))
        way = step if way is None else chain(*step, *way)
        found[t] = way
    return found


def residual(frames: Frames, keys: list[int]) -> Iterator[Labelled]:
    """The branch on every frame; what it got wrong on the keyframe is moved along and added."""
    share, tau = RESIDUAL
    for t, key, way in followed(frames, keys):
        if way is None:
            yield frames.given(t), 1.0 + frames.share("lr")
            continue
        wrong = frames.moved(frames.logits(key) - frames.branch(key), way[0])
        logits = frames.branch(t) + share * torch.exp(-frames.error(t, key, way[0]) / tau) * wrong
        yield frames.labels(logits), frames.share("lr")


def as_it_is(frames: Frames) -> Iterator[Labelled]:
    """AR-Seg as the weights say, with a keyframe every 12 frames."""
    assert frames.of.ar is not None
    starts = set(regular(frames.of.intra, GROUP))
    for t in range(len(frames)):
        yield frames.of.ar[t].numpy(), 1.0 if t in starts else frames.share("ar")


def low_alone(frames: Frames, memory: float = 0.0) -> Iterator[Labelled]:
    """The branch on every frame; `memory`: what the frame before, moved, counts beside it, times exp(-e / tau)."""
    logits = None
    for t in range(len(frames)):
        own = frames.branch(t)
        if memory and logits is not None and not frames.of.intra[t]:
            vectors = frames.of.hop(t)[0]
            weight = memory * frames.inside(vectors) * torch.exp(-frames.error(t, t - 1, vectors) / TAU)
            own = (own + weight * frames.moved(logits, vectors)) / (1 + weight)
        logits = own
        yield frames.labels(logits), frames.share("lr")


def spread(frames: Frames, over: int) -> Iterator[Labelled]:
    """A keyframe's work spread over `over` frames; the last one that is finished is moved meanwhile.

    At the codec's I frames, where no vectors lead further, the keyframe is computed at once.
    """
    finished, begun, way = 0, 0, None
    for t in range(len(frames)):
        if frames.of.intra[t]:
            finished = begun = t
            way = None
            yield frames.given(t), 1.0
            continue
        if t - begun == over:
            finished, begun, way = begun, t, frames.along(begun, t)
        else:
            way = frames.onward(t, way)
        yield frames.labels(frames.moved(frames.logits(finished), way[0])), 1 / over


def tiles(frames: Frames, keys: list[int], count: int) -> Iterator[Labelled]:
    """Hop by hop; the `count` tiles of `GRID` in which e has gathered most are the network's own, each frame anew.

    A tile is cut out of what the network gave on the whole frame, as if its context were all of that, and costs
    `CONTEXT` times its area: more than tiles are worth that see their margin alone.
    """
    starts, logits, gathered = set(keys), frames.logits(0), torch.zeros(GRID)
    for t in range(len(frames)):
        if t in starts:
            logits, gathered = frames.logits(t), torch.zeros(GRID)
            yield frames.given(t), 1.0
            continue
        vectors, valid = frames.of.hop(t)
        lost = torch.where(frames.kept(vectors, valid) > 0, frames.error(t, t - 1, vectors), HOLE)
        gathered += F.adaptive_avg_pool2d(lost, GRID)[0, 0]
        chosen = torch.zeros(GRID).flatten()
        chosen[gathered.flatten().topk(count).indices] = 1
        chosen = chosen.view(GRID)
        gathered = gathered * (1 - chosen)
        place = F.interpolate(chosen[None, None], size=frames.of.logits.shape[2:]) > 0
        logits = torch.where(place, frames.logits(t), frames.moved(logits, vectors))
        yield frames.labels(logits), CONTEXT * count / chosen.numel()


def mixed(frames: Frames, keys: list[int], *, late: bool = False, tau: float | None = None) -> Iterator[Labelled]:
    """The frame's own branch only where the warp has nothing to move: outside, and where the codec has no vectors.

    `tau`: the branch counts 1 - exp(-e / tau) of the rest, too. `late`: both keyframes around the frame are moved.
    """
    after = dict(pairwise(keys)) if late else {}
    ways: dict[int, Field] = {}
    for t, key, way in followed(frames, keys):
        following = after.get(key)
        if way is None:
            ways = {} if following is None or frames.of.intra[following] else back_from(frames, key, following)
            yield frames.given(t), 1.0
            continue
        sides = [(key, way)] + ([(following, ways[t])] if following is not None and t in ways else [])
        total, parts, trust = torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0)
        for at, (vectors, valid) in sides:
            kept = frames.kept(vectors, valid)
            right = kept * torch.exp(-frames.error(t, at, vectors) / (12.0 if tau is None else tau))
            weight = right / abs(t - at)
            total, parts = total + weight, parts + weight * frames.moved(frames.logits(at), vectors)
            trust = torch.maximum(trust, kept if tau is None else right)
        logits = trust * parts / total.clamp_min(1e-9) + (1 - trust) * frames.branch(t)
        yield frames.labels(logits), frames.share("lr")


Policy = Callable[[Frames], Iterator[Labelled]]


@dataclass(frozen=True)
class Way:
    """A policy. `family`: points of one curve; `late`: it needs frames to come; `branch`: it needs the network's."""

    family: str
    name: str
    run: Policy
    late: bool = False
    branch: bool = False


def ways(lengths: tuple[int, ...] = (3, 4, 6, 12)) -> list[Way]:
    """All policies, from the dearest on within each family."""

    def keyed(make: Callable[..., Iterator[Labelled]], length: int, **options: Any) -> Policy:
        return lambda frames: make(frames, regular(frames.of.intra, length), **options)

    found = [Way("HR", "HR", every_frame)]
    found += [Way("warp", f"warp, L = {n}", keyed(warped, n)) for n in lengths]
    found += [Way("both sides", f"both sides, L = {n}", keyed(both_sides, n), late=True) for n in lengths]
    found += [Way("hop by hop", f"hop by hop, L = {n}", keyed(hopping, n)) for n in lengths if n > 4]
    found += [Way("memory", f"memory, L = {n}", keyed(remembering, n)) for n in lengths if n < 4]
    found += [
        Way("where e gathers", f"where e gathers, 1/{n}", lambda frames, n=n: warped(frames, gathering(frames, 1 / n)))
        for n in lengths
        if n != 4
    ]
    found += [Way("spread", f"spread over {n}", lambda frames, n=n: spread(frames, n)) for n in lengths if n < 12]
    found += [Way("tiles", f"tiles, {n} of 48 a frame", keyed(tiles, GROUP, count=n)) for n in (8, 4, 2)]
    own: list[Way] = [
        Way("AR", "AR, L = 12", as_it_is),
        Way("residual", "residual, L = 12", keyed(residual, GROUP)),
        Way("branch alone", "branch alone", low_alone),
        Way("branch, memory", "branch, memory", lambda frames: low_alone(frames, 2.0)),
    ]
    own += [
        Way("both sides and branch", f"both sides and branch {share:g}, L = 12",
            keyed(both_sides, GROUP, branch=share), late=True)
        for share in (0.03, 0.1, 0.3)
    ]  # fmt: skip
    for late, sides in ((False, "warp"), (True, "both sides")):
        for tau, where in ((None, "in holes"), (12.0, "where e is large")):
            name = f"{sides}, branch {where}, L = 12"
            own.append(Way(f"{sides}, branch {where}", name, keyed(mixed, GROUP, late=late, tau=tau), late=late))
    return found + [Way(way.family, way.name, way.run, way.late, True) for way in own]
