"""Our own definitions of encoders are those of timm and torchvision: keys, their order, and results."""

from __future__ import annotations

import pytest
import torch

from arseg.networks.efficientnet import EfficientNetLite0Features
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


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_efficientnet_lite0_is_that_of_timm(training):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model(
        "efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), bn_eps=1e-3, pretrained=False
    ).train(training)
    random_statistics(theirs)
    ours = EfficientNetLite0Features().train(training)
    same_parameters(ours, theirs)
    image = torch.randn(2, 3, 65, 97)
    maps = ours(image)
    assert [tuple(m.shape[1:]) for m in maps] == [(24, 17, 25), (40, 9, 13), (112, 5, 7), (320, 3, 4)]
    torch.testing.assert_close(maps, theirs(image))


def test_efficientnet_lite0_folds():
    torch.manual_seed(0)
    network = EfficientNetLite0Features().eval()
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
