"""The gradient of a warp under motion that sends many pixels to few: right, the same bits, and no thread works long."""

from __future__ import annotations

import pytest
import torch
from emulator.emulator_build import counters
from helpers.op_samples import error, randn

HEIGHT, WIDTH = 60, 100
PIXELS = HEIGHT * WIDTH
SORTED = 128  # kSorted of csrc/mv_warp/feature_gradient.cuh: the longest list that one thread sorts
# 7 merges of 128 entries, what finds out how many they are; any list longer than that in pieces of 256.
MOST_STEPS = 8 * SORTED + SORTED + 1 + PIXELS // 256 + 1


def to(x, y) -> torch.Tensor:
    """Flow that takes each pixel from (x, y), numbers or maps."""
    rows, columns = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
    return torch.stack([torch.as_tensor(x) - columns, torch.as_tensor(y) - rows], -1)[None].float()


def places(count: int) -> torch.Tensor:
    """A number below `count` for each pixel, without order."""
    return torch.randint(count, (HEIGHT, WIDTH), generator=torch.Generator().manual_seed(count)).float()


def first(count: int) -> torch.Tensor:
    """The first pixels go to one; the others stay."""
    inside = (torch.arange(PIXELS) < count).reshape(HEIGHT, WIDTH)
    return torch.where(inside[None, ..., None], to(70.0, 50.0), torch.zeros(1, HEIGHT, WIDTH, 2))


COLUMNS, ROWS = torch.arange(float(WIDTH)), torch.arange(float(HEIGHT))[:, None]
FLOWS = {
    "one pixel": to(31.0, 17.0),
    "between four pixels": to(31.25, 17.5),
    "the corner": to(0.0, 0.0),
    "beside the corner": to(-0.5, -0.5),
    "one row": to(COLUMNS.expand(HEIGHT, WIDTH), 5.0),
    "between two rows": to(COLUMNS.expand(HEIGHT, WIDTH), 5.5),
    "one column": to(7.0, ROWS.expand(HEIGHT, WIDTH)),
    "two pixels in turn": to((COLUMNS % 2).expand(HEIGHT, WIDTH), 3.5),
    "pixels of two rows in turn": to((COLUMNS // 9).expand(HEIGHT, WIDTH), (ROWS % 2).expand(HEIGHT, WIDTH)),
    "40 pixels without order": to(places(40), 11.0),
    "46 pixels, lists of about 128": to(places(46), 11.5),
    "300 pixels without order": to(places(50) * 2, places(6) * 9),
    **{f"the first {count}": first(count) for count in (8, 9, 24, 25, 127, 128, 129, 256, 257, 511, 513)},
}
WITH_HOLES = FLOWS["one pixel"].clone()
WITH_HOLES[0, ::3, ::7, 0] = float("nan")
WITH_HOLES[0, 1::3, ::5, 1] = float("inf")
WITH_HOLES[0, 2::9, :, 0] = -1e30
FLOWS["one pixel, with NaN, Inf and far away"] = WITH_HOLES


def by_scatter(grad: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """In float64, by index_add."""
    n, c, height, width = grad.shape
    out = torch.zeros(n, c, height * width, dtype=torch.float64)
    x = torch.arange(width) + flow[..., 0].double()
    y = torch.arange(height)[:, None] + flow[..., 1].double()
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = torch.where(inside, x, 0.0), torch.where(inside, y, 0.0)
    for row, down in ((y.floor(), 1 - y + y.floor()), (y.floor() + 1, y - y.floor())):
        for column, across in ((x.floor(), 1 - x + x.floor()), (x.floor() + 1, x - x.floor())):
            used = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = torch.where(used, down * across, 0.0)
            index = torch.where(used, row * width + column, 0.0).long()
            for i in range(n):
                out[i].index_add_(1, index[i].flatten(), (grad[i].double() * weight[i]).flatten(1))
    return out.reshape(grad.shape)


def gradient(library, grad, flow, seed, monkeypatch):
    monkeypatch.setenv("ARSEG_EMULATOR_SEED", seed)
    return library._flow_warp_backward_feature(grad, flow, grid="aligned")


@pytest.mark.parametrize("name", FLOWS)
def test_right_in_one_order_and_in_few_steps(library, monkeypatch, name):
    flow = FLOWS[name]
    grad = randn(1, 8, HEIGHT, WIDTH, dtype=torch.float32)
    counters()
    runs = [gradient(library, grad, flow, seed, monkeypatch) for seed in ("1", "2")]
    assert counters()["steps"] <= MOST_STEPS
    assert torch.equal(*runs)
    expected = by_scatter(grad, flow)
    assert error(runs[0], expected) <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_batch_channels_and_dtypes(library, monkeypatch):
    """Images with long lists and without, more channels than a pixel's threads have at a time, all types."""
    usual = randn(1, HEIGHT, WIDTH, 2, dtype=torch.float32)
    flow = torch.cat([usual, FLOWS["between four pixels"], FLOWS["40 pixels without order"]])
    for dtype, channels, tolerance in (
        (torch.float64, 3, 1e-12),
        (torch.float32, 72, 1e-5),
        (torch.bfloat16, 24, 2e-2),
        (torch.float16, 5, 2e-3),
    ):
        grad = randn(3, channels, HEIGHT, WIDTH, dtype=dtype)
        got = gradient(library, grad, flow, "3", monkeypatch)
        expected = by_scatter(grad, flow)
        assert error(got, expected) <= tolerance * float(expected.abs().max()), dtype


def test_blocks_that_point_to_one_place(library, monkeypatch):
    """mv_warp takes the same way."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT // 4), torch.arange(WIDTH // 4), indexing="ij")
    motion = torch.stack([80 - 16 * columns, 40 - 16 * rows], -1)[None].to(torch.int16)
    grad = randn(1, 8, HEIGHT, WIDTH, dtype=torch.float32)
    counters()
    options = {"block": 4, "frame_size": [HEIGHT, WIDTH], "grid": "aligned"}
    got = library._mv_warp_backward(grad, motion, **options)
    assert counters()["steps"] <= MOST_STEPS
    flow = motion.repeat_interleave(4, 1).repeat_interleave(4, 2).double() / 4
    expected = by_scatter(grad, flow)
    assert error(got, expected) <= 1e-5 * float(expected.abs().max())


def test_steps_and_exchanges_do_not_grow_with_the_list(library, monkeypatch):
    grad = randn(1, 8, HEIGHT, WIDTH, dtype=torch.float32)

    def counts(flow):
        counters()
        gradient(library, grad, flow, "1", monkeypatch)
        return counters()

    usual = counts(randn(1, HEIGHT, WIDTH, 2, dtype=torch.float32))
    worst = counts(FLOWS["between four pixels"])
    assert worst["steps"] < 10 * SORTED
    for name in ("atomics", "shuffles", "barriers", "blocks"):
        assert worst[name] <= 10 * max(usual[name], PIXELS), name
