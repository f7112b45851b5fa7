"""What can be held of the workflows where they do not run: they parse, and all that they name is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
needs_workflows = pytest.mark.skipif(not WORKFLOWS, reason="the source archive has no .github")

spec = importlib.util.spec_from_file_location("check_release", ROOT / "tools" / "check_release.py")
assert spec and spec.loader
check_release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_release)


def jobs(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


@needs_workflows
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_names_is_there(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = jobs(path)
    for name, job in found.items():
        needs = job.get("needs", [])
        assert ({needs} if isinstance(needs, str) else set(needs)) <= set(found), name
        assert job["steps"] and job["runs-on"], name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
    text = path.read_text(encoding="utf-8")
    for place in re.findall(r"(?<![\w/])(?:tools|docs|\.ci)/[\w./]*\w", text):
        assert (ROOT / place).exists(), place
    assert set(re.findall(r"\bmake ([\w-]+)", text)) <= targets


@needs_workflows
def test_nothing_is_published_before_all_of_it_ran_nor_off_a_tag():
    found = jobs(ROOT / ".github" / "workflows" / "wheels.yml")
    publish = found["publish"]
    assert set(publish["needs"]) == set(found) - {"publish"}
    assert publish["if"] == "github.ref_type == 'tag'"
    allowed = {name for name, job in found.items() if "id-token" in job.get("permissions", {})}
    assert allowed == {"publish"}


@needs_workflows
def test_the_matrix_has_the_pythons_of_its_table():
    steps = jobs(ROOT / ".github" / "workflows" / "wheels.yml")["matrix"]["steps"]
    (pythons,) = [step["with"]["python-version"].split() for step in steps if "setup-python" in step.get("uses", "")]
    table = (ROOT / "tools" / "matrix.py").read_text(encoding="utf-8")
    assert set(re.findall(r'^    \("(3\.\d+)", ', table, re.MULTILINE)) == set(pythons)


def test_wheels_are_built_with_the_oldest_python():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = tables["project"]["requires-python"].removeprefix(">=").replace(".", "")
    assert tables["tool"]["cibuildwheel"]["build"] == f"cp{oldest}-manylinux_*"
    assert (ROOT / re.findall(r"\{project\}/(\S+)", tables["tool"]["cibuildwheel"]["test-command"])[0]).exists()


def test_a_tag_that_does_not_fit_is_told():
    version, changes = '__version__ = "0.2.0"\n', "# Changes\n\n## 0.2.0 (2026-12-01)\n"
    assert check_release.trouble("v0.2.0", version, changes) is None
    assert "the tag is v0.3.0, and arseg_ext/_version.py has 0.2.0" in check_release.trouble("v0.3.0", version, changes)
    early = check_release.trouble("v0.2.0", version, "## 0.2.0 (not released yet)\n")
    assert early == "CHANGELOG.md has no heading '## 0.2.0 (YYYY-MM-DD)': write the day of the release there."


def test_the_script_that_installs_nvcc_is_shell():
    subprocess.run(["sh", "-n", ROOT / "tools" / "install_cuda.sh"], check=True)
