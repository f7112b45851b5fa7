"""How far to trust the warped keyframe, and what its branch got wrong there: constants found on videos without labels.

The measure is agreement with the network itself at full resolution; the way, a coordinate search over a coarse grid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from arseg.data.groups import BLOCK, StoredGroup
from arseg.errors import InputError
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.keyframe import warped_logits
from arseg.networks.trust import KeyframeSignals, photometric_error, trust
from arseg.preprocess import normalise
from arseg.segment.ways import see

Constants = Mapping[str, float | None]
"""Attributes of `ARSegNet` by name: those of `PLAIN`."""

PLAIN: Constants = {
    "keyframe_weight": 1.0,
    "keyframe_decay": 1.0,
    "keyframe_tau": None,
    "keyframe_residual": 0.0,
    "residual_tau": None,
}
"""Where the search starts: the weight 1 / d."""

GRID: Mapping[str, tuple[float | None, ...]] = {
    "keyframe_weight": (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    "keyframe_decay": (0.0, 0.5, 1.0),
    "keyframe_tau": (None, 3.0, 6.0, 12.0, 24.0, 48.0),
    "keyframe_residual": (0.0, 0.25, 0.5, 0.75, 1.0),
    "residual_tau": (None, 8.0, 16.0, 32.0, 64.0),
}
"""What is tried; the taus are in levels of luma."""

WEIGHT = (("keyframe_weight", "keyframe_tau"), ("keyframe_decay",))
RESIDUAL = (("keyframe_residual", "residual_tau"),)
"""Which constants are tried together, one group after the other."""

WORTH = 0.1
"""Percent of the labels that the residual has to gain, for it costs a pass of the branch on each keyframe."""

CELLS = 500
"""How many cells of a frame are looked at, at most."""


class Sample(NamedTuple):
    """Cells of frames after keyframes.

    Attributes:
        own, warped, residual: logits `[n, num_classes]`: the frame's own, with the keyframe's details but nothing else
            of it; the keyframe's; and what the branch got wrong on the keyframe. Both are warped.
        error: by how much the warped keyframe's luma is off, `[n]`.
        distance: `[n]`.
        truth: classes that the network gives at full resolution, `[n]`.
    """

    own: Tensor
    warped: Tensor
    residual: Tensor
    error: Tensor
    distance: Tensor
    truth: Tensor

    def agreement(self, constants: Constants) -> float:
        """Percent of the cells whose class is the true one: the mean over the distances that there are."""
        same = (self.logits(constants).argmax(1) == self.truth).double()
        seen = torch.bincount(self.distance)
        shares = torch.bincount(self.distance, same)[seen > 0] / seen[seen > 0]
        return 100 * float(shares.mean())

    def logits(self, constants: Constants) -> Tensor:
        """What `ARSegNet.step` gives with these constants, but for a factor that all classes of a cell have."""
        weight, residual = constants["keyframe_weight"], constants["keyframe_residual"]
        assert weight is not None and residual is not None
        count = weight / self.distance ** (constants["keyframe_decay"] or 0.0)
        count = count * trust(self.error, constants["keyframe_tau"])
        found = self.own + count[:, None] * self.warped
        if residual:
            share = residual * trust(self.error, constants["residual_tau"])
            found = found + (share[:, None] if isinstance(share, Tensor) else share) * self.residual
        return found


class Fit(NamedTuple):
    """Constants, and the agreement that they have on what they were found on, percent."""

    constants: Constants
    agreement: float

    def text(self) -> str:
        """As a line of a report has it."""
        c = self.constants
        told = [f"keyframe {c['keyframe_weight']:g}", f"/ d^{c['keyframe_decay']:g}"]
        told += [] if c["keyframe_tau"] is None else [f"* exp(-e / {c['keyframe_tau']:g})"]
        if c["keyframe_residual"]:
            told.append(f"+ residual {c['keyframe_residual']:g}")
            told += [] if c["residual_tau"] is None else [f"* exp(-e / {c['residual_tau']:g})"]
        return " ".join(told)


@torch.inference_mode()
def sample_cells(
    net: ARSegNet,
    groups: Sequence[StoredGroup],
    *,
    gop: int,
    autocast: Callable[[], AbstractContextManager[Any]],
    distances: Collection[int] | None = None,
    seed: int = 0,
) -> Sample:
    """Cells of the frames of `groups`, drawn at random: as many of each frame.

    Args:
        gop: distances are 1 … gop-1; `distances`: of these only some.

    Raises `InputError` where no group has two frames.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    wanted = range(gop) if distances is None else distances
    for distance, own, warped, residual, error, truth in _frames(net, groups, wanted, autocast):
        count = min(CELLS, max(50, 20_000 // own.shape[1]))  # where there are many classes
        cells = torch.randperm(truth.numel(), generator=generator)[:count].to(truth.device)
        maps = (x.float().flatten(2)[0].T[cells].cpu() for x in (own, warped, residual))
        where = (x.flatten()[cells].cpu() for x in (error, truth))
        own, warped, residual, error, truth = (*maps, *where)
        parts.append(Sample(own, warped, residual, error, torch.full_like(truth, distance), truth))
    if not parts:
        raise InputError("groups: expected frames after a keyframe, got none")
    return Sample(*(torch.cat(found) for found in zip(*parts, strict=True)))


def _frames(
    net: ARSegNet,
    groups: Sequence[StoredGroup],
    distances: Collection[int],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Iterator[tuple[int, Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Of each frame after a keyframe: distance, own, warped and residual logits, error, classes of `Sample`."""
    device, label_set = next(net.parameters()).device, net.known_labels()
    for group in groups:
        seen: tuple[Tensor, Tensor] | None = None
        signals: KeyframeSignals | None = None
        for distance in (0, *(d for d in sorted(distances) if 0 < d < group.frames)):
            pixels = torch.from_numpy(group.image(distance)).to(device).permute(2, 0, 1)[None]
            image = normalise(pixels, label_set.mean, label_set.std)
            with autocast():
                feature = net.keyframe(image)
                logits = net.classifier(feature)
                if seen is None:
                    seen = feature, logits
                    with having(net, {**PLAIN, "keyframe_residual": 1.0}):
                        signals = net.keyframe_signals(image, feature, logits)
                    continue
                assert signals is not None and signals.residual is not None
                motion = torch.from_numpy(group.vectors(distance))[None].to(device)
                where: dict[str, Any] = {"block": BLOCK, "frame_size": group.coded}
                with having(net, {"keyframe_weight": 0.0, "keyframe_residual": 0.0}):
                    own = see(net, "ar", image, *seen, motion, distance, **where)
                warped, residual = (warped_logits(x, motion, **where) for x in (seen[1], signals.residual))
                error = photometric_error(net.luma(image), signals.luma, motion, logits.shape[2:], **where)
            yield distance, own, warped, residual, error, logits.argmax(1)


@contextmanager
def having(net: ARSegNet, constants: Constants) -> Iterator[None]:
    """The network with other constants, for a while."""
    before = {name: getattr(net, name) for name in constants}
    use(net, constants)
    try:
        yield
    finally:
        use(net, before)


def use(net: ARSegNet, constants: Mapping[str, Any]) -> None:
    """Leaves the network with these constants."""
    for name, value in constants.items():
        setattr(net, name, value)


def search(
    sample: Sample, together: Iterable[Sequence[str]], start: Constants = PLAIN, grid: Mapping[str, Any] = GRID
) -> Fit:
    """From `start`, the constants of one group after the other at their best of the grid, until none gets better."""
    best, groups, better = Fit(dict(start), sample.agreement(start)), list(together), True
    while better:
        better = False
        for names in groups:
            for values in product(*(grid[name] for name in names)):
                constants = {**best.constants, **dict(zip(names, values, strict=True))}
                found = sample.agreement(constants)
                if found > best.agreement + 1e-9:  # the first of equal ones: it has less to it
                    best, better = Fit(constants, found), True
    return best


def fit_trust(sample: Sample, *, residual: bool | None = None) -> dict[str, Fit]:
    """The best constants: "weight" and decay alone; with "trust"; and with the "residual", but for `residual` False.

    "chosen" is the last of them that is worth it: the residual with `residual` True, or where it gains `WORTH`.
    """
    plain = {**GRID, "keyframe_tau": (None,)}
    found = {"weight": search(sample, WEIGHT, grid=plain)}
    found["trust"] = search(sample, WEIGHT, found["weight"].constants)
    chosen = found["trust"]
    if residual is not False:
        # From both ends: beside a residual the keyframe's own logits count for less.
        starts = (chosen.constants, {**PLAIN, "keyframe_weight": 0.0, "keyframe_residual": 0.75, "residual_tau": 32.0})
        fits = (search(sample, RESIDUAL + WEIGHT, start) for start in starts)
        found["residual"] = max(fits, key=lambda fit: fit.agreement)
        if residual or found["residual"].agreement >= chosen.agreement + WORTH:
            chosen = found["residual"]
    return {**found, "chosen": chosen}
