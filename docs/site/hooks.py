"""What the site has beside the pages of docs/: the API, the commands, and files of the tree that pages link to.

MkDocs calls the functions named `on_…` (https://www.mkdocs.org/user-guide/plugins/#events).
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import command_pages
import public
from mkdocs.structure.files import File

ROOT = public.ROOT
SHOWN = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    **{
        f"python/arseg/weights/shipped/{p.name}": f"cards/{p.name}"
        for p in ROOT.glob("python/arseg/weights/shipped/*.md")
    },
}
"""Files of the tree that are pages of the site."""
LANGUAGES = {".py": "python", ".json": "json", ".yml": "yaml", ".toml": "toml", ".sh": "sh"}
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def _api_pages() -> dict[str, str]:
    pages = {"api/index.md": "# Python\n\nThe public names; all others may change in any version.\n\n"}
    pages["api/index.md"] += "| module | what is in it |\n| --- | --- |\n"
    for module, (title, _) in public.MODULES.items():
        names = public.names_of(module)
        pages["api/index.md"] += f"| [`{module}`]({module}.md) | {title} |\n"
        entries = "\n\n".join(f"::: {module}.{name}" for name in names)
        pages[f"api/{module}.md"] = f"---\ntitle: {module}\n---\n# `{module}`: {title.lower()}\n\n{entries}\n"
    return pages


def on_config(config: Any) -> Any:
    """Fills in the parts of the navigation that are made here."""
    made = {
        "api/": ["api/index.md", *(f"api/{module}.md" for module in public.MODULES)],
        "commands/": list(command_pages.pages()),
    }
    config.nav = [
        {title: made.get(below, below) if isinstance(below, str) else below}
        for part in config.nav
        for title, below in part.items()
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made, and the files of the tree that any page links to."""
    made = _api_pages() | command_pages.pages()
    for path, name in SHOWN.items():
        if name != "index.md":
            made[name] = (ROOT / path).read_text(encoding="utf-8")
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    texts = [file.content_string for file in files.documentation_pages()]
    sources = [file.src_uri for file in files.documentation_pages()]
    for name, text in zip(sources, texts, strict=True):
        for _, link, _ in _LINK.findall(text):
            path = _in_tree(name, link)
            if path is not None and not _is_page(path) and files.get_file_from_path(_shown_as(path)) is None:
                files.append(File.generated(config, _shown_as(path), content=_source_page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Leads links that leave docs/ to their pages here."""

    def led(found: re.Match[str]) -> str:
        link = found[2]
        path = _in_tree(page.file.src_uri, link)
        if path is None:
            return found[0]
        anchor = link.partition("#")[2]
        target = path.removeprefix("docs/") if path.startswith("docs/") else SHOWN.get(path, _shown_as(path))
        relative = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        return f"{found[1]}{relative}{'#' + anchor if anchor else ''}{found[3]}"

    return _LINK.sub(led, markdown)


def _shown_as(path: str) -> str:
    # MkDocs leaves out what begins with a dot.
    return f"source/{path.lstrip('.')}.md"


def _home(page: str) -> str:
    """Where a page's file is in the tree; made pages are at home nowhere."""
    for path, name in SHOWN.items():
        if name == page and name != "index.md":
            return path
    return f"docs/{page}"


def _is_page(path: str) -> bool:
    return path in SHOWN or path.startswith("docs/")


def _in_tree(page: str, link: str) -> str | None:
    """The path in the tree that a page's link leads to, where the site has it elsewhere."""
    target = link.partition("#")[0]
    if not target or "://" in target or target.startswith(("mailto:", "/")):
        return None
    home = _home(page)
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
    if path.startswith("../") or not (ROOT / path).exists():
        return None  # MkDocs says what is wrong with it
    return None if home.startswith("docs/") and path.startswith("docs/") else path


def _source_page(path: str) -> str:
    file = ROOT / path
    if file.is_dir():
        inside = "\n".join(f"- `{entry.name}`" for entry in sorted(file.iterdir()) if not entry.name.startswith("."))
        return f"# {path}\n\n{inside}\n"
    text = file.read_text(encoding="utf-8")
    return f"# {path}\n\n`````{LANGUAGES.get(file.suffix, 'text')}\n{text}\n`````\n"
