import pytest
import torch
from torch import nn

from arseg.errors import InputError
from arseg.networks.folding import fold_batch_norm
from arseg.networks.paper.bisenet import BiSeNet
from arseg.networks.paper.pspnet import PSPNet
from arseg.networks.pyramid import PyramidNet

NETWORKS = {"psp18": PSPNet, "bise18": BiSeNet, "pyramid": PyramidNet}


def with_statistics(network):
    """Running statistics and gains that matter."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_outputs_agree(name):
    network = with_statistics(NETWORKS[name]()).train()
    folded = fold_batch_norm(network)
    assert network.training and not folded.training
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    network.eval()
    image = torch.randn(1, 3, 64, 96)
    for found, expected in ((folded(image), network(image)), (folded.features(image), network.features(image))):
        assert expected.std() > 1e-3
        assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_what_cannot_be_folded_is_named():
    conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    with pytest.raises(InputError, match=r"^1: no convolution right before it"):
        fold_batch_norm(nn.Sequential(nn.ReLU(), norm))
    with pytest.raises(InputError, match=r"^0: no convolution right before it"):
        fold_batch_norm(nn.Sequential(norm, conv))
    with pytest.raises(InputError, match=r"^1: 5 channels, but 0 has 4"):
        fold_batch_norm(nn.Sequential(conv, nn.BatchNorm2d(5)))
    with pytest.raises(InputError, match=r"^1: no running statistics"):
        fold_batch_norm(nn.Sequential(conv, nn.BatchNorm2d(4, track_running_stats=False)))
    with pytest.raises(InputError, match="used in more than one place"):
        fold_batch_norm(nn.Sequential(nn.Sequential(conv, norm), nn.Sequential(conv, nn.BatchNorm2d(4))))
