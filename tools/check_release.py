"""Whether a tag is that of the version, and the version has its changes: `python tools/check_release.py v0.2.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def trouble(tag: str, version_file: str, changes: str) -> str | None:
    """Why the tag must not be published, in a sentence."""
    found = re.search(r'__version__ = "(.+)"', version_file)
    version = found.group(1) if found else "none"
    if tag != f"v{version}":
        return f"the tag is {tag}, and arseg_ext/_version.py has {version}: tag v{version}, or change the file."
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changes, re.MULTILINE):
        return f"CHANGELOG.md has no heading '## {version} (YYYY-MM-DD)': write the day of the release there."
    return None


if __name__ == "__main__":
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("arseg_ext/_version.py", "CHANGELOG.md")]
    sys.exit(trouble(sys.argv[1], *texts))
