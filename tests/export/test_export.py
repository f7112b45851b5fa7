"""Exported networks give the labels of the network that they were made of, and say where they cannot run."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.network_kinds import make
from helpers.other_networks import Plain
from helpers.texture_clips import moving_texture

import arseg_ext
from arseg.acceleration.opened import around
from arseg.acceleration.parts import split
from arseg.errors import InputError
from arseg.export.exported import is_exported, load_exported
from arseg.export.formats import FORMATS, Format, laid_out
from arseg.export.make import _ready, export_network
from arseg.labels import LabelSet
from arseg.segment.opened import open_segmenter
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import encode

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)
"""Of the clip's frames."""


def trusting():
    net = make("accelerated")
    net.keyframe_tau, net.keyframe_residual, net.residual_tau = 20.0, 0.5, 8.0
    return net


def labels(model, clip, **options):
    results = VideoSegmenter(model, height="video", gop=4, **options).stream(clip)
    return np.stack([frame.labels for frame in results])


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return trusting()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    """The network as programs of torch.export, which need no compiler; with its shrunken images' size, too."""
    path = tmp_path_factory.mktemp("exported") / "net"
    export_network(net, path, [SIZE, (32, 48)], format="program")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"batch": 1}, {"mode": "hr"}, {"mode": "lr"}, {"mode": "warp"}]
    + [{"budget": "100%", "policy": policy} for policy in ("bidirectional", "ensemble", "ar")]
    + [{"slowest": "60%"}],
    ids=lambda options: "-".join(map(str, options.values())) or "ar",
)
def test_the_labels_are_those_of_the_network(net, folder, clip, options):
    expected, found = labels(net, clip, **options), labels(folder, clip, **options)
    assert (expected != found).mean() < 1e-3 and len(np.unique(expected)) > 1


@pytest.mark.slow
def test_videos_of_other_sizes_are_seen_at_the_exported_one(net, folder, tmp_path):
    clip = tmp_path / "large.mp4"
    encode(iter(moving_texture(6, 130, 196)), clip, rate=10)
    expected, found = (
        np.stack([frame.labels for frame in VideoSegmenter(model, height=64, gop=4).stream(clip)])
        for model in (net, folder)
    )
    assert expected.shape == (6, 130, 196) and (expected != found).mean() < 1e-3


@pytest.mark.slow
def test_a_published_network_is_exported_for_frames_as_they_are(clip, tmp_path):
    net = make("camvid-psp18")
    made = export_network(net, tmp_path / "net", [SIZE], format="program")
    assert made.sizes[0].parts["fusion"].frame == SIZE
    assert (labels(net, clip) != labels(tmp_path / "net", clip)).mean() < 1e-3
    usual = open_segmenter("cpu", tmp_path / "net", None, {})
    assert (usual.mode, usual.new_policy()) == ("ar", None), "its results stay the authors'"


@pytest.mark.slow
def test_a_network_alone_is_its_keyframes(clip, tmp_path):
    network = split(Plain())
    network.label_set = LabelSet.of(network.classifier.out_channels)
    net = around(network)
    export_network(net, tmp_path / "net", [SIZE], format="program", branch=False)
    for options in ({"mode": "warp"}, {"budget": "30%"}):
        assert (labels(net, clip, **options) != labels(tmp_path / "net", clip, **options)).mean() < 1e-3
    with pytest.raises(InputError, match="keyframes alone are exported"):
        VideoSegmenter(tmp_path / "net")
    usual = open_segmenter("cpu", tmp_path / "net", None, {})
    assert (usual.asked["policy"], usual.gop) == ("bidirectional", 3)


@pytest.mark.slow
def test_onnx_branches(clip, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX needs the extra export")
    pytest.importorskip("onnxscript", reason="ONNX needs the extra export")
    net = make("accelerated")
    made = export_network(net, tmp_path / "net", [SIZE], format="onnx")
    formats = {name: part.format for name, part in made.sizes[0].parts.items()}
    assert formats == {"keyframe": "onnx", "classifier": "onnx", "low": "onnx", "fusion": "program"}
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "net" / "64x96" / "low.onnx", providers=["CPUExecutionProvider"])
    image = torch.randn(3, 3, *SIZE)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], net.low_res(image), atol=1e-4)
    assert (labels(net, clip) != labels(tmp_path / "net", clip)).mean() < 1e-3


