"""Which GPU architectures a build is for."""

from __future__ import annotations

import re
import sys

import pytest
from package.trees import ROOT, run

sys.path.insert(0, str(ROOT / "csrc"))
import architectures

CUDA_12_4 = {(5, 0), (7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0)}
CUDA_12_8 = CUDA_12_4 | {(10, 0), (10, 1), (12, 0)}
CUDA_13 = {(7, 5), (8, 0), (8, 6), (8, 7), (8, 8), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1)}


@pytest.mark.parametrize(
    ("known", "machine", "expected"),
    [
        (CUDA_12_4, "x86_64", "8.0;8.6;9.0+PTX"),
        (CUDA_12_8, "x86_64", "8.0;8.6;9.0;10.0;12.0+PTX"),
        (CUDA_13, "x86_64", "8.0;8.6;9.0;10.0;12.0+PTX"),
        (CUDA_13, "aarch64", "8.0;8.6;8.7;9.0;10.0;11.0;12.0+PTX"),
        (CUDA_12_8, "aarch64", "8.0;8.6;8.7;9.0;10.0;10.1;12.0+PTX"),
        (CUDA_13 | {(13, 0), (13, 2)}, "x86_64", "8.0;8.6;9.0;10.0;12.0;13.0+PTX"),
    ],
)
def test_default(known, machine, expected):
    assert architectures.default(known, machine) == expected


def test_lists():
    assert architectures.entries("8.0 9.0a;10.1, 12.1+PTX") == ["8.0", "9.0a", "10.1", "12.1+PTX"]
    assert architectures.entries("sm_90;120+ptx") == ["9.0", "12.0+PTX"]
    for wrong in ("8", "9.0b", "8.0;new", "8.0+PTX+PTX"):
        with pytest.raises(ValueError, match=r"is not an architecture such as 8\.0, 9\.0a or 12\.0\+PTX"):
            architectures.entries(wrong)
    listed = ["7.0", "7.5+PTX", "8.0", "10.1"]
    assert architectures.too_old(listed) == ["7.0", "7.5+PTX"]
    assert architectures.unknown(["8.0", "10.1", "12.1+PTX"], CUDA_13) == ["10.1"]
    assert architectures.unknown(["10.1"], set()) == []


def test_flags_and_back():
    listed = ["8.0+PTX", "9.0a", "12.1+PTX"]
    flags = architectures.flags(listed)
    assert flags == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_121,code=sm_121",
        "-gencode=arch=compute_80,code=compute_80",
        "-gencode=arch=compute_121,code=compute_121",
    ]
    assert architectures.of_flags(reversed(flags)) == listed


def test_a_generation_shares_its_first_ptx():
    flags = architectures.flags(["8.0", "8.6", "9.0", "9.0a", "12.0", "12.1+PTX"])
    assert flags == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_80,code=sm_86",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=sm_121",
        "-gencode=arch=compute_121,code=compute_121",
    ]
    assert architectures.of_flags(flags) == ["8.0", "8.6", "9.0", "9.0a", "12.0", "12.1+PTX"]


def test_no_nvcc_knows_nothing(tmp_path):
    assert architectures.known_to(str(tmp_path / "nvcc")) == set()


NVCC = """#!/bin/sh
case $1 in
  --list-gpu-code) printf 'sm_75\\nsm_80\\nsm_90\\nsm_121\\n' ;;
  --version) echo 'Cuda compilation tools, release %s, V%s.88' ;;
esac
"""


def fake_cuda(folder, release="13.0", torch_cuda="13.0"):
    """A torch and an nvcc that say what they are, and no more."""
    nvcc = folder / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC.replace("%s", release))
    nvcc.chmod(0o755)
    (folder / "torch" / "utils").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text(
        "from . import version\n__version__ = '2.14.1'\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
    )
    (folder / "torch" / "version.py").write_text(f"cuda = '{torch_cuda}'")
    (folder / "torch" / "utils" / "__init__.py").write_text("")
    (folder / "torch" / "utils" / "cpp_extension.py").write_text(
        f"CUDA_HOME = {str(folder / 'cuda')!r}\n"
        "def CUDAExtension(*arguments, extra_compile_args, **more):\n"
        "    raise SystemExit(' '.join(extra_compile_args['nvcc']))\n"
    )
    return str(folder)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("12.1", r"code=sm_121$"),
        ("7.5;8.0+PTX", r"TORCH_CUDA_ARCH_LIST: 7\.5 is left out, for the kernels need 8\.0 or newer\."),
        ("", r"sm_80 -gencode=arch=compute_90,code=sm_90 -gencode=arch=compute_121,code=sm_121 \S+code=compute_121$"),
        ("7.5", r"arseg: TORCH_CUDA_ARCH_LIST=7\.5: the kernels need 8\.0 or newer\. FORCE_CUDA=0"),
        ("10.1", r"arseg: TORCH_CUDA_ARCH_LIST=10\.1: \S+ does not know 10\.1; it knows 7\.5, 8\.0, 9\.0, 12\.1\.$"),
        ("9.0b", r"arseg: TORCH_CUDA_ARCH_LIST=9\.0b: '9\.0b' is not an architecture"),
    ],
)
def test_what_a_build_makes_of_the_list(tmp_path, wanted, words):
    done = run("setup.py", "build_ext", PYTHONPATH=fake_cuda(tmp_path), FORCE_CUDA="1", TORCH_CUDA_ARCH_LIST=wanted)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    flags = re.sub(r"-Xcompiler=-fvisibility=hidden", "", done.stderr).strip()
    assert re.search(words, re.sub(r"\s+$", "", flags), re.MULTILINE), done.stderr


def test_nvcc_of_another_generation_is_one_sentence(tmp_path):
    folder = fake_cuda(tmp_path, release="12.4")
    done = run("setup.py", "build_ext", PYTHONPATH=folder, FORCE_CUDA="1")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    said = "nvcc is of CUDA 12.4, and torch 2.14.1 of CUDA 13.0: the first number must be the same. CUDA_HOME names"
    assert said in done.stderr
