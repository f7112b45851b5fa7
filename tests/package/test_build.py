"""Version, metadata, what the library needs, and what the build says when it cannot."""

import re
import shutil
import subprocess

import pytest
from package.trees import ROOT, copy_of_the_sources, run

import arseg_ext
from arseg_ext import _loader


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copy_of_the_sources(tmp_path_factory.mktemp("tree") / "arseg")


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
