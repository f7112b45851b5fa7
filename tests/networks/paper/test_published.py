"""The authors' networks, from their keys: outputs, losses and gradients are theirs, and a misfit is named."""

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers.reference_weights import SIZE, Samples, blocks, image, labels, state_dict

from arseg.errors import InputError
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fused import FusedNetwork
from arseg.networks.motion import dense_motion, resize_motion
from arseg.networks.paper.published import (
    ARCHITECTURES,
    PUBLISHED,
    from_reference_state_dict,
    guess_reference,
    make_published,
    their_key,
)
from arseg.train import losses
from arseg.weights.convert import convert
from arseg_ext import ops

TOLERANCE = 1e-4
COUNTS = {"camvid-psp18": (156, 162), "camvid-bise18": (230, 236)} | {
    "cityscapes-psp18": (160, 168),
    "cityscapes-bise18": (230, 236),
    "camvid-psp50": (354, 360),
    "cityscapes-bise34": (326, 332),
}
LOSSES = {"camvid-psp18": losses.psp_camvid_loss, "cityscapes-psp18": losses.psp_cityscapes_loss}


class Case:
    """One architecture: the authors' weights, our two networks, and what theirs gave."""

    def __init__(self, arch):
        self.arch, self.samples = arch, Samples(arch)
        self.states = {part: state_dict(self.samples.record[part]) for part in ("hr", "fused")}
        self.hr, self.fused = (from_reference_state_dict(self.states[part], arch, part) for part in ("hr", "fused"))
        self.reference, self.current = image(f"{arch}.ref"), image(f"{arch}.cur")
        self.small = F.interpolate(self.current, scale_factor=0.5, mode="bilinear", align_corners=True)

    @torch.no_grad()
    def warped(self, mode):
        feature = self.hr.features(self.reference)
        flow = resize_motion(dense_motion(blocks(f"{self.arch}.flow"), 8, SIZE), feature.shape[2:], mode)
        return ops.flow_warp(feature, flow, grid="legacy")

    def near(self, **found):
        errors = {name: self.samples.error(name, value) for name, value in found.items()}
        assert max(errors.values()) < TOLERANCE, errors


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request):
    return Case(request.param)


@pytest.mark.slow
@torch.inference_mode()
def test_both_branches_give_the_authors_outputs(case):
    case.near(hr_out=case.hr(case.reference), hr_feature=case.hr.features(case.reference))
    found = case.fused.forward_train(case.reference)  # in eval mode: the same numbers, and the auxiliary heads'
    outputs = (found.logits, *found.auxiliary, found.feature)
    assert len(outputs) == sum(name.startswith("normal_out") for name in case.samples.record["shapes"])
    case.near(**{f"normal_out{index}": value for index, value in enumerate(outputs)})
    case.near(lr_out=case.fused(case.small), lr_feature=case.fused.features(case.small))
    assert not case.hr.training and not case.fused.training


@torch.inference_mode()
def test_warp_and_fusion_give_the_authors_outputs(case):
    warped = case.warped("bilinear")
    case.near(ar_warped=warped, train_warped=case.warped("nearest"))
    logits, fused = case.fused.fuse(case.fused.features(case.small), warped)
    case.near(ar_fused=fused, ar_out=logits)
    labels = F.interpolate(logits, SIZE, mode="bilinear", align_corners=True).argmax(1)
    assert (labels.numpy() == case.samples.values["ar_pred"]).mean() >= 0.999


def test_losses_and_gradients_are_the_authors(case):
    """One step of their training, which freezes the classifier; batch normalisation and dropout as in evaluation."""
    wanted = case.samples.record
    truth = labels(len(ARCHITECTURES[case.arch].labels.classes))
    with torch.no_grad():
        teacher = case.hr.features(case.current)
    found = case.fused.forward_train(case.small, case.warped("nearest"))
    parts = LOSSES.get(case.arch, losses.bisenet_loss)(found.logits, found.auxiliary, truth)
    parts["similarity"] = losses.similarity_loss(found.feature, teacher)
    total = sum(parts.values())
    values = [float(value.detach()) for value in (*parts.values(), total)]
    assert values == pytest.approx(list(wanted["losses"].values()), rel=1e-3)
    case.fused.zero_grad()
    total.backward()
    keys = ARCHITECTURES[case.arch].keys
    norms = {their_key(key, keys): p.grad.norm() for key, p in case.fused.named_parameters() if p.grad is not None}
    assert {key: float(norms[key]) for key in wanted["grad_norm"]} == pytest.approx(wanted["grad_norm"], rel=2e-4)


