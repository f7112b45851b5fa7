"""What stands in a build's way is a sentence, and an exit code."""

from __future__ import annotations

import os
import sys

import pytest
from package.trees import ROOT, copy_of_the_sources, run

sys.path.insert(0, str(ROOT / "csrc"))
import preflight


def test_platforms():
    assert preflight.platform_trouble("linux") is None and preflight.platform_trouble("darwin") is None
    assert preflight.platform_trouble("win32").startswith("Windows is not supported: build in WSL 2")
    assert preflight.platform_trouble("freebsd14").startswith("freebsd14 is not supported")


@pytest.mark.parametrize("platform", ["win32", "sunos5"])
def test_a_build_elsewhere_ends_with_the_sentence(tmp_path, platform):
    start = (
        "import sys, runpy, setuptools, sysconfig; sysconfig.get_config_vars(); "
        f"sys.platform = {platform!r}; sys.argv = ['setup.py', 'build_ext']; "
    )
    done = run("-c", start + "sys.path.insert(0, '.'); runpy.run_path('setup.py', run_name='__main__')")
    assert done.returncode == 1 and done.stderr.strip() == f"arseg: {preflight.platform_trouble(platform)}"


def test_macos_gets_no_flags_of_gnu_linkers():
    code = (
        "import sys; sys.platform = 'darwin'; sys.path.insert(0, 'csrc'); import surroundings; "
        "print(surroundings.link_flags(['-O3'], ['c++']))"
    )
    done = run("-c", code)
    assert "'-O3'" in done.stdout and "-Wl" not in done.stdout and "gcc_s" not in done.stdout, done.stderr


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_compilers(tmp_path):
    assert preflight.compiler_trouble() is None
    none = preflight.compiler_trouble({"PATH": str(tmp_path)}, "linux")
    assert none.startswith("there is no C++ compiler: c++ was not found. Install one (Debian and Ubuntu: apt install")
    assert "xcode-select --install" in preflight.compiler_trouble({"PATH": str(tmp_path)}, "darwin")
    absent = preflight.compiler_trouble({"PATH": str(tmp_path), "CXX": "g++-99"})
    assert absent.startswith("CXX=g++-99 names no program.")
    answer = (
        'if [ "$1" = --version ]; then echo "g++ 7.5.0"; else echo "<stdin>:2: fatal error: no concepts"; exit 1; fi'
    )
    old = script(tmp_path / "old-g++", answer.replace("; exit 1", " >&2; exit 1"))
    said = preflight.compiler_trouble({**os.environ, "CXX": old})
    assert f"the C++ compiler {old} (g++ 7.5.0) does not compile C++20: <stdin>:2: fatal error: no concepts." in said
    assert said.endswith("Needed is g++ 10, clang 13 or newer: CXX names another one.")


def test_ninja_and_nvcc(tmp_path):
    assert "pip install ninja" in preflight.ninja_trouble({"PATH": str(tmp_path)})
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin" / "ninja", "echo 1.13")
    environment = {"PATH": str(tmp_path)}
    preflight.find_ninja(environment, str(tmp_path / "bin"))
    assert preflight.ninja_trouble(environment) is None
    nvcc = script(tmp_path / "nvcc", "echo 'Cuda compilation tools, release 13.1, V13.1.5'")
    assert preflight.ninja_trouble({"PATH": str(tmp_path)}) is not None
    assert preflight.nvcc_trouble(nvcc, "2.14.1", "13.0") is None
    assert "is of CUDA 13.1, and torch 2.9.0 of CUDA 12.8" in preflight.nvcc_trouble(nvcc, "2.9.0", "12.8")
    assert "nvcc cannot be run" in preflight.nvcc_trouble(str(tmp_path / "absent"), "2.14.1", "13.0")
    assert "names no release" in preflight.nvcc_trouble(script(tmp_path / "odd", "echo hello"), "2.14.1", "13.0")


def test_the_first_error_is_remembered_and_all_is_passed_on():
    code = (
        "import os, subprocess, sys; sys.path.insert(0, 'csrc'); import preflight\n"
        "with preflight.FirstError() as first:\n"
        "    lines = 'FAILED: a.o error: x', 'a.cpp:3:1: error: one', 'a.cpp:9:1: error: two'\n"
        "    subprocess.run(['printf', '%s\\n', *lines])\n"
        "    print('after')\n"
        "print(repr(first.line))"
    )
    done = run("-c", code)
    lines = done.stdout.splitlines()
    assert lines == [
        "FAILED: a.o error: x",
        "a.cpp:3:1: error: one",
        "a.cpp:9:1: error: two",
        "after",
        "'a.cpp:3:1: error: one'",
    ], done.stderr


@pytest.mark.slow
def test_a_build_without_a_compiler_is_one_sentence(tmp_path):
    done = run("setup.py", "-q", "build_ext", "--build-temp", str(tmp_path), FORCE_CUDA="0", CXX="no-such-compiler")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("arseg: CXX=no-such-compiler names no program.")


@pytest.mark.slow
def test_a_source_that_does_not_compile_is_named(tmp_path):
    tree = copy_of_the_sources(tmp_path / "arseg")
    for path in (tree / "csrc").rglob("*.cpp"):
        path.write_text("")
    (tree / "csrc" / "registration.cpp").write_text("int wrong = unknown;\n")
    done = run("setup.py", "-q", "build_ext", "--inplace", cwd=tree, FORCE_CUDA="0", DEBUG="1")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("arseg: the build fails. The first error, also above: ")
    assert "registration.cpp:1:13: error: " in last and "int wrong" in done.stdout