@pytest.mark.slow
def test_aotinductor_packages(clip, tmp_path, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile with")
    net = make("accelerated")
    # The branch is left out, whose compilation takes as long again.
    export_network(net, tmp_path / "net", [SIZE], format="aoti", branch=False)
    monkeypatch.setenv("CXX", "no-such-compiler")  # it is not needed where they run
    assert (labels(net, clip, mode="warp") != labels(tmp_path / "net", clip, mode="warp")).mean() < 1e-3
    with pytest.raises(InputError, match="there is no no-such-compiler"):
        export_network(net, tmp_path / "other", [SIZE], format="aoti")


@pytest.mark.slow  # compiles
def test_aotinductor_fusion(clip, tmp_path, monkeypatch):
    """The fusion as a package; the other parts are programs, whose packages `test_aotinductor_packages` makes."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile with")
    mixed = {**FORMATS._entries, "program, aoti": dataclasses.replace(FORMATS["program"], fusion="aoti")}
    monkeypatch.setattr(FORMATS, "_entries", mixed)
    net = make("default")
    made = export_network(net, tmp_path / "net", [SIZE], format="program, aoti")
    formats = {name: part.format for name, part in made.sizes[0].parts.items()}
    assert formats.pop("fusion") == "aoti" and set(formats.values()) == {"program, aoti"}
    expected, found = labels(net, clip), labels(tmp_path / "net", clip)
    assert (expected != found).mean() < 1e-3 and not np.array_equal(expected, labels(net, clip, mode="keep"))
    runs_in_cpp(tmp_path, clip)


def runs_in_cpp(tmp_path, clip):
    """The example of docs/export.md gives what Python gives; without the operators' library one sentence."""
    exported, calls = load_exported(tmp_path / "net"), []
    run = exported._run

    def seen(size, name, *inputs):
        result = run(size, name, *inputs)
        if name == "fusion":
            calls.append((list(inputs), result))
        return result

    exported._run = seen
    labels(exported, clip)
    inputs, expected = calls[0]
    torch.save(inputs, tmp_path / "inputs.pt")
    page = (ROOT / "docs" / "export.md").read_text()
    (build,) = (text for text in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "run_package.cpp" in text)
    compiling = build.partition("./run_package")[0].replace("-o run_package", f"-o {tmp_path}/run_package")
    folder = Path(sys.executable).parent
    path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", compiling], cwd=ROOT, env={**os.environ, **path}, check=True)
    (library,) = Path(arseg_ext.__file__).parent.glob("_C.*so")
    for operators, code in ((str(library), 0), ("", 1)):
        words = [operators, "net/64x96/fusion.pt2", "inputs.pt", f"{code}.pt"]
        done = subprocess.run(["./run_package", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert torch.equal(torch.load(tmp_path / "0.pt"), expected) and not (tmp_path / "1.pt").exists()
    assert done.stderr.startswith("run_package: ") and "arseg" in done.stderr


def changed(folder, tmp_path, change):
    shutil.copytree(folder, tmp_path / "changed")
    path = tmp_path / "changed" / "manifest.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return tmp_path / "changed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["versions"].update(torch="2.1"), r"made with torch 2\.1, and this is"),
        (lambda record: record["versions"].update(operators="0.0 0"), r"made with operators 0\.0 0, and this is"),
        (lambda record: record.update(format="aoti", machine={"processor": "vax"}), "compiled for vax"),
        (lambda record: record.update(version=9), "of form 9, and 1 is known"),
        (lambda record: record.pop("labels"), "cannot be read"),
    ],
)
def test_what_does_not_run_here_is_one_sentence(folder, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_exported(changed(folder, tmp_path, change))


@pytest.mark.slow
def test_refusals(net, folder, clip, tmp_path):
    assert is_exported(folder) and not is_exported(tmp_path)
    with pytest.raises(InputError, match=r"no manifest.json in it"):
        load_exported(tmp_path)
    with pytest.raises(InputError, match="exported in float32; leave out --precision"):
        VideoSegmenter(folder, precision="bfloat16")
    with pytest.raises(
        InputError, match=r"exported for images of 64x96, 32x48 \(height x width\), and this needs 48x72"
    ):
        list(VideoSegmenter(folder, height=48).stream(clip))
    with pytest.raises(InputError, match="not an empty folder"):
        export_network(net, folder, [SIZE], format="program")
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "64x96" / "low.pt2").write_bytes(b"no")
    with pytest.raises(InputError, match=r"low\.pt2: is damaged"):
        load_exported(damaged)
    (damaged / "64x96" / "low.pt2").unlink()
    with pytest.raises(InputError, match=r"low\.pt2: is missing"):
        load_exported(damaged)


def test_the_network_may_be_trained_afterwards(net):
    plain = copy.deepcopy(net)
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm2d):  # then nothing is folded, and there is no copy
                setattr(module, name, torch.nn.Identity())
    trained = [parameter.requires_grad for parameter in plain.parameters()]
    _ready(plain, SIZE, "float32", torch.device("cpu"))
    assert trained == [parameter.requires_grad for parameter in plain.parameters()] and any(trained)


def test_a_part_that_is_wrong_is_not_written(net, tmp_path, monkeypatch):
    wrong = Format(".wrong", lambda part, path: path.touch(), lambda path, device: lambda *x: x[0] * 2)
    monkeypatch.setattr(FORMATS, "_entries", {**FORMATS._entries, "wrong": wrong})
    with pytest.raises(InputError, match="model: its keyframe cannot be exported as wrong"):
        export_network(net, tmp_path / "net", [SIZE], format="wrong")
    assert not (tmp_path / "net").exists()


def test_a_program_for_one_frame_at_a_time_runs_on_several(net, folder):
    exported = load_exported(folder)
    image = laid_out(torch.randn(3, 3, *SIZE))
    whole = exported.keyframe(image)
    part = exported.manifest.sizes[0].parts["keyframe"]
    object.__setattr__(part, "batch", 1)
    torch.testing.assert_close(exported.keyframe(image), whole, atol=1e-5, rtol=1e-5)
