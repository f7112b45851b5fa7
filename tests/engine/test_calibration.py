"""The fusion's gain, as unlabelled drives would have it."""

import pytest
import torch
import torch.nn.functional as F

from arseg.engine.calibration import GAINS, gain_losses, scale_fusion
from arseg.models import ARSegNet, PyramidNet

HALF = 0.5


@pytest.fixture(params=["attention", "dense-attention", "value"])
def net(request):
    torch.manual_seed(0)
    model = ARSegNet(PyramidNet(classes=3, channels=8, wide=8), channels=8, fusion=request.param).eval()
    model.start_fusion_for(torch.randn(1, 8, 6, 8))
    torch.nn.init.normal_(model.fusion.hr_value_conv.bias)
    return model


def pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    key, image = torch.randn(2, 2, 3, 32, 48, generator=generator)
    motion = torch.randint(-16, 16, (2, 8, 12, 2), generator=generator).short()
    return {"key": key, "image": image, "motion": motion, "distance": torch.tensor([1, 7]), "frame_size": (32, 48)}


def fused(net, batch):
    where = {"block": 4, "frame_size": batch["frame_size"]}
    return net.fuse(net.low_res(batch["image"]), net.keyframe(batch["key"]), batch["motion"], **where)


def test_the_losses_are_those_of_the_network_with_its_fusion_scaled(net):
    batch = pairs(0)
    losses = gain_losses(net, net.high.features, [batch], block=4)
    assert tuple(losses) == GAINS
    classes = net.classifier(net.keyframe(batch["image"])).softmax(1)
    before = fused(net, batch)
    scale_fusion(net, HALF)
    expected = F.cross_entropy(net.classifier(fused(net, batch)), classes)
    assert losses[HALF] == pytest.approx(expected.item(), rel=1e-5)
    low = F.interpolate(net.low_res(batch["image"]), before.shape[-2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(fused(net, batch) - low, (before - low) * HALF, rtol=1e-4, atol=1e-5)


def test_a_fusion_that_tells_nothing_is_trusted_least(net):
    """The teacher sees what the low-resolution branch sees; what the fusion adds can only lead away from it."""
    net.scale = 1.0
    losses = gain_losses(net, net.high.features, [pairs(1), pairs(2)], block=4)
    assert min(losses, key=losses.__getitem__) == GAINS[0]
