"""Both keyframes around a frame: what each counts, and that nothing is told by what does not show it."""

from __future__ import annotations

import pytest
import torch

from arseg.networks.bidirectional import LEAST, bidirectional_logits, moved_logits, pixel_luma, with_own

BLOCK, SIZE = 4, (16, 24)
WHERE = {"block": BLOCK, "frame_size": SIZE}


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    before, after, own = (torch.randn(1, 3, 4, 6, generator=generator) for _ in range(3))
    return before, after, own.expand(2, -1, -1, -1)


def still(count=2):
    return torch.zeros(count, 4, 6, 2, dtype=torch.int16)


def alike(count=1):
    return torch.full((count, 1, 4, 6), 100.0)


def together(luma_before=None, luma_after=None, **own):
    before, after, _ = maps()
    distance, left = torch.tensor([1, 3]), torch.tensor([3, 1])
    pictures = (
        alike(2),
        luma_before if luma_before is not None else alike(),
        luma_after if luma_after is not None else alike(),
    )
    return bidirectional_logits(before, after, still(), still(), distance, left, *pictures, **WHERE, **own)


def test_the_nearer_one_counts_more():
    before, after, _ = maps()
    found = together()
    torch.testing.assert_close(found[:1], 0.75 * before + 0.25 * after)
    torch.testing.assert_close(found[1:], 0.25 * before + 0.75 * after)


def test_what_looks_otherwise_counts_less():
    before, after, _ = maps()
    error, tau = 24.0, 12.0
    share = torch.exp(torch.tensor(-error / tau)) + LEAST
    found = together(luma_after=alike() + error)
    weight = share / 3 / (share / 3 + 1 + LEAST)
    torch.testing.assert_close(found[:1], (1 - weight) * before + weight * after)


def test_the_frames_own_result():
    *_, own = maps()
    plain = together()
    torch.testing.assert_close(together(own=own, own_weight=torch.tensor(0.0)), plain)
    total = (1 + LEAST) * (1 + 1 / 3)
    torch.testing.assert_close(together(own=own, own_weight=0.5), (total * plain + 0.5 * own) / (total + 0.5))


def test_what_is_out_of_view_is_told_by_the_other():
    before, after, _ = maps()
    away = still()
    away[:, :, :3, 0] = -400  # the left half comes from far outside of the picture
    found = bidirectional_logits(
        before, after, away, still(), torch.tensor([1, 1]), torch.tensor([1, 1]), alike(2), alike(), alike(), **WHERE
    )
    torch.testing.assert_close(found[0, :, :, :2], after[0, :, :, :2], rtol=0.01, atol=0.01)
    torch.testing.assert_close(found[0, :, :, 4:], (0.5 * before + 0.5 * after)[0, :, :, 4:])


def test_motion_moves_logits_and_picture_alike():
    logits, _, _ = maps()
    generator = torch.Generator().manual_seed(1)
    picture = 200 * torch.rand(1, 1, 4, 6, generator=generator)
    motion = still(1)
    motion[..., 0] = 16  # one cell to the right
    moved, trusted = moved_logits(logits, picture, motion, torch.roll(picture, -1, 3), **WHERE)
    torch.testing.assert_close(moved[..., :-1], logits[..., 1:])
    assert (trusted[..., :4] > 0.999).all() and (trusted[..., -1] <= 1 + LEAST).all()


def test_luma_of_pixels():
    pixels = torch.zeros(1, 4, 8, 3, dtype=torch.uint8)
    pixels[:, :, :4] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    pixels[:, :, 4:] = 90
    found = pixel_luma(pixels, (2, 4))
    torch.testing.assert_close(found[0, 0], torch.tensor([[76.245, 76.245, 90, 90]] * 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_type_of_the_logits_is_kept(dtype):
    before, after, own = (x.to(dtype) for x in maps())
    where = still(), still(), torch.tensor([1, 1]), torch.tensor([1, 1]), alike(2), alike(), alike()
    assert bidirectional_logits(before, after, *where, **WHERE, own=own, own_weight=torch.tensor(0.1)).dtype == dtype


def test_the_frames_own_result_beside_one_keyframe():
    before, _, own = maps()
    moved, trusted = moved_logits(before, alike(), still(), alike(2), **WHERE)
    weight = trusted / torch.tensor([1, 4]).view(-1, 1, 1, 1)
    found = with_own(moved, weight, own, 0.5)
    for place, distance in enumerate((1, 4)):
        near = (1 + LEAST) / distance
        here = (near * before + 0.5 * own[place : place + 1]) / (near + 0.5)
        torch.testing.assert_close(found[place : place + 1], here)
    torch.testing.assert_close(with_own(moved, weight, own, 0.0), before.expand(2, -1, -1, -1))
