"""Which GPU architectures a build is for, as nvcc's flags: for setup.py.

torch's own list knows those of its day; nvcc is asked instead. Code for X.Y runs on cards X.Z with Z >= Y; PTX runs on
every later card, which compiles it when it is first used.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence

OLDEST = (8, 0)  # cp.async, and tensor cores for bfloat16
OWN_RATES = {(8, 6)}  # runs code for 8.0, which is made for half its float32 units; 8.9 has as many, and runs this
ON_BOARDS = {(8, 7), (10, 1), (11, 0)}  # Jetson Orin and Thor: code for a desktop card's number is not promised to run
ENTRY = re.compile(r"(?:sm_|compute_)?(\d+)\.?(\d)([af]?)(\+PTX)?", re.IGNORECASE)

Number = tuple[int, int]


def known_to(nvcc: str) -> set[Number]:
    """The architectures that this nvcc makes code for; empty where it cannot be asked."""
    try:
        done = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True)
    except OSError:
        return set()
    return {(int(major), int(minor)) for major, minor in re.findall(r"^sm_(\d+)(\d)$", done.stdout, re.MULTILINE)}


def default(known: Iterable[Number], machine: str) -> str:
    """The first of each generation and what has float32 rates of its own; boards on Arm; PTX of the newest, last."""
    good = sorted(number for number in known if number >= OLDEST)
    arm = machine.lower() in {"aarch64", "arm64"}
    firsts = {major: (major, minor) for major, minor in reversed(good) if (major, minor) not in ON_BOARDS}
    chosen = [n for n in good if n in firsts.values() or n in OWN_RATES or (arm and n in ON_BOARDS)]
    return ";".join(_text(number) for number in chosen) + "+PTX"


def _text(number: Number) -> str:
    return f"{number[0]}.{number[1]}"


def entries(wanted: str) -> list[str]:
    """Those of a list such as TORCH_CUDA_ARCH_LIST's, in the form 9.0, 9.0a, 9.0+PTX; ValueError for another word."""
    found = []
    for word in re.split(r"[;,\s]+", wanted.strip(";, \t")):
        match = ENTRY.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not an architecture such as 8.0, 9.0a or 12.0+PTX")
        major, minor, suffix, ptx = match.groups()
        found.append(f"{int(major)}.{minor}{suffix.lower()}{'+PTX' if ptx else ''}")
    return found


def number_of(entry: str) -> Number:
    major, minor = re.findall(r"\d+", entry)[:2]
    return int(major), int(minor)


def too_old(listed: Iterable[str]) -> list[str]:
    """Entries that the kernels do not compile for."""
    return [entry for entry in listed if number_of(entry) < OLDEST]


def unknown(listed: Iterable[str], known: Iterable[Number]) -> list[str]:
    """Entries that nvcc does not know."""
    numbers = set(known)
    return [entry for entry in listed if numbers and number_of(entry) not in numbers]


def flags(listed: Sequence[str]) -> list[str]:
    """nvcc's flags, code first, PTX last.

    Code of one generation is made of one PTX, that of its first in the list, which takes most of the compiling: the
    kernels ask for no architecture, and ptxas fits the code to each.
    """
    code, ptx = [], []
    common: dict[int, str] = {}
    for entry in sorted(listed, key=number_of):
        if entry.removesuffix("+PTX")[-1].isdigit():
            common.setdefault(number_of(entry)[0], entry.removesuffix("+PTX").replace(".", ""))
    for entry in listed:
        name = entry.removesuffix("+PTX").replace(".", "")
        source = common[number_of(entry)[0]] if name.isdigit() else name
        code.append(f"-gencode=arch=compute_{source},code=sm_{name}")
        if entry.endswith("+PTX"):
            ptx.append(f"-gencode=arch=compute_{name},code=compute_{name}")
    return list(dict.fromkeys(code)) + list(dict.fromkeys(ptx))


def of_flags(given: Iterable[str]) -> list[str]:
    """The entries that flags of this form stand for."""
    text = " ".join(given)
    code = re.findall(r"code=sm_(\d+)(\d)([af]?)", text)
    ptx = set(re.findall(r"code=compute_(\d+)(\d)([af]?)", text))
    numbers = sorted({*code, *ptx}, key=lambda item: (int(item[0]), item[1:]))
    return [f"{major}.{minor}{suffix}{'+PTX' * ((major, minor, suffix) in ptx)}" for major, minor, suffix in numbers]
