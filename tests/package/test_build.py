"""Version, metadata, what goes into the wheel and the source archive, and what the build says when it cannot."""

import importlib.machinery
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import arseg_ext
from arseg_ext import _loader

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCES = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__", "runs", "demo-output")


def run(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the sources, so that nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("tree") / "arseg"
    copy.mkdir()
    for name in ("arseg_ext", "python", "csrc", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=NOT_SOURCES)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "CMakeLists.txt"):
        shutil.copy(ROOT / name, copy)
    for name in ("LICENSE", "NOTICE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
        else:
            (copy / name).write_text(name)
    return copy


@pytest.fixture(scope="module")
def pyproject():
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place(pyproject):
    assert "version" not in pyproject["project"] and pyproject["project"]["dynamic"] == ["version"]
    done = run("setup.py", "--version")
    assert done.stdout.split()[-1] == arseg_ext.__version__, done.stderr
    for path in [ROOT / "setup.py", ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", *ROOT.glob("arseg_ext/*.py")]:
        if path.name != "_version.py":
            assert arseg_ext.__version__ not in path.read_text(encoding="utf-8"), path


def test_metadata(pyproject):
    project = pyproject["project"]
    assert project["requires-python"] == ">=3.10"
    assert project["license"] == "Apache-2.0"
    assert project["scripts"] == {"arseg": "arseg.cli:main"}
    assert set(project["optional-dependencies"]) >= {"train", "test", "lint"}
    assert any(requirement.startswith("torch>=2.11") for requirement in pyproject["build-system"]["requires"])


@pytest.mark.slow
def test_source_archive(tree, tmp_path):
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(tmp_path)!r}))"
    done = run("-c", code, cwd=tree)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("arseg-*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    expected = {"setup.py", "pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "NOTICE"}
    expected |= {path.relative_to(tree).as_posix() for path in tree.glob("csrc/**/*") if path.is_file()}
    expected |= {path.relative_to(tree).as_posix() for path in tree.glob("arseg_ext/*.py")}
    expected |= {path.relative_to(tree).as_posix() for path in tree.glob("python/arseg/**/*.py")}
    expected |= {path.relative_to(tree).as_posix() for path in tree.glob("tests/ops/*.py")}
    expected |= {"arseg_ext/py.typed", "tests/conftest.py", "python/arseg/weights/shipped/lite0-camvid.safetensors"}
    assert expected <= names, sorted(expected - names)
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]


@pytest.mark.slow
def test_wheel(tree, tmp_path):
    """The wheel around the libraries that are built already: only the compilers are left out."""
    motion = [
        path
        for suffix in importlib.machinery.EXTENSION_SUFFIXES
        for path in (ROOT / "python" / "arseg").glob(f"_motion{suffix}")
    ]
    stage = (
        "import sysconfig, sys, pathlib, shutil;"
        "from setuptools.dist import Distribution; from setuptools import Extension;"
        "build = Distribution({'ext_modules': [Extension('x', [])]}).get_command_obj('build');"
        "build.ensure_finalized(); print(build.build_lib)"
    )
    folder = tree / run("-c", stage, cwd=tree).stdout.split()[-1]
    for library, package in [(_loader.find_library(), "arseg_ext"), *((path, "arseg") for path in motion)]:
        (folder / package).mkdir(parents=True, exist_ok=True)
        shutil.copy(library, folder / package)
    done = run("setup.py", "build_py", "bdist_wheel", "--skip-build", "--dist-dir", str(tmp_path), cwd=tree)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert wheel.name.startswith(f"arseg-{arseg_ext.__version__}-cp") and not wheel.name.endswith("-any.whl")
    expected = {path.relative_to(tree).as_posix() for path in tree.glob("arseg_ext/*.py")}
    expected |= {path.relative_to(tree / "python").as_posix() for path in tree.glob("python/arseg/**/*.py")}
    expected |= {f"arseg/weights/shipped/lite0-camvid.{ending}" for ending in ("safetensors", "md")}
    expected |= {"arseg_ext/py.typed", f"arseg_ext/{_loader.find_library().name}", *(f"arseg/{p.name}" for p in motion)}
    assert expected <= names, sorted(expected - names)
    assert {name.split("/")[0] for name in names} == {"arseg_ext", "arseg", info}
    assert "arseg = arseg.cli:main" in entry_points
    assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.10" in metadata


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
def test_the_library_needs_libtorch_cpu_and_its_stable_interface_alone():
    library = str(_loader.find_library())
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(.+?)\]", dynamic))
    assert {name for name in needed if "torch" in name or "c10" in name or "python" in name} == {"libtorch_cpu.so"}
    symbols = subprocess.run(["readelf", "-sW", "--dyn-syms", library], capture_output=True, text=True, check=True)
    undefined = re.findall(r"UND (\S+)", symbols.stdout)
    # C++ names of at::, c10:: and torch:: change from release to release: the undefined symbols users fear.
    assert not [name for name in undefined if re.match(r"_ZN?K?(2at|3c10|5torch)", name)]


def test_no_torch_at_build_is_one_sentence(tree, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    done = run("setup.py", "build_ext", cwd=tree, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "arseg: building needs torch, and it is not installed here. Install it first" in done.stderr


def test_old_torch_at_build_is_one_sentence(tree, tmp_path):
    (tmp_path / "torch" / "utils").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("__version__ = '2.9.1'")
    (tmp_path / "torch" / "utils" / "__init__.py").write_text("")
    (tmp_path / "torch" / "utils" / "cpp_extension.py").write_text("")
    done = run("setup.py", "build_ext", cwd=tree, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "arseg: building needs torch 2.11 or newer, and 2.9.1 is installed." in done.stderr


def test_cuda_that_was_asked_for_and_is_not_there(tree, tmp_path):
    (tmp_path / "torch" / "utils").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text("from . import version\n__version__ = '2.12.0+cpu'")
    (tmp_path / "torch" / "version.py").write_text("cuda = None")
    (tmp_path / "torch" / "utils" / "__init__.py").write_text("")
    (tmp_path / "torch" / "utils" / "cpp_extension.py").write_text("CUDA_HOME = None")
    done = run("setup.py", "build_ext", cwd=tree, PYTHONPATH=str(tmp_path), FORCE_CUDA="1")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "arseg: FORCE_CUDA=1, but " in done.stderr
