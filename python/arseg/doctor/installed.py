"""What is installed beside the package: extras and weights."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from arseg.extras import EXTRAS

from .findings import Check, Finding, fault, ok, warning

__all__ = ["INSTALLED"]


def distributions() -> Iterator[Finding]:
    from arseg_ext import _distributions, _loader

    twice = _distributions.sentence(_loader.FOLDER.parent)
    if twice:
        yield fault("arseg", twice, "Uninstall both, then install one of them again.")


def extras() -> Iterator[Finding]:
    for name, extra in EXTRAS.items():
        part = f"extra {name}"
        missing = [module for module in extra.modules if find_spec(module) is None]
        if missing:
            what = f"without {', '.join(missing)}; it brings {extra.brings}"
            yield warning(part, what, f"Only where you want that: pip install 'arseg[{name}]'.")
        else:
            yield ok(part, f"{', '.join(map(_version, extra.modules))}: {extra.brings}")


def _version(module: str) -> str:
    for distribution in (module, {"yaml": "PyYAML"}.get(module, module)):
        try:
            return f"{module} {metadata.version(distribution)}"
        except metadata.PackageNotFoundError:
            continue
    return module


def weights() -> Iterator[Finding]:
    from arseg.errors import InputError
    from arseg.zoo import DEFAULT, VARIABLE, folders, listing, weights_file

    for row in listing():
        part = f"weights {row.name}"
        if row.path is None and not row.published.packaged:
            continue  # for those who want them
        if row.path is None:
            where = ", ".join(map(str, folders()))
            cure = f"Only where you want them: put {row.published.file} into a folder that {VARIABLE} names."
            level = fault if row.name == DEFAULT else warning
            yield level(part, f"not in {where}", "Install the package again." if row.name == DEFAULT else cure)
            continue
        try:
            weights_file(row.name)
        except InputError as error:
            again = ", or install the package again" if row.published.packaged else ""
            yield fault(part, str(error), f"Put the published file back{again}.")
        else:
            yield ok(part, f"{row.path}, as published")


INSTALLED: tuple[tuple[str, Check], ...] = (("arseg", distributions), ("extras", extras), ("weights", weights))
