"""What later frames take from the keyframe's logits."""

import pytest
import torch

from arseg.models import ARSegNet, PyramidNet
from arseg.models.keyframe import finer_than, warped_logits


def test_a_map_that_the_coarse_grid_can_hold_has_no_details():
    flat = torch.full((1, 2, 12, 16), 3.0)
    assert finer_than(flat, (4, 5)).abs().max() < 1e-6
    fine = torch.randn(1, 2, 12, 16)
    assert torch.equal(finer_than(fine, (12, 16)), torch.zeros_like(fine))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_of_a_checkerboard_all_is_detail(dtype):
    """Its cells cancel out where they are shrunk to half and less."""
    board = torch.ones(1, 1, 16, 24, dtype=dtype)
    board[..., ::2, 1::2], board[..., 1::2, ::2] = -1, -1
    found = finer_than(board, (8, 12))
    assert found.dtype == dtype
    torch.testing.assert_close(found[..., 2:-2, 2:-2], board[..., 2:-2, 2:-2], rtol=0, atol=1e-2)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_details_of_the_warped_keyframe_are_added_by_the_root_of_the_distance(weight):
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(classes=3, channels=8, wide=8), channels=8, keyframe_weight=weight, keyframe_detail=0.8)
    logits, kept = torch.randn(2, 2, 3, 16, 24)
    motion = torch.randint(-20, 20, (2, 16, 24, 2), dtype=torch.int16)
    where = {"block": 4, "frame_size": (64, 96)}
    found = net.with_keyframe(logits, kept, motion, torch.tensor([1, 9]), **where, low_size=(8, 12))
    warped = warped_logits(kept, motion, 4, (64, 96))
    for sample, distance in enumerate((1, 9)):
        detail = finer_than(warped, (8, 12))[sample]
        share = weight / distance
        expected = (logits[sample] + 0.8 / distance**0.5 * detail + share * warped[sample]) / (1 + share)
        torch.testing.assert_close(found[sample], expected)
