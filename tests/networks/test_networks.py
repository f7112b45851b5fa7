import pytest
import torch

from arseg.evaluate.flops import gmacs
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = ARSegNet(PyramidNet(num_classes=5, channels=16, wide=16), channels=16).eval()
    model.start_fusion()
    return model


def field(height, width, value=(0, 0)):
    vectors = torch.tensor(value, dtype=torch.int16).expand(1, -(-height // 4), -(-width // 4), 2)
    return {"motion": vectors, "block": 4, "frame_size": (height, width)}


@pytest.mark.parametrize("size", [(64, 96), (61, 75), (16, 16), (1, 1)])
def test_shapes_at_any_size(net, size):
    image = torch.randn(1, 3, *size)
    reference = net.keyframe(image)
    assert reference.shape == (1, 16, -(-size[0] // 4), -(-size[1] // 4))
    assert net.high(image).shape == (1, 5, *size)
    assert net(image, reference, **field(*size)).shape == (1, 5, *size)


def test_low_resolution_size_rounds_down_as_published():
    model = ARSegNet(PyramidNet(num_classes=2, channels=8, wide=8), channels=8, scale=0.7)
    assert model.shrink(torch.zeros(1, 3, 720, 960)).shape[-2:] == (503, 672)


def test_the_fusion_starts_as_the_upsampled_low_resolution_feature(net):
    image = torch.randn(2, 3, 64, 96)
    low, reference = net.low_res(image), net.keyframe(torch.randn(2, 3, 64, 96))
    motion = field(64, 96)
    motion["motion"] = motion["motion"].expand(2, -1, -1, -1)
    fused = net.fuse(low, reference, **motion)
    upsampled = torch.nn.functional.interpolate(low, reference.shape[-2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(fused, upsampled)


def test_the_fusion_follows_the_vectors():
    """With values passed on and the low-resolution feature at zero, the keyframe's feature arrives where it points."""
    model = ARSegNet(PyramidNet(num_classes=2, channels=8, wide=8), channels=8, window=3).eval()
    model.start_fusion(gain=0.0)
    with torch.no_grad():
        model.fusion.hr_value_conv.weight[:, :, 1, 1] = 1.0
    reference = torch.zeros(1, 8, 16, 24)
    reference[..., 5, 9] = 9.0  # a spike, 4 video pixels a feature pixel
    low = torch.zeros(1, 8, 8, 12)
    fused = model.fuse(low, reference, **field(64, 96, (4 * 8, -4 * 4)))  # from 2 to the right, 1 up
    # an even attention over 3x3 spreads the spike around where the vector brought it: one down, two to the left
    expected = torch.zeros(16, 24)
    expected[5:8, 6:9] = 1.0
    torch.testing.assert_close(fused[0, 0], expected, atol=1e-5, rtol=0)


def test_branches_share_the_classifier_and_nothing_else(net):
    keys = set(net.state_dict())
    assert "high.classifier.weight" in keys and not any(key.startswith("low.classifier") for key in keys)
    high = {p.data_ptr() for p in net.high.parameters()}
    assert not high & {p.data_ptr() for p in net.low.parameters()}


def test_scale_out_of_range():
    with pytest.raises(ValueError, match=r"scale: expected a factor in \(0, 1\], got 1.5"):
        ARSegNet(PyramidNet(), channels=64, scale=1.5)


def test_compute_counts_the_fusion(net):
    counts = gmacs(net, 64, 96)
    # 49 keys in QK and again in PV, and three 3x3 depthwise convolutions, at 16x24 with 16 channels
    creff = (2 * 49 + 3 * 9) * 16 * 16 * 24 / 1e9
    low_classifier = 16 * 5 * 8 * 12 / 1e9
    classifier = 16 * 5 * 16 * 24 / 1e9
    assert counts["ar"] - (counts["lr"] - low_classifier) == pytest.approx(creff + classifier, rel=1e-6)
    assert counts["lr"] < 0.3 * counts["hr"]