@pytest.mark.slow
@torch.inference_mode()
def test_a_converted_pair_gives_the_authors_labels(case, tmp_path):
    """From block motion to class ids, as the streaming segmenter calls it, with and without the fused classifier."""
    from arseg.weights.files import load_checkpoint

    paths = [tmp_path / f"{name}.pth" for name in ("hr", "PSPNet_resnet18_0.5_92_")]
    for path, part in zip(paths, ("hr", "fused"), strict=True):
        torch.save(case.states[part], path)
    made = convert(paths[0], tmp_path / "ar.safetensors", fused=paths[1])
    assert (made.arch, made.part, made.scale) == (case.arch, "ar", 0.5)
    model = load_checkpoint(tmp_path / "ar.safetensors")
    assert isinstance(model, ARSegNet) and model.scale == 0.5
    assert model.label_set == ARCHITECTURES[case.arch].labels
    reference, low, motion = model.keyframe(case.reference), model.low_res(case.current), blocks(f"{case.arch}.flow")
    logits = model.fused_logits(low, reference, motion, block=8, frame_size=SIZE)
    wanted = torch.from_numpy(case.samples.values["ar_pred"])
    assert (model.labels(logits, SIZE) == wanted).float().mean() >= 0.999
    whole = model(case.current, reference, motion, block=8, frame_size=SIZE)
    assert whole.shape[2:] == SIZE and (whole.argmax(1) == wanted).float().mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["camvid-psp50", "cityscapes-bise34"])
@torch.inference_mode()
def test_deeper_networks_with_the_same_code(arch):
    samples = Samples(arch)
    network = from_reference_state_dict(state_dict(samples.record["hr"]), arch, "hr")
    picture = image(f"{arch}.ref")
    assert samples.error("hr_out", network(picture)) < TOLERANCE
    assert samples.error("hr_feature", network.features(picture)) < TOLERANCE


def empty_state(arch, part, prefix="module."):
    record = Samples(arch).record[part]
    return {prefix + key: torch.empty(shape, device="meta") for key, shape, _ in record["keys"]}


@pytest.mark.parametrize("arch", COUNTS)
def test_keys_are_the_authors_one_by_one(arch):
    for part, count in zip(("hr", "fused"), COUNTS[arch], strict=True):
        state = empty_state(arch, part)
        assert len(state) == count
        assert guess_reference(state) == (arch, part)
        with torch.device("meta"):
            module = make_published(arch, part)
        keys = ARCHITECTURES[arch].keys
        second = Samples(arch).record[part]["alias_of"]
        own = {f"module.{their_key(key, keys)}": list(value.shape) for key, value in module.state_dict().items()}
        assert own == {k: list(v.shape) for k, v in state.items() if k.removeprefix("module.") not in second}


@pytest.fixture(scope="module")
def bise():
    return state_dict(Samples("cityscapes-bise18").record["fused"])


def refused(state, arch="cityscapes-bise18", part="fused"):
    with pytest.raises(InputError) as caught:
        from_reference_state_dict(state, arch, part)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_prefix_or_not_and_half_precision(bise):
    half = {k.removeprefix("module."): v.half() if v.is_floating_point() else v for k, v in bise.items()}
    module = from_reference_state_dict(half, "cityscapes-bise18", "fused")
    assert module.fusion.lr_query_conv.weight.dtype is torch.float32


