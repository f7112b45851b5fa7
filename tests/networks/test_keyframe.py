"""What later frames take from the keyframe's logits."""

import pytest
import torch

from arseg.networks.keyframe import details, warped_logits, with_keyframe


def checkerboard(dtype=torch.float32):
    board = torch.ones(16, 24, dtype=dtype)
    board[::2, 1::2], board[1::2, ::2] = -1, -1
    return torch.stack([board, -board])[None]


def test_logits_that_the_coarse_grid_can_hold_have_no_details():
    flat, fine = torch.full((1, 2, 12, 16), 3.0), torch.randn(1, 2, 12, 16)
    assert details(flat, fine, (4, 5)).abs().max() < 1e-6
    assert torch.equal(details(fine, flat, (12, 16)), torch.zeros_like(fine))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_of_a_checkerboard_all_is_detail(dtype):
    """Its cells cancel out where they are shrunk to half and less."""
    board = checkerboard(dtype)
    found = details(board, torch.zeros_like(board), (8, 12))
    assert found.dtype == dtype
    torch.testing.assert_close(found[..., 2:-2, 2:-2], board[..., 2:-2, 2:-2], rtol=0, atol=1e-2)


@pytest.mark.parametrize(("first", "second", "overlap"), [(2.0, 2.0, 1.0), (30.0, -30.0, 0.0), (0.0, 40.0, 0.5)])
def test_details_count_as_far_as_both_results_agree(first, second, overlap):
    """`first`, `second`: how much more the keyframe and the frame believe in one of two classes."""
    offset = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    board = checkerboard()
    found = details(board + first * offset, torch.zeros_like(board) + second * offset, (8, 12))
    torch.testing.assert_close(found[..., 2:-2, 2:-2], overlap * board[..., 2:-2, 2:-2], rtol=0, atol=1e-2)


def test_what_agrees_is_not_learned_through_the_overlap():
    logits = torch.randn(1, 3, 8, 12, requires_grad=True)
    assert not details(torch.randn(1, 3, 8, 12), logits, (4, 6)).requires_grad


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_details_of_the_warped_keyframe_are_added_by_the_root_of_the_distance(weight):
    logits, kept = torch.randn(2, 2, 3, 16, 24)
    motion = torch.randint(-20, 20, (2, 16, 24, 2), dtype=torch.int16)
    where = {"block": 4, "frame_size": (64, 96)}
    found = with_keyframe(
        logits, kept, motion, torch.tensor([1, 9]), weight=weight, decay=1, detail=0.8, **where, low_size=(8, 12)
    )
    warped = warped_logits(kept, motion, 4, (64, 96))
    added = details(warped, logits, (8, 12))
    for sample, distance in enumerate((1, 9)):
        share = weight / distance
        expected = (logits[sample] + 0.8 / distance**0.5 * added[sample] + share * warped[sample]) / (1 + share)
        torch.testing.assert_close(found[sample], expected)
