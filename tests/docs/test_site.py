"""The site builds strictly, has every public name, asks no other host for anything, and can be searched from file://."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs" / "site"))
import public  # noqa: E402

pytest.importorskip("mkdocs", reason="the site's generator is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def build(tree: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(tree / "mkdocs.yml"), "-d", str(target)]
    return subprocess.run(
        command, cwd=tree, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_every_public_name_has_an_entry(site):
    from mkdocstrings import Inventory

    with (site / "objects.inv").open("rb") as file:
        known = set(Inventory.parse_sphinx(file))
    names = [f"{module}.{name}" for module in public.MODULES for name in public.names_of(module)]
    assert len(names) > 100
    assert [name for name in names if name not in known] == []


@pytest.mark.slow
def test_no_page_asks_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    asks = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(https?:)?//[^>]*>")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert [found[0] for found in asks.finditer(text) if 'rel="canonical"' not in found[0]] == [], page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the pages in")
def test_search_works_from_the_file_system_and_no_request_leaves(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        for name in ("index.html", "operators/creff.html", "api/arseg.video.html", "commands/segment.html"):
            page.goto((site / name).as_uri())
        page.locator("input.md-search__input").focus()
        page.keyboard.type("local_attention")
        page.locator(".md-search-result__item").first.wait_for(timeout=20_000)
        assert "local_attention" in page.locator(".md-search-result__list").inner_text()
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == errors == []
        browser.close()


@pytest.mark.slow
def test_what_leads_nowhere_fails(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in ("docs", "mkdocs.yml", "build"):
            (tree / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", tree / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tree)
    faults = ("no-such-page.md", "install.md#no-such-place", "no-such-picture.png", "../csrc/no-such-file.cpp")
    (tree / "docs" / "budget.md").write_text("# Budget\n" + "".join(f"\n[here]({fault})\n" for fault in faults))
    done = build(tree, tmp_path / "site")
    assert done.returncode != 0
    for fault in faults:
        assert fault.removeprefix("../") in done.stderr


def test_what_packages_export_and_pages_import_is_public():
    packages = {
        f"arseg.{path.parent.name}"
        for path in (ROOT / "python" / "arseg").glob("*/__init__.py")
        if "__all__" in path.read_text(encoding="utf-8") and path.parent.name != "cli"
    }
    assert packages <= set(public.MODULES)
    used = set()
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            used |= set(re.findall(r"^\s*from (arseg[\w.]*) import (\w+)", block, re.MULTILINE))
    assert len(used) > 8
    assert [pair for pair in sorted(used) if not {pair[0], ".".join(pair)} & set(public.MODULES)] == []
