"""PSPNet18 and BiSeNet18: the authors' outputs, the published compute, and their place in ARSegNet."""

import importlib.util

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from arseg.engine.compute import gmacs
from arseg.errors import InputError
from arseg.models import ARSegNet, BiSeNet, PSPNet
from arseg.models.resnet import ResNet
from arseg_ext.nn import CReFF

TOLERANCE = 1e-4
# network, oracle, GMACs of a frame at 1.0 and of a frame between keyframes at 0.5, both at 720x960
NETWORKS = {"psp18": (PSPNet, 308.64, 83.10), "bise18": (BiSeNet, 39.12, 10.30)}


def error(found, expected):
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def det(shared):
    spec = importlib.util.spec_from_file_location("oracle_det", shared / "oracle" / "det.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=NETWORKS)
def published(request, shared, det):
    """The authors' inputs and outputs, and their weights under their keys (a second name has the first's value)."""
    oracle = torch.load(shared / "oracle" / f"oracle_{request.param}.pt", weights_only=True)
    described = oracle["fuse_state"]
    state = {
        f"module.{key}": det.det_tensor(described["alias_of"].get(key, key), list(shape), getattr(torch, dtype[6:]))
        for key, shape, dtype in described["keys"]
    }
    network = NETWORKS[request.param][0]().eval()
    network.load_published(state)
    return oracle, state, network


@torch.inference_mode()
def test_high_resolution_branch(published):
    oracle, _, network = published
    logits, feature = oracle["hr_net_out"][0], oracle["hr_net_out"][-1]
    assert error(network.features(oracle["ref"]), feature) < TOLERANCE
    found = network(oracle["ref"])
    if isinstance(network, PSPNet):  # theirs ends in a log-softmax
        found = found.log_softmax(1)
    assert error(found, logits) < TOLERANCE


@torch.inference_mode()
def test_low_resolution_branch(published):
    oracle, _, network = published
    image = torch.nn.functional.interpolate(oracle["cur"], oracle["lr_size"], mode="bilinear", align_corners=True)
    feature = network.features(image)
    assert error(feature, oracle["lr_feat"]) < TOLERANCE
    assert error(feature, oracle["ar_lr_feat"]) < TOLERANCE
    found = network(image)
    if isinstance(network, PSPNet):
        found = found.log_softmax(1)
    assert error(found, oracle["lr_normal_out0"]) < TOLERANCE


@torch.inference_mode()
def test_a_whole_frame_between_keyframes(published):
    oracle, state, network = published
    fusion = CReFF(network.channels, grid="legacy")
    prefix = "module.fuse_attention."
    fusion.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    image = torch.nn.functional.interpolate(oracle["cur"], oracle["lr_size"], mode="bilinear", align_corners=True)
    fused = fusion(network.features(oracle["ref"]), network.features(image), oracle["ar_flow_resized"])
    assert error(fused, oracle["ar_fused"]) < TOLERANCE
    labels = network.classifier(fused)
    if labels.shape[2:] != oracle["cur"].shape[2:]:
        labels = torch.nn.functional.interpolate(labels, oracle["cur"].shape[2:], mode="bilinear")
    assert (labels.argmax(1) == oracle["ar_pred"]).float().mean() > 0.999


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_compute_is_the_published(name):
    kind, high, between = NETWORKS[name]
    with torch.device("meta"):
        network = kind().eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 720, 960))
        assert counter.get_total_flops() / 2e9 == pytest.approx(high, abs=0.005)
        counts = gmacs(ARSegNet(network, channels=network.channels), 720, 960)
    assert counts["hr"] == pytest.approx(high, abs=0.005)
    assert counts["ar"] == pytest.approx(between, abs=0.005)


@pytest.mark.parametrize("size", [(64, 96), (45, 70)])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_works_inside_arseg(name, size):
    torch.manual_seed(0)
    network = NETWORKS[name][0](classes=5).eval()
    model = ARSegNet(network, channels=network.channels).eval()
    model.start_fusion()
    image = torch.randn(1, 3, *size)
    reference = model.keyframe(image)
    step, unit = (8, 1) if name == "psp18" else (16, 8)
    assert reference.shape[1:] == (network.channels, *(-(-side // step) * step // unit for side in size))
    assert model.high(image).shape == (1, 5, *size)
    motion = torch.zeros(1, -(-size[0] // 16), -(-size[1] // 16), 2, dtype=torch.int16)
    out = model(image, reference, motion, block=16, frame_size=size)
    assert out.shape == (1, 5, *size) and out.isfinite().all()


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_depths(depth):
    with torch.device("meta"):
        image = torch.empty(1, 3, 65, 96)
        for dilated, sizes in ((False, [(9, 12), (5, 6), (3, 3)]), (True, [(9, 12)] * 3)):
            net = ResNet(depth, dilated=dilated)
            maps = net(image)
            assert [tuple(m.shape[2:]) for m in maps] == sizes
            assert tuple(m.shape[1] for m in maps) == net.channels


def test_errors_say_what_is_wrong():
    with pytest.raises(InputError, match="depth: expected one of 18, 34, 50, got 101"):
        ResNet(101)
    network = BiSeNet()
    with pytest.raises(RuntimeError, match=r"cp\.resnet\.conv1\.weight"):
        network.load_published({})
