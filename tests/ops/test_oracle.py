"""The authors' own outputs: the whole of them where the shared folder is, a small cut of them everywhere."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.op_samples import error

import arseg_ext
from arseg_ext import ops, oracle

TOLERANCE = 1e-5
SMALL = Path(__file__).parent.parent / "fixtures" / "oracle_operators.npz"
MODULES = (ops, oracle)


@pytest.fixture(scope="module")
def small():
    with np.load(SMALL) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def creff_oracle(shared):
    return torch.load(shared / "oracle" / "oracle_creff.pt", weights_only=True)


@pytest.fixture(scope="module")
def det(shared):
    spec = importlib.util.spec_from_file_location("oracle_det", shared / "oracle" / "det.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_small_attention(small, module):
    out = module.local_attention(small["query"], small["key"], small["value"], window=7)
    assert error(out[..., :6, :6], small["attention"]) < TOLERANCE


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_small_warp(small, module):
    # The legacy grid depends on the size of the map, so the cut goes back to its place; pixels that sample
    # beyond the cut cannot be compared.
    height, width = small["size"].tolist()
    rows, columns = small["feature"].shape[2:]
    feature, flow = torch.zeros(1, 2, height, width), torch.full((1, height, width, 2), 1e6)
    feature[..., :rows, :columns] = small["feature"]
    flow[:, :rows, :columns] = small["flow"].float()
    known = torch.zeros(1, 1, height, width)
    known[..., :rows, :columns] = 1
    out = module.flow_warp(feature, flow, grid="legacy")[..., :rows, :columns]
    x = (torch.arange(columns) + small["flow"][..., 0]) * width / (width - 1) - 0.5
    y = (torch.arange(rows)[:, None] + small["flow"][..., 1]) * height / (height - 1) - 0.5
    inside = ((x < columns - 1) & (y < rows - 1))[:, None].expand_as(out)
    assert inside.float().mean() > 0.5
    assert error(out[inside], small["warped"][inside]) < TOLERANCE


def test_small_creff_values_and_gradients():
    with np.load(SMALL.with_name("oracle_creff_gradients.npz")) as arrays:
        cut = {name: torch.from_numpy(arrays[name]) for name in arrays}
    module = arseg_ext.CReFF(16)
    module.load_state_dict({name: cut[name] for name in module.state_dict()})
    hr, lr = cut["hr"].requires_grad_(), cut["lr"].requires_grad_()
    out = module(hr, lr, torch.zeros(1, 20, 26, 2))
    assert error(out, cut["out"]) < TOLERANCE
    out.backward(cut["grad_out"])
    assert error(hr.grad, cut["grad_hr"]) < TOLERANCE
    assert error(lr.grad, cut["grad_lr"]) < TOLERANCE


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_raw_attention(creff_oracle, module):
    raw = creff_oracle["raw"]
    out = module.local_attention(raw["q"], raw["k"], raw["v"], window=7)
    assert error(out, raw["k7_weighted"]) < TOLERANCE


@pytest.mark.parametrize("kind", ["ar", "train"])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_warps_of_the_network(shared, kind, module):
    oracle = torch.load(shared / "oracle" / "oracle_psp18.pt", weights_only=True)
    feature = oracle["hr_net_out"][2]
    out = module.flow_warp(feature, oracle[f"{kind}_flow_resized"], grid="legacy")
    assert error(out, oracle[f"{kind}_warped"]) < TOLERANCE


def test_creff_values_and_gradients(creff_oracle, det):
    state = {key: det.det_tensor(key, list(shape), torch.float32) for key, shape, _ in creff_oracle["state"]["keys"]}
    module = arseg_ext.CReFF(16)
    module.load_state_dict(state)
    hr, lr = creff_oracle["hr"].clone().requires_grad_(), creff_oracle["lr"].clone().requires_grad_()
    still = torch.zeros(2, 20, 26, 2)
    out = module(hr, lr, still)
    assert error(out, creff_oracle["out"]) < TOLERANCE
    out.backward(creff_oracle["grad_out"])
    assert error(hr.grad, creff_oracle["grad_hr"]) < TOLERANCE
    assert error(lr.grad, creff_oracle["grad_lr"]) < TOLERANCE
    for name, parameter in module.named_parameters():
        expected = creff_oracle["grad_params"][name]
        # Sums of 1040 pixels, up to 60: the authors' float32 values are themselves 4e-5 off the float64 ones.
        assert error(parameter.grad, expected) < TOLERANCE * max(1.0, float(expected.abs().max())), name
