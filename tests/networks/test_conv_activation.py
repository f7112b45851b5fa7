"""Convolutions that apply the activation after them give what the layers apart give."""

from __future__ import annotations

import torch
from torch import nn

from arseg.networks.conv_activation import ConvActivation, fuse_activations
from arseg.networks.folding import fold_batch_norm
from arseg.networks.layers import conv_bn
from arseg_ext._torch_private import mkldnn_convolution


class Swapped(nn.Module):
    """Its activation comes before the convolution that it stands behind."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(6, 6, 1), nn.ReLU()

    def forward(self, x):
        return self.conv(self.act(x))


def network():
    torch.manual_seed(3)
    shared = nn.ReLU()
    layers = (
        conv_bn(3, 8, 3, 2),
        nn.Sequential(nn.Conv2d(8, 24, 1), nn.ReLU6(inplace=True), nn.Conv2d(24, 24, 5, 1, 2, groups=24, bias=False)),
        nn.Sequential(nn.Conv2d(24, 6, 1), shared, nn.Conv2d(6, 6, 3, padding=2, dilation=2), shared),
        Swapped(),
        nn.Conv2d(6, 4, 3, padding="same"),
    )
    return fold_batch_norm(nn.Sequential(*layers))


def kinds(module):
    return [type(m) for m in module.modules()]


def test_the_same_comes_out_and_activations_that_come_next_are_taken():
    plain, fused = network(), network()
    fuse_activations(fused)
    made = [m for m in fused.modules() if isinstance(m, ConvActivation)]
    if mkldnn_convolution is None:
        assert not made
        return
    # The last has padding by name, and stays; activations used twice, and one that comes before, are not taken.
    assert [type(m.activation) for m in made] == [nn.ReLU, nn.ReLU6, *[type(None)] * 4]
    assert nn.ReLU6 not in kinds(fused[1][1]) and isinstance(fused[3].act, nn.ReLU)
    image = 4 * torch.randn(2, 3, 33, 47)
    for form in (torch.contiguous_format, torch.channels_last):
        given = image.contiguous(memory_format=form)
        with torch.inference_mode():
            found, expected = fused(given), plain(given)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(fused(given), plain(given), atol=0, rtol=0)  # with gradients
    assert fused[1][0](image.new_full((1, 8, 4, 4), 100.0)).max() == 6


def test_what_is_to_stay_stays():
    fused = network()
    fused[1][0].register_forward_hook(lambda module, given, found: found)
    fuse_activations(fused, leave=[fused[0], fused[2]])
    assert ConvActivation not in kinds(fused[0]) + kinds(fused[2]) + kinds(fused[1][0])
    assert isinstance(fused[1][1], nn.ReLU6)