def test_misfits_name_their_keys(bise):
    def but(**change):
        state = {**bise, **{key.replace("__", "."): value for key, value in change.items()}}
        return {key: value for key, value in state.items() if value is not None}

    assert "1 missing (cp.arm16.bn_atten.bias)" in refused(but(module__cp__arm16__bn_atten__bias=None))
    assert "1 unknown (surplus)" in refused(but(module__surplus=torch.zeros(2)))
    wrong = refused(but(module__conv_out16__conv_out__bias=torch.zeros(7)))
    assert "1 of another shape (conv_out16.conv_out.bias [7], expected [19])" in wrong
    both = refused(but(module__sp__conv1__bn__bias=None, module__surplus=torch.zeros(2)))
    assert "1 missing (sp.conv1.bn.bias), 1 unknown (surplus), for cityscapes-bise18, part fused" in both
    assert "1 missing (final_conv.bias)" in refused(but(module__final_conv__bias=None))
    assert "conv_out.conv_out.bias" in refused(but(module__conv_out__conv_out__bias=None))
    twofold = refused(but(module__final_conv__bias=torch.zeros(19)))
    assert "final_conv.bias and conv_out.conv_out.bias" in twofold
    assert "with and without module.: final_conv.bias" in refused(but(final_conv__bias=torch.zeros(19)))
    assert "something else under module.epoch" in refused(but(module__epoch=3))
    assert "fuse_attention.hr_key_conv.bias" in refused(bise, part="hr")
    assert "its keys are those of part fused" in refused(bise, part="hr")
    assert "missing" in refused(bise, arch="camvid-psp18") and "another shape" in refused(bise, arch="camvid-bise18")
    assert refused({}).startswith("state_dict: the keys do not fit: 192 missing (cp.resnet.conv1.weight")


def test_weights_from_elsewhere_may_lack_second_names_and_counters(bise):
    state = {
        key: value
        for key, value in bise.items()
        if not key.startswith(("module.final_conv.", "module.feat_conv_out.")) and "num_batches" not in key
    }
    module = from_reference_state_dict(state, "cityscapes-bise18", "fused")
    assert torch.equal(module.network.classifier.bias, bise["module.final_conv.bias"])


def test_the_cityscapes_pspnet_is_evaluated_in_the_class_with_fusion():
    state = state_dict(Samples("cityscapes-psp18").record["fused"])
    with pytest.warns(UserWarning, match="left out fuse_attention"):
        from_reference_state_dict(state, "cityscapes-psp18", "hr")
    state["module.final_conv.bias"] = torch.zeros(19)
    assert "final_conv.bias and cls.4.bias" in refused(state, "cityscapes-psp18", "hr")


def test_arguments_that_do_not_exist():
    assert refused({}, "camvid-psp101", "hr").startswith("arch: expected one of camvid-psp18,")
    assert refused({}, "camvid-psp18", "lr") == "part: expected hr or fused, got 'lr'"
    with pytest.raises(InputError, match="not the keys of a PSPNet or BiSeNet"):
        guess_reference({"conv.weight": torch.zeros(2)})
    state = empty_state("camvid-psp18", "hr") | {"module.final_conv.weight": torch.zeros(13, 64, 1, 1)}
    with pytest.raises(InputError, match="a psp network with 13 classes is none of ours"):
        guess_reference(state)


@pytest.mark.slow
def test_training_mode_trains_every_head(case):
    """Two images, for batch normalisation sees pools of one pixel."""
    module = copy.deepcopy(case.fused).train()
    assert isinstance(module, FusedNetwork)
    module.zero_grad()
    small, warped = case.small.expand(2, -1, -1, -1), case.warped("nearest").expand(2, -1, -1, -1)
    plain = module.forward_train(small)
    assert plain.feature.shape == module.features(small).shape and plain.logits.requires_grad
    found = module.forward_train(small, warped)
    assert found.feature.shape == warped.shape
    parts = LOSSES.get(case.arch, losses.bisenet_loss)(found.logits, found.auxiliary, labels(12).expand(2, -1, -1))
    sum(parts.values()).backward()
    still = [key for key, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [key for key in still if "auxiliary" in key or key.startswith("fusion.")]


def test_networks_without_heads_give_none():
    with torch.device("meta"):
        network = make_published("camvid-psp18", auxiliary=False)
        assert network.forward_train(torch.empty(1, 3, 32, 32)).auxiliary == ()
