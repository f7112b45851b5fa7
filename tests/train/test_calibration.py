"""The fusion's gain, as unlabelled drives would have it."""

import pytest
import torch
import torch.nn.functional as F

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.keyframe import with_keyframe
from arseg.networks.pyramid import PyramidNet
from arseg.train.calibration import GAINS, gain_losses, scale_fusion


@pytest.fixture(params=[("attention", 1.0), ("attention", 0.0), ("dense-attention", 1.0), ("value", 1.0)])
def net(request):
    fusion, weight = request.param
    high = PyramidNet(num_classes=3, channels=8, wide=8)
    model = ARSegNet(high, channels=8, fusion=fusion, keyframe_weight=weight, keyframe_detail=weight).eval()
    model.start_fusion_for(torch.randn(1, 8, 6, 8))
    torch.nn.init.normal_(model.fusion.hr_value_conv.bias)
    return model


def pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    key, image = torch.randn(2, 2, 3, 32, 48, generator=generator)
    motion = torch.randint(-16, 16, (2, 8, 12, 2), generator=generator).short()
    return {"key": key, "image": image, "motion": motion, "distance": torch.tensor([1, 7]), "frame_size": (32, 48)}


def logits(net, batch):
    where = {"block": 4, "frame_size": batch["frame_size"]}
    reference = net.keyframe(batch["key"])
    low = net.low_res(batch["image"])
    fused = net.classifier(net.fuse(low, reference, batch["motion"], **where))
    where |= {"weight": net.keyframe_weight, "decay": net.keyframe_decay, "detail": net.keyframe_detail}
    where["low_size"] = low.shape[2:]
    return with_keyframe(fused, net.classifier(reference), batch["motion"], batch["distance"], **where)


@pytest.mark.parametrize("gain", [0.25, 0.5])
def test_the_losses_are_those_of_the_network_with_its_fusion_scaled(net, gain):
    batch = pairs(0)
    losses = gain_losses(net, net.high.features, [batch], block=4)
    assert tuple(losses) == GAINS
    classes = net.classifier(net.keyframe(batch["image"])).softmax(1)
    assert losses[1.0] == pytest.approx(F.cross_entropy(logits(net, batch), classes).item(), rel=1e-5)
    scale_fusion(net, gain)
    assert losses[gain] == pytest.approx(F.cross_entropy(logits(net, batch), classes).item(), rel=1e-5)
    assert abs(losses[gain] - losses[1.0]) > 1e-4


def test_a_fusion_that_tells_nothing_is_worth_nothing(net):
    """The teacher sees what the low-resolution branch sees; what the fusion adds can only lead away from it."""
    net.scale = 1.0
    losses = gain_losses(net, net.high.features, [pairs(1), pairs(2)], block=4)
    assert min(losses, key=losses.__getitem__) == 0
