"""Geometry of the default network: what it finds does not shift with the size of the frame."""

import pytest
import torch

from arseg.networks.layers import upsample_and_crop
from arseg.networks.pyramid import PyramidNet
from arseg.preprocess import input_size


@pytest.mark.parametrize("cells", [8, 9])
def test_a_map_is_enlarged_about_the_same_places_whatever_the_size_of_the_finer_one(cells):
    """A coarse map that holds each cell's place in the picture, in fine cells: enlarged it holds theirs."""
    coarse = (torch.arange(-(-cells // 2)) + 0.5) * 2
    fine = upsample_and_crop(coarse.expand(1, 1, 4, -1), (7, cells))
    assert fine.shape == (1, 1, 7, cells)
    inner = slice(1, 2 * (len(coarse) - 1))
    torch.testing.assert_close(fine[0, 0, 3, inner], (torch.arange(cells) + 0.5)[inner])


@pytest.mark.parametrize("cut", [4, 20, 28])
def test_a_narrower_frame_has_the_same_features_where_nothing_of_its_edge_is_seen(cut):
    net = PyramidNet(num_classes=2, channels=8, wide=8).eval()
    for branch in net.head.context.branches:  # which sees the whole frame, and its size
        torch.nn.init.zeros_(branch[1].weight)
        torch.nn.init.zeros_(branch[1].bias)
    image = torch.randn(1, 3, 32, 1600)
    whole, narrow = net.features(image), net.features(image[..., : 1600 - cut])
    seen = 50
    torch.testing.assert_close(narrow[..., :seen], whole[..., :seen], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(narrow[..., -1], whole[..., narrow.shape[-1] - 1])


@pytest.mark.parametrize("frame", [(480, 854), (360, 638), (720, 406), (1080, 1920), (1000, 999)])
def test_a_resized_frame_is_seen_in_whole_cells_with_its_sides_in_proportion(frame):
    height, width = input_size(frame, 576)
    assert height == 576 and width % 8 == 0
    assert abs(width - frame[1] * 576 / frame[0]) <= 4


def test_a_frame_of_the_right_height_is_seen_as_it_is():
    assert input_size((480, 854), 480) == input_size((480, 854), None) == (480, 854)
    assert input_size((4000, 1), 16) == (16, 8)
