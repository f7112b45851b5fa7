"""What `arseg segment` makes of a video where nothing else is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.streets import pictures

from arseg.errors import InputError
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.paper.published import make_published
from arseg.networks.pyramid import PyramidNet
from arseg.segment import opened
from arseg.segment.opened import open_segmenter
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.video import encode

USUAL = {"mode": None, "gop": None, "budget": None, "slowest": None, "policy": None}


@pytest.fixture
def network(monkeypatch):
    """What the weights hold."""

    def use(net: ARSegNet) -> None:
        net.label_set = CAMVID
        monkeypatch.setattr(opened, "opened", lambda weights: net.eval())

    torch.manual_seed(0)
    use(ARSegNet(PyramidNet(num_classes=11, channels=8, wide=8), channels=8))
    return use


def policy_of(segmenter):
    return None if segmenter.new_policy() is None else segmenter.asked["policy"]


def test_a_trained_branch_is_used_beside_both_keyframes(network):
    segmenter = open_segmenter("cpu", None, None, USUAL)
    assert (policy_of(segmenter), segmenter.gop) == ("ensemble", 12)
    assert open_segmenter("cpu", None, None, USUAL | {"gop": 7}).gop == 7
    assert not segmenter.bounded and segmenter.repeatable is None


def test_the_method_is_one_flag_away(network):
    segmenter = open_segmenter("cpu", None, None, USUAL | {"mode": "ar"})
    assert (policy_of(segmenter), segmenter.mode, segmenter.gop) == (None, "ar", 12)
    assert policy_of(open_segmenter("cpu", None, None, USUAL | {"budget": "50%"})) is None  # bidirectional
    assert policy_of(open_segmenter("cpu", None, None, USUAL | {"policy": "warp"})) == "warp"


@pytest.mark.slow
def test_the_method_where_no_frame_may_wait(network, tmp_path):
    encode(pictures(16), tmp_path / "street.mp4", rate=15, gop=16)
    made = {}
    for name, settings, at_once in (("a", {"policy": "ensemble"}, True), ("b", {"mode": "ar"}, False)):
        segmenter = open_segmenter("cpu", None, None, settings | {"gop": 5, "batch": 1})
        out = output_for(str(tmp_path / f"{name}.npz"))
        segment_file(segmenter, tmp_path / "street.mp4", [out], at_once=at_once)
        with np.load(out.target) as arrays:
            made[name] = {key: arrays[key] for key in arrays.files}
    for key, values in made["a"].items():
        np.testing.assert_array_equal(values, made["b"][key])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["ensemble", "bidirectional"])
def test_no_frame_waits_for_the_next(network, tmp_path, policy):
    encode(pictures(16), tmp_path / "street.mp4", rate=15, gop=16)
    segmenter = open_segmenter("cpu", None, None, {"policy": policy, "gop": 5, "batch": 1})
    read, segment_all = [], segmenter.segment_all
    segmenter.segment_all = lambda frames, *a, **k: segment_all((read.append(f.index) or f for f in frames), *a, **k)
    ahead = []
    segment_file(
        segmenter,
        tmp_path / "street.mp4",
        [output_for(str(tmp_path / "a.npz"))],
        at_once=True,
        on_frame=lambda count, keyframes: ahead.append(len(read) - count),
    )
    assert ahead == [0] * 16


def test_published_checkpoints_give_the_authors_results(network):
    net = make_published("camvid-psp18", num_classes=11)
    network(ARSegNet(net, channels=net.channels, grid="legacy"))
    segmenter = open_segmenter("cpu", None, None, USUAL)
    assert (policy_of(segmenter), segmenter.mode) == (None, "ar")


def test_a_network_alone_has_as_much_compute(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from arseg.labels import CAMVID\nfrom arseg.networks.pyramid import PyramidNet\n\n\n"
        "def net():\n    net = PyramidNet(num_classes=11, channels=8, wide=8)\n"
        "    net.label_set = CAMVID\n    return net\n"
    )
    monkeypatch.chdir(tmp_path)
    segmenter = open_segmenter("cpu", None, "own.py:net", USUAL)
    assert (policy_of(segmenter), segmenter.gop) == ("bidirectional", 3)
    for settings in ({"policy": "ensemble"}, {"mode": "ar"}):
        with pytest.raises(InputError, match=r"own.py:net is a network alone; train its low-resolution branch"):
            open_segmenter("cpu", None, "own.py:net", USUAL | settings)
    encode(pictures(8), tmp_path / "street.mp4", rate=15, gop=8)
    results = list(segmenter.stream("street.mp4"))
    assert [result.index for result in results if result.keyframe] == [0, 3, 6]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [{}, {"mode": "warp"}, {"mode": "lr"}, {"policy": "ensemble"}, {"budget": "30%"}, {"slowest": "60%"}],
    ids=str,
)
def test_scores_cost_no_label(network, tmp_path, asked):
    encode(pictures(16), tmp_path / "street.mp4", rate=15, gop=16)
    settings = {**asked, "batch": 3, **({} if asked.keys() & {"budget", "slowest"} else {"gop": 5})}
    plain = list(open_segmenter("cpu", None, None, settings).stream(tmp_path / "street.mp4"))
    segmenter = open_segmenter("cpu", None, None, settings | {"logits": True})
    for result, expected in zip(segmenter.stream(tmp_path / "street.mp4"), plain, strict=True):
        assert expected.logits is None and result.logits.dtype == np.float32
        np.testing.assert_array_equal(result.labels, expected.labels)
        given = torch.from_numpy(result.logits)[None]
        made = segmenter.model.labels(given, result.labels.shape)[0].numpy()
        assert (made != result.labels).mean() < 1e-3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"budget": "25%", "gop": 6}, "^--gop: --budget says how far apart keyframes are; leave one of them out$"),
        ({"slowest": "40%", "gop": 6}, "^--gop: --live says how far apart keyframes are; leave one of them out$"),
        ({"budget": "150%"}, "^budget: expected at most 100%, the network on every frame, got 150%$"),
    ],
)
def test_what_does_not_go_together(network, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        open_segmenter("cpu", None, None, settings)


def test_a_name_of_the_zoo_as_a_network_alone():
    with pytest.raises(InputError, match=r"^--model: of lite0 .* give it as --weights, with its branch$"):
        open_segmenter("cpu", None, "lite0", {"mode": "ar"})
