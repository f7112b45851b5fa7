import pytest
import torch
import torch.nn.functional as F

from arseg.errors import InputError
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fused import FusedNetwork
from arseg.networks.fusion import FUSIONS, make_fusion
from arseg.networks.motion import dense_motion, resize_motion
from arseg.networks.paper.pspnet import PSPNet
from arseg.networks.pyramid import PyramidNet
from arseg_ext import ops


def sample():
    return torch.randn(1, 8, 12, 16), torch.randn(1, 8, 6, 8), torch.randint(-20, 20, (1, 3, 4, 2), dtype=torch.int16)


@pytest.mark.parametrize("grid", ["aligned", "legacy"])
@pytest.mark.parametrize("name", FUSIONS)
def test_a_warped_reference_and_motion_give_the_same(name, grid):
    reference, low, motion = sample()
    fusion = make_fusion(name, 8, 3, grid)
    options = {"block": 16, "frame_size": (48, 64)}
    warped = ops.mv_warp(reference, motion, grid=grid, **options)
    found = fusion(reference, low, motion, **options)
    assert found.shape == reference.shape
    torch.testing.assert_close(found, fusion.join(warped, low), rtol=1e-4, atol=1e-5)
    flow = torch.randn(1, 12, 16, 2)
    warped = ops.flow_warp(reference, flow, grid=grid)
    torch.testing.assert_close(fusion(reference, low, flow), fusion.join(warped, low), rtol=1e-4, atol=1e-5)


def test_what_each_fusion_takes():
    reference, low, _ = sample()
    up = F.interpolate(low, size=(12, 16), mode="bilinear", align_corners=True)
    whole, alone = make_fusion("attention", 8), make_fusion("attention-only", 8)
    alone.load_state_dict(whole.state_dict())
    torch.testing.assert_close(whole.join(reference, low), up + alone.join(reference, low))
    value = make_fusion("value", 8)
    value.load_state_dict({k: v for k, v in whole.state_dict().items() if "value" in k})
    torch.testing.assert_close(value.join(reference, low), up + whole.hr_value_conv(reference))
    assert torch.equal(make_fusion("none", 8).join(reference, low), up)
    dense, mixed = make_fusion("dense-attention", 8), make_fusion("convolution", 8)
    assert dense.lr_query_conv.weight.shape == (8, 8, 3, 3) and mixed.fusion_conv.weight.shape == (8, 16, 3, 3)
    assert not torch.equal(make_fusion("attention", 8, 3).join(reference, low), whole.join(reference, low))


@pytest.mark.parametrize("name", FUSIONS)
def test_every_fusion_starts_as_the_low_resolution_feature(name):
    """But for attention alone, which starts from nothing."""
    reference, low, motion = sample()
    model = ARSegNet(PyramidNet(num_classes=2, channels=8, wide=8), channels=8, fusion=name)
    model.start_fusion()
    up = F.interpolate(low, size=(12, 16), mode="bilinear", align_corners=True)
    found = model.fuse(low, reference, motion, block=16, frame_size=(48, 64))
    torch.testing.assert_close(found, torch.zeros_like(up) if name == "attention-only" else up)
    logits = model.fused_logits(low, reference, motion, block=16, frame_size=(48, 64))
    torch.testing.assert_close(logits, model.classifier(found), rtol=1e-4, atol=1e-5)


def test_dense_motion_is_the_blocks_pixel_by_pixel():
    _, _, motion = sample()
    flow = dense_motion(motion, 4, (10, 13))
    assert flow.shape == (1, 10, 13, 2) and flow.dtype == torch.float32
    for y, x in ((0, 0), (3, 4), (9, 12), (7, 11)):
        assert flow[0, y, x].tolist() == (motion[0, y // 4, x // 4] / 4).tolist()


def test_motion_is_resized_as_published():
    """Both axes by the ratio of the heights; evaluation interpolates with the corners in place."""
    flow = torch.randn(1, 10, 12, 2)
    smooth = resize_motion(flow, (5, 7))
    torch.testing.assert_close(smooth[0, 0, 0], flow[0, 0, 0] / 2)
    torch.testing.assert_close(smooth[0, 4, 6], flow[0, 9, 11] / 2)
    torch.testing.assert_close(smooth[0, 4, 3], (flow[0, 9, 5] + flow[0, 9, 6]) / 4)  # between two
    nearest = resize_motion(flow, (5, 6), "nearest")
    assert torch.equal(nearest, flow[:, ::2, ::2] / 2)


def test_legacy_resizes_by_nearest_while_training():
    model = ARSegNet(PyramidNet(num_classes=2, channels=8, wide=8), channels=8, grid="legacy")
    reference, low, motion = sample()
    flow = dense_motion(motion, 16, (48, 64))
    for training, mode in ((True, "nearest"), (False, "bilinear")):
        model.train(training)
        found = model.fuse(low, reference, motion, block=16, frame_size=(48, 64))
        expected = model.fusion(reference, low, resize_motion(flow, (12, 16), mode))
        torch.testing.assert_close(found, expected)
    image = torch.randn(1, 3, 9, 14)
    expected = F.interpolate(image, size=(4, 7), mode="bilinear", align_corners=True)
    assert torch.equal(model.shrink(image), expected)


def test_bad_options_are_named():
    with pytest.raises(InputError, match=r"fusion: expected one of attention, .*got 'sum'"):
        make_fusion("sum", 8)
    with pytest.raises(InputError, match="window: expected an odd side from 3 to 15, got 4"):
        make_fusion("attention", 8, 4)
    with torch.device("meta"):
        network = PSPNet()
        with pytest.raises(InputError, match="window"):
            FusedNetwork(network, window=17)
        with pytest.raises(InputError, match="grid: expected aligned or legacy, got 'old'"):
            ARSegNet(network, channels=64, grid="old")
    reference, low, motion = sample()
    with pytest.raises(InputError, match="motion: an int16 field needs block and frame_size"):
        make_fusion("value", 8)(reference, low, motion)
