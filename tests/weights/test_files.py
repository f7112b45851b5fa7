import math

import pytest
import torch
from safetensors.torch import save_file

from arseg.networks.arseg_net import ARSegNet
from arseg.weights.build import build
from arseg.weights.files import CheckpointError, load_checkpoint, load_into, read_checkpoint, save_checkpoint

CONFIG = {"classes": 3, "channels": 8, "wide": 8}


def make(path, config=CONFIG, **change):
    net = build("hr", CONFIG)
    save_checkpoint({**net.state_dict(), **change}, path, kind="hr", config=config)
    return net


def test_round_trip_in_half_precision(tmp_path):
    net = make(tmp_path / "a.safetensors").eval()
    back = load_checkpoint(tmp_path / "a.safetensors")
    assert not back.training
    for key, value in back.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            here = net.state_dict()[key]
            torch.testing.assert_close(value, here.half().float() if here.dim() > 1 else here, rtol=0, atol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"], "nothing half-written stays beside it"


def test_kind_ar_comes_back_as_such(tmp_path):
    net = ARSegNet(build("hr", CONFIG), channels=8, scale=0.3, window=5)
    save_checkpoint(net.state_dict(), tmp_path / "b.st", kind="ar", config={**CONFIG, "scale": 0.3, "window": 5})
    back = load_checkpoint(tmp_path / "b.st")
    assert isinstance(back, ARSegNet) and back.scale == 0.3


@pytest.mark.slow
def test_faults_name_the_file_and_the_keys(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match=r"c\.safetensors: no such weights file"):
        load_checkpoint(path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match=r"c\.safetensors: not a readable \.safetensors file"):
        load_checkpoint(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"no AR-Seg metadata"):
        load_checkpoint(path)
    make(path, surplus=torch.zeros(1))
    with pytest.raises(CheckpointError, match=r"1 unknown \(surplus\)"):
        load_checkpoint(path)
    make(path, **{"classifier.bias": torch.zeros(7)})
    with pytest.raises(CheckpointError, match=r"1 of another shape \(classifier\.bias \["):
        load_checkpoint(path)
    for config in ({"depth": 3}, {**CONFIG, "wide": -8}, {**CONFIG, "channels": "many"}):
        make(path, config=config)
        with pytest.raises(CheckpointError, match=r"describes no network we know"):
            load_checkpoint(path)
    save_checkpoint({}, path, kind="ar", config=CONFIG)
    with pytest.raises(CheckpointError, match=r"describes no network we know: no 'scale' in it"):
        load_checkpoint(path)
    save_file({"x": torch.zeros(2)}, path, metadata={"kind": "hr", "config": "{bad"})
    with pytest.raises(CheckpointError, match=r"its metadata cannot be read"):
        load_checkpoint(path)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """Runs tell their teacher by its checksum."""
    state = {"a": torch.arange(5.0), "b": torch.ones(3, 3)}
    files = set()
    for number in range(20):
        path = tmp_path / f"{number}.safetensors"
        save_checkpoint(state, path, kind="hr", config={"name": 'ü"', "sizes": [1, 2]})
        files.add(path.read_bytes())
    assert len(files) == 1
    kind, config, found = read_checkpoint(path)
    assert (kind, config) == ("hr", {"name": 'ü"', "sizes": [1, 2]})
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_half_precision_is_for_matrices_and_what_fits_it(tmp_path):
    """A variance in batch normalisation may be beyond float16 (65504): infinite it would silence a channel."""
    state = {
        "conv.weight": torch.full((2, 2, 1, 1), 1 / 3),
        "large.weight": torch.full((2, 2), 1e5),
        "bn.running_var": torch.tensor([1e6, 1 / 3]),
        "bn.bias": torch.tensor([1e-9, 0.1]),
    }
    save_checkpoint(state, tmp_path / "a.safetensors", kind="hr", config={})
    _, _, found = read_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(found["conv.weight"], state["conv.weight"].half().float())
    for key in ("large.weight", "bn.running_var", "bn.bias"):
        assert torch.equal(found[key], state[key]), key


def test_a_variance_that_is_not_finite_is_told(tmp_path):
    bad = {"encoder.bn1.running_var": torch.tensor([1.0, math.inf])}
    net = torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict({"bn1": torch.nn.BatchNorm2d(2)})})
    with pytest.raises(CheckpointError, match=r"^a\.safetensors: encoder\.bn1\.running_var: expected finite variances"):
        load_into(net, {**net.state_dict(), **bad}, "a.safetensors")
