"""PSPNet18 and BiSeNet18 for CamVid: the authors' whole outputs, the published compute, and their place in ARSegNet."""

import importlib.util

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from arseg.errors import InputError
from arseg.evaluate.flops import gmacs
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.motion import resize_motion
from arseg.networks.paper.bisenet import BiSeNet
from arseg.networks.paper.pspnet import PSPNet
from arseg.networks.paper.pspnet_cityscapes import CityscapesPSPNet
from arseg.networks.paper.published import ARCHITECTURES, from_reference_state_dict, their_key
from arseg.networks.paper.resnet import ResNet
from arseg.train import losses
from arseg_ext import ops

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
    """The authors' inputs and outputs, and our networks with their weights (a second name has the first's value)."""
    oracle = torch.load(shared / "oracle" / f"oracle_{request.param}.pt", weights_only=True)
    networks = []
    for part, name in (("hr", "hr_state"), ("fused", "fuse_state")):
        described = oracle[name]
        state = {
            f"module.{key}": det.det_tensor(described["alias_of"].get(key, key), list(shape), getattr(torch, dtype[6:]))
            for key, shape, dtype in described["keys"]
        }
        networks.append(from_reference_state_dict(state, f"camvid-{request.param}", part))
    return oracle, *networks


def shrunk(oracle):
    return torch.nn.functional.interpolate(oracle["cur"], oracle["lr_size"], mode="bilinear", align_corners=True)


def warped(oracle, high, mode):
    feature = high.features(oracle["ref"])
    flow = resize_motion(oracle["flow"], feature.shape[2:], mode)
    return flow, ops.flow_warp(feature, flow, grid="legacy")


@pytest.mark.slow
@torch.inference_mode()
def test_both_networks_whole(published):
    oracle, high, low = published
    for network, name in ((high, "hr_net_out"), (low, "fuse_net_normal_out")):
        found = network.forward_train(oracle["ref"])
        for mine, theirs in zip((found.logits, *found.auxiliary, found.feature), oracle[name], strict=True):
            assert error(mine, theirs) < TOLERANCE
        assert error(network(oracle["ref"]), oracle[name][0]) < TOLERANCE


@torch.inference_mode()
def test_low_resolution_branch(published):
    oracle, _, low = published
    assert error(low.features(shrunk(oracle)), oracle["lr_feat"]) < TOLERANCE
    assert error(low.features(shrunk(oracle)), oracle["ar_lr_feat"]) < TOLERANCE
    assert error(low(shrunk(oracle)), oracle["lr_normal_out0"]) < TOLERANCE


@torch.inference_mode()
def test_a_whole_frame_between_keyframes(published):
    oracle, high, low = published
    flow, reference = warped(oracle, high, "bilinear")
    assert error(flow, oracle["ar_flow_resized"]) < TOLERANCE
    assert error(reference, oracle["ar_warped"]) < TOLERANCE
    logits, fused = low.fuse(low.features(shrunk(oracle)), reference)
    assert error(fused, oracle["ar_fused"]) < TOLERANCE
    assert error(logits, oracle["ar_out"]) < TOLERANCE
    assert (logits.argmax(1) == oracle["ar_pred"]).float().mean() >= 0.999


def test_a_training_step(published):
    oracle, high, low = published
    with torch.no_grad():
        teacher = high.features(oracle["cur"])
        flow, reference = warped(oracle, high, "nearest")
    assert error(flow, oracle["train_flow_resized"]) < TOLERANCE
    assert error(reference, oracle["train_warped"]) < TOLERANCE
    found = low.forward_train(shrunk(oracle), reference)
    recipe = losses.psp_camvid_loss if isinstance(high, PSPNet) else losses.bisenet_loss
    parts = recipe(found.logits, found.auxiliary, oracle["label"].long())
    parts["similarity"] = losses.similarity_loss(found.feature, teacher)
    total = sum(parts.values())
    values = [float(value.detach()) for value in (*parts.values(), total)]
    assert values == pytest.approx(list(oracle["losses"].values()), rel=1e-3)
    low.zero_grad()
    total.backward()
    keys = ARCHITECTURES[f"camvid-{oracle['cfg']['name']}"].keys
    norms = {their_key(key, keys): float(p.grad.norm()) for key, p in low.named_parameters() if p.grad is not None}
    assert {key: norms[key] for key in oracle["grad_norm"]} == pytest.approx(oracle["grad_norm"], rel=1e-3)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 96), (45, 70)])
@pytest.mark.parametrize("kind", [PSPNet, BiSeNet, CityscapesPSPNet])
@pytest.mark.parametrize("grid", ["aligned", "legacy"])
@torch.inference_mode()
def test_works_inside_arseg(kind, size, grid):
    """A frame of any size comes back at that size; a network alone, as the published one leaves it."""
    network = kind(num_classes=5).eval()
    model = ARSegNet(network, channels=network.channels, grid=grid, window=3).eval()
    model.start_fusion()
    image = torch.randn(1, 3, *size)
    reference = model.keyframe(image)
    step, unit = {PSPNet: (8, 1), BiSeNet: (16, 8), CityscapesPSPNet: (8, 8)}[kind]
    assert reference.shape[1:] == (network.channels, *(-(-side // step) * step // unit for side in size))
    whole = tuple(-(-side // step) * step for side in size) if kind is BiSeNet else size
    assert model.high(image).shape == (1, 5, *whole)
    motion = torch.zeros(1, -(-size[0] // 16), -(-size[1] // 16), 2, dtype=torch.int16)
    out = model(image, reference, motion, block=16, frame_size=size)
    assert out.shape == (1, 5, *size) and out.isfinite().all()
    logits = model.fused_logits(model.low_res(image), reference, motion, block=16, frame_size=size)
    labels = model.labels(logits, size)
    assert labels.shape == (1, *size) and (labels == out.argmax(1)).float().mean() > 0.999


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_depths(depth):
    with torch.device("meta"):
        image = torch.empty(1, 3, 65, 96)
        for dilated, sizes in ((False, [(17, 24), (9, 12), (5, 6), (3, 3)]), (True, [(17, 24), *[(9, 12)] * 3])):
            net = ResNet(depth, dilated=dilated)
            maps = net(image)
            assert [tuple(m.shape[2:]) for m in maps] == sizes
            assert tuple(m.shape[1] for m in maps) == net.channels


def test_errors_say_what_is_wrong():
    with pytest.raises(InputError, match="depth: expected one of 18, 34, 50, got 101"):
        ResNet(101)
