"""What a device cannot do is one sentence, the same for every command."""

from __future__ import annotations

import pytest
import torch

from arseg.device import check_device, in_bfloat16
from arseg.errors import InputError

OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"


@pytest.mark.parametrize(
    ("version", "error", "words"),
    [
        (None, "", "this torch was built without CUDA, got cuda"),
        ("13.0", OLD, "the NVIDIA driver here is too old for this torch, which wants CUDA 13.0; update it, got cuda"),
        ("13.0", "Found no NVIDIA driver on your system", "torch finds no CUDA device here, got cuda"),
    ],
)
def test_why_there_is_no_cuda_is_a_sentence(monkeypatch, version, error, words):
    def init():
        raise RuntimeError(error)

    monkeypatch.setattr("arseg.device.build_config", lambda: {"with_cuda": True})
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(InputError) as caught:
        check_device("cuda")
    assert str(caught.value) == f"device: {words}; take cpu"


def test_a_device_too_many_is_a_sentence(monkeypatch):
    monkeypatch.setattr("arseg.device.build_config", lambda: {"with_cuda": True})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        InputError,
        match=r"^device: there are 1 CUDA devices here, counted from 0, got cuda:3; take one of them, or cpu$",
    ):
        check_device("cuda:3")


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_where_the_gpu_has_it(monkeypatch, capability, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    gpu = torch.device("cuda")
    assert in_bfloat16(None, gpu) == has and not in_bfloat16("float32", gpu)
    if has:
        assert in_bfloat16("bfloat16", gpu)
        return
    with pytest.raises(InputError, match=r"^precision: Tesla T4 has no bfloat16 arithmetic, .* 8.0; use float32$"):
        in_bfloat16("bfloat16", gpu)


def test_the_cpu_computes_in_float32_unless_it_is_asked():
    cpu = torch.device("cpu")
    assert [in_bfloat16(given, cpu) for given in (None, "float32", "bfloat16")] == [False, False, True]
    with pytest.raises(InputError, match=r"^precision: expected float32 or bfloat16, got 'int8'$"):
        in_bfloat16("int8", cpu)
