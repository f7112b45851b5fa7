"""The modules, the loader's sentences, build facts and the report for bug reports."""

import json
import re
import subprocess
import sys

import pytest
import torch
from helpers.op_samples import randn, vectors

import arseg_ext
from arseg_ext import _loader, collect_env, ops


def test_modules_are_the_functions():
    query, key, value = (randn(1, 3, 5, 6, seed=seed) for seed in range(3))
    attention = arseg_ext.LocalAttention((3, 5), outside="masked", scale=0.5)
    expected = ops.local_attention(query, key, value, window=(3, 5), outside="masked", scale=0.5)
    assert torch.equal(attention(query, key, value), expected)
    motion = vectors(1, 3, 3, 2)
    warp = arseg_ext.MVWarp(16, grid="legacy")
    expected = ops.mv_warp(query, motion, block=16, frame_size=(40, 48), grid="legacy")
    assert torch.equal(warp(query, motion, frame_size=(40, 48)), expected)
    fusion = arseg_ext.CReFF(3, window=5).double()
    out = fusion(query, randn(1, 3, 3, 3), motion, block=16, frame_size=(40, 48))
    out.sum().backward()
    assert out.shape == query.shape and all(parameter.grad is not None for parameter in fusion.parameters())
    assert "window=(3, 5)" in repr(attention) and "block=16" in repr(warp) and "window=5" in repr(fusion)


def test_importing_is_light_and_names_are_lazy():
    code = (
        "import sys, arseg_ext; assert 'torch' not in sys.modules; "
        "missing = [n for n in arseg_ext.__all__ if n not in dir(arseg_ext)]; assert not missing, missing"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(_loader.FOLDER.parent)})
    for name in arseg_ext.__all__:
        assert getattr(arseg_ext, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = arseg_ext.nothing


@pytest.mark.slow
def test_the_old_name_of_the_oracle_warns():
    code = (
        "import warnings; warnings.simplefilter('error'); import arseg_ext.oracle; caught = None\n"
        "try:\n    import arseg_ext.reference\nexcept DeprecationWarning as warning:\n    caught = str(warning)\n"
        "assert caught and 'arseg_ext.oracle' in caught, caught\n"
        "warnings.simplefilter('ignore'); import arseg_ext.reference as old\n"
        "assert all(getattr(old, name) is getattr(arseg_ext.oracle, name) for name in old.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(_loader.FOLDER.parent)})


def test_build_config():
    config = arseg_ext.build_config()
    assert config["version"] == arseg_ext.__version__, "the library is of another version: build it again"
    assert config["torch_target"] == "2.11"
    assert isinstance(config["with_cuda"], bool) and isinstance(config["debug"], bool)
    assert config["compiler"] and config["flags"] and config["library"].endswith((".so", ".pyd", ".dylib"))


def test_loading_twice_does_nothing():
    arseg_ext.load()
    arseg_ext.load()


def test_not_built(tmp_path):
    with pytest.raises(arseg_ext.LibraryError, match=r"^arseg_ext is not built: .*build_ext --inplace"):
        _loader.find_library(tmp_path)


@pytest.mark.parametrize("version", ["2.10.1", "1.13.0+cpu"])
def test_torch_too_old(version):
    with pytest.raises(arseg_ext.LibraryError, match=f"needs torch 2.11 or newer, and torch {re.escape(version)} is"):
        _loader.check_torch(version)


@pytest.mark.parametrize("version", ["2.11.0", "2.14.1+cu130", "2.15.0a0+git1234", "3.0"])
def test_torch_new_enough(version):
    _loader.check_torch(version)


def test_library_of_another_platform(tmp_path):
    library = tmp_path / "_C.abi3.so"
    library.write_bytes(b"MZ\x90\x00 not a library of this system" * 100)
    with pytest.raises(arseg_ext.LibraryError, match=r"could not load it with torch .*: build it again"):
        _loader.load_library(_loader.find_library(tmp_path))


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_a_library_that_was_cut_off(tmp_path, kept):
    library = tmp_path / "_C.abi3.so"
    library.write_bytes(_loader.find_library().read_bytes()[:kept])
    with pytest.raises(arseg_ext.LibraryError, match=f"is damaged: it (is empty|ends after {kept} of )"):
        _loader.load_library(library)


def test_library_of_another_version(tmp_path):
    _loader.check_version(tmp_path / "_C.abi3.so", arseg_ext.__version__)
    with pytest.raises(arseg_ext.LibraryError, match=r"_C\.abi3\.so is of version 0\.0\.9, and the Python"):
        _loader.check_version(tmp_path / "_C.abi3.so", "0.0.9")


def test_library_of_other_sources(monkeypatch, tmp_path):
    from arseg_ext import _checks

    def lacking():
        return torch.ops.arseg._not_there_yet()

    monkeypatch.setattr(_checks, "load_sentences", lacking)
    with pytest.raises(arseg_ext.LibraryError) as caught:
        _loader.register(tmp_path / "_C.abi3.so")
    said = str(caught.value)
    assert said.startswith(f"the library {tmp_path / '_C.abi3.so'} was built from other sources than the")
    assert "_not_there_yet" in said and "build_ext --inplace" in said


def test_collect_env(capsys):
    assert collect_env.main([]) == 0
    text = capsys.readouterr().out
    for name in ("arseg", "python", "torch", "operators with_cuda", "c++ compiler", "nvcc", "numpy"):
        assert re.search(rf"^{re.escape(name)} +\S", text, re.MULTILINE), name
    assert collect_env.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arseg"] == arseg_ext.__version__


def test_collect_env_reports_a_missing_library(monkeypatch, capsys):
    def refuse():
        raise arseg_ext.LibraryError("arseg_ext is not built: try this")

    monkeypatch.setattr(_loader, "build_config", refuse)
    assert collect_env.main([]) == 0
    assert "arseg_ext is not built: try this" in capsys.readouterr().out
