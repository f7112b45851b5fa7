import numpy as np
import pytest
import torch

from arseg.errors import InputError
from arseg.train import distributed
from arseg.train.sampling import EpochOrder, Sampler


def test_every_frame_once_an_epoch_in_another_order():
    order = EpochOrder(7, seed=3)
    epochs = [[order.index(7 * e + i) for i in range(7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == [EpochOrder(7, seed=3).index(7 + i) for i in range(7)], "a resumed run asks in the middle"


def load(index, rng):
    return {"x": torch.tensor([float(index), rng.random()])}


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 3), (2, 3), (3, 2), (6, 1)])
def test_processes_share_the_same_batch(monkeypatch, world, accumulate):
    """All parts together are the batch of one process, and parts with one number hold the same frames of it."""
    whole = Sampler(load, 10, 12, seed=1)(5, np.random.default_rng())["x"]
    size = 12 // (world * accumulate)
    found = torch.empty_like(whole)
    for rank in range(world):
        monkeypatch.setattr(distributed, "world", lambda: world)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        mine = Sampler(load, 10, 12, seed=1, accumulate=accumulate)(5, np.random.default_rng())["x"]
        for part, frames in enumerate(mine.split(size)):
            start = (part * world + rank) * size
            found[start : start + size] = frames
    torch.testing.assert_close(found, whole, rtol=0, atol=0)


def test_what_does_not_go_is_said():
    with pytest.raises(InputError, match=r"batch: expected a multiple of 5 \(processes times .* parts\), got 8"):
        Sampler(load, 10, 8, accumulate=5)
    with pytest.raises(InputError, match="no labelled frames to train on"):
        EpochOrder(0, 0)
