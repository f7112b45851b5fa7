"""Whether the file of a library is whole: loading one that was cut off ends the process with SIGBUS."""

from __future__ import annotations

import struct
from pathlib import Path


def damage(path: Path) -> str | None:
    """What is wrong with a 64-bit ELF file, such as "it ends after 5000 of 1338608 bytes"; None for others, too."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(64)
    if size == 0:
        return "it is empty"
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return None  # the system says what it is
    order = "<" if header[5] == 1 else ">"
    (programs,) = struct.unpack_from(f"{order}Q", header, 32)
    (sections,) = struct.unpack_from(f"{order}Q", header, 40)
    program_size, program_count, section_size, section_count = struct.unpack_from(f"{order}4H", header, 54)
    needed = max(programs + program_size * program_count, sections + section_size * section_count)
    return f"it ends after {size} of {needed} bytes" if size < needed else None
