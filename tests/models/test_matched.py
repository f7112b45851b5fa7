"""Where the cells of a shrunken frame's feature lie in the frame."""

import numpy as np
import pytest
import torch
from torch import nn

from arseg.errors import InputError
from arseg.models import ARSegNet, PyramidNet
from arseg.models.matched import shrink_matched


def centres(cells, full, stride):
    """Of `cells` cells enlarged to `full` with corners in place, in the frame's pixels."""
    return np.linspace(stride / 2, full * stride - stride / 2, cells) - 0.5


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("scale", [0.25, 0.3, 0.4, 0.5, 0.75])
@pytest.mark.parametrize(("height", "width"), [(576, 768), (384, 512), (360, 480), (200, 328)])
def test_cells_lie_where_enlarging_with_corners_in_place_puts_them(stride, scale, height, width):
    ramps = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))[None].float()
    small = shrink_matched(ramps, scale, stride)
    rows, columns = (side // stride for side in small.shape[2:])
    assert tuple(small.shape[2:]) == (rows * stride, columns * stride)
    assert abs(rows * stride - height * scale) <= stride / 2 and abs(columns * stride - width * scale) <= stride / 2
    seen = nn.functional.avg_pool2d(small, stride)[0]
    found = seen[0, :, columns // 2].numpy(), seen[1, rows // 2].numpy()
    for cells, side, values in ((rows, height, found[0]), (columns, width, found[1])):
        # The ramp stops at the picture's edge, and the border is rounded to pixels.
        np.testing.assert_allclose(values[1:-1], centres(cells, side // stride, stride)[1:-1], atol=0.51)


def test_the_whole_scale_leaves_the_frame_as_it_is():
    image = torch.randn(1, 3, 48, 64)
    torch.testing.assert_close(shrink_matched(image, 1.0, 4), image)


def test_a_frame_of_one_cell_is_shrunk_to_one():
    assert shrink_matched(torch.randn(1, 3, 8, 64), 0.3, 4).shape == (1, 3, 4, 20)


def test_the_low_resolution_branch_sees_it_and_the_keyframe_network_does_not():
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(classes=3, channels=8, wide=8), channels=8, scale=0.3, grid="matched").eval()
    image = torch.randn(1, 3, 96, 128)
    assert net.shrink(image).shape[2:] == (28, 38)
    torch.testing.assert_close(net.low_res(image), net.low.features(shrink_matched(image, 0.3, 4)))


def test_a_network_that_does_not_say_its_stride_is_refused():
    class Bare(nn.Module):
        classifier = nn.Conv2d(4, 2, 1)

    with pytest.raises(InputError, match="grid: matched needs the feature's stride, an attribute `stride`"):
        ARSegNet(Bare(), channels=4, grid="matched")
    with pytest.raises(InputError, match="grid: expected aligned, matched or legacy, got 'exact'"):
        ARSegNet(Bare(), channels=4, grid="exact")
