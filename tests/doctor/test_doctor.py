"""`arseg doctor`: a healthy installation, and each fault that can be made here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import av
import pytest
import torch

import arseg_ext
from arseg import extras, zoo
from arseg.cli import app as cli
from arseg.doctor import computing, installed, videos
from arseg.doctor.examine import examine
from arseg.doctor.findings import Finding
from arseg_ext import _loader, ops

ROOT = Path(__file__).resolve().parents[2]


def parts(check) -> dict[str, Finding]:
    return {finding.part: finding for finding in examine([("it", check)])}


def run(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["arseg", "doctor", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0, capsys.readouterr().out


@pytest.mark.slow
def test_this_installation_works(monkeypatch, capsys):
    code, out = run(monkeypatch, capsys)
    assert code == 0 and re.search(r"^0 faults, \d+ warnings?$", out, re.MULTILINE)
    assert "mv_warp and local_attention are right" in out and "% of a made video's blocks moved as they did" in out
    code, out = run(monkeypatch, capsys, "--json")
    report = json.loads(out)
    assert code == report["faults"] == 0 and report["environment"]["torch"] == torch.__version__
    found = {finding["part"]: finding for finding in report["findings"]}
    for part in ("torch", "operators", "results on cpu", "FFmpeg", "h264 decoder", "motion vectors", "weights lite0"):
        assert found[part]["level"] == "ok" and found[part]["cure"] is None
    assert all((f["cure"] is None) == (f["level"] == "ok") for f in report["findings"])


def test_a_fault_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4", "hevc", "libdav1d"})
    code, out = run(monkeypatch, capsys)
    assert (code == 1 and "1 fault" in out.splitlines()[-1]) or "2 faults" in out.splitlines()[-1]
    assert re.search(r"^fault +h264 decoder +this FFmpeg has no h264\n +Install PyAV's own wheel", out, re.MULTILINE)


def test_the_library_is_not_there(monkeypatch, tmp_path):
    def load():
        _loader.find_library(tmp_path)

    monkeypatch.setattr(arseg_ext, "build_config", load)
    (found,) = parts(computing.operators).values()
    assert found.level == "fault" and "arseg_ext is not built" in found.found and found.cure == computing.AGAIN


def test_a_wrong_result(monkeypatch):
    right = ops.mv_warp
    monkeypatch.setattr(ops, "mv_warp", lambda *args, **named: right(*args, **named) + 0.25)
    found = computing.computes(torch.device("cpu"))
    assert found.level == "fault" and found.found == "mv_warp is off by 0.25"
    monkeypatch.setattr(ops, "mv_warp", lambda *args, **named: right(*args, **named) * float("nan"))
    assert computing.computes(torch.device("cpu")).found == "mv_warp is off by nan"


def test_a_device_that_the_library_has_no_code_for(monkeypatch):
    def refuse(*args, **named):
        raise RuntimeError("arseg: this GPU has compute capability 7.5")

    monkeypatch.setattr(ops, "mv_warp", refuse)
    found = computing.computes(torch.device("cpu"))
    assert found.level == "fault" and "compute capability 7.5" in found.found


@pytest.mark.parametrize(
    ("driver", "version", "level", "said"),
    [
        (False, None, "ok", "no NVIDIA driver here"),
        (True, None, "warning", "this torch was built without CUDA"),
        (True, "13.0", "warning", "there is an NVIDIA driver, but torch finds no CUDA device here"),
    ],
)
def test_no_cuda_device(monkeypatch, tmp_path, driver, version, level, said):
    if driver:
        (tmp_path / "version").touch()
    monkeypatch.setattr(computing, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.version, "cuda", version)
    found = parts(computing.cuda)["CUDA"]
    assert found.level == level and said in found.found


def test_operators_without_cuda_beside_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    monkeypatch.setattr(arseg_ext, "build_config", lambda: {"with_cuda": False})
    found = parts(computing.cuda)["CUDA 0"]
    assert found.level == "warning" and "FORCE_CUDA=1" in (found.cure or "")


@pytest.mark.parametrize(("threads", "level"), [(1, "ok"), (3, "warning")])
def test_threads(monkeypatch, threads, level):
    monkeypatch.setattr(computing, "available_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = parts(computing.torch_found)["threads"]
    assert found.level == level and (level == "ok" or "OMP_NUM_THREADS=1" in (found.cure or ""))


def test_fields_that_are_wrong(monkeypatch):
    monkeypatch.setattr(videos, "made_and_read", lambda: [("exact", 1.0), ("exact", 1.0), ("exact", 0.5)])
    found = parts(videos.vectors)["motion vectors"]
    assert found.level == "fault" and "exact 50 %" in found.found
    monkeypatch.setattr(videos, "made_and_read", lambda: [("inferred", 1.0)] * 3)
    assert parts(videos.vectors)["motion vectors"].level == "fault"


def test_the_motion_library_is_not_there(monkeypatch):
    def missing():
        raise ImportError("the motion library cannot be loaded (no such file): build it with `pip install .`")

    monkeypatch.setattr(videos, "made_and_read", missing)
    found = parts(videos.vectors)["motion vectors"]
    assert found.level == "fault" and "the motion library cannot be loaded" in found.found


def test_a_codec_that_fails(monkeypatch):
    monkeypatch.setattr(videos, "decoded", lambda decoder, packets: len(packets) - (decoder == "hevc"))
    found = parts(videos.codecs)
    assert found["h264 decoder"].level == "ok"
    assert found["hevc decoder"].level == "warning" and "frames come" in found["hevc decoder"].found


def test_a_missing_extra(monkeypatch):
    known = installed.find_spec
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "matplotlib" else known(name))
    found = parts(installed.extras)["extra plot"]
    assert found.level == "warning" and "without matplotlib" in found.found and "arseg[plot]" in (found.cure or "")


def test_extras_are_those_of_the_project():
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    names = re.findall(r"^(\w+) = \[", block, re.MULTILINE)
    assert sorted(extras.EXTRAS) == sorted(set(names) - {"all", "test", "lint", "docs"})
    spelled = {"yaml": "pyyaml", "python_multipart": "python-multipart", "prometheus_client": "prometheus-client"}
    for name, extra in extras.EXTRAS.items():
        listed = re.search(rf"^{name} = \[(.*?)\](?: #|$)", block, re.MULTILINE | re.DOTALL)
        assert listed is not None
        assert all(spelled.get(module, module) in listed[1] for module in extra.modules), name


def test_weights_that_are_missing_or_others(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    found = parts(installed.weights)
    assert found["weights lite0"].level == "fault" and found["weights slim"].level == "warning"
    (tmp_path / zoo.ZOO["lite0"].file).write_bytes(b"other")
    found = parts(installed.weights)
    assert found["weights lite0"].level == "fault" and "expected 92ca48" in found["weights lite0"].found


def test_a_check_that_fails_itself():
    def broken():
        yield computing.ok("it", "well")
        raise KeyError("what")

    found = list(examine([("a part", broken)]))
    assert [finding.level for finding in found] == ["ok", "fault"] and "KeyError: 'what'" in found[1].found
