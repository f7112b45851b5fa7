"""Whether two installed distributions hold this package: arseg and arseg-ext overwrite each other's files."""

from __future__ import annotations

import os
import re
from pathlib import Path

METADATA = re.compile(r"(arseg|arseg_ext)-([^-]+)\.(?:dist|egg)-info")


def sentence(folder: Path) -> str | None:
    """What to say where both are installed in `folder`, beside the package; None if they are not."""
    try:
        found = {match[1]: match[2] for match in map(METADATA.fullmatch, os.listdir(folder)) if match}
    except OSError:  # a zip file, or a folder that is not to be read
        return None
    if len(found) < 2:
        return None
    return (
        f"arseg {found['arseg']} and arseg-ext {found['arseg_ext']} are both installed in {folder}, and both hold "
        "arseg_ext: each overwrites the other's files. Run `pip uninstall arseg arseg-ext`, then install arseg alone, "
        "which has the same operators (arseg-ext alone, if you need no pipeline)."
    )
