"""Holds the instructions of the hot kernels, those of one warp on a tile, to the table instruction_budgets.csv.

`python tests/package/sass_budget.py FILE...` counts in cubins and objects, and predicts the time of each kernel on the
H200 that docs/cuda.md measures; `make nvcc-check` holds what it finds to the table. Counted is what one warp issues for
a tile of 64 channels (of the kernels for any number of them: of each 64) in the middle of the image: window 7, 16-bit
types, a low-resolution map of half the size, motion by fractions of pixels, all classes; static instructions times the
trips below, which follow from the traits of csrc/*/params.h. docs/cuda.md says how well that predicts.
"""

from __future__ import annotations

import csv
import functools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from emulator.kernel_traits import kernel_traits  # noqa: E402
from package.sass import Loop, Way, count, functions  # noqa: E402

TABLE = HERE / "instruction_budgets.csv"
SLACK = 0.03  # that another ptxas may take more
SIZE = (64, 720, 960)
MANY_CHANNELS = (768, 256, 512)
ARCHITECTURE, PROCESSORS, MHZ = "sm_90", 132, 1980  # of an H200


@dataclass(frozen=True)
class Hot:
    """A kernel that is counted. issue: instructions a cycle that a multiprocessor was seen to issue in it."""

    way: Way
    tile: tuple[int, int]
    warps: int
    issue: float
    size: tuple[int, int, int] = SIZE  # of the map whose time is predicted: channels, height, width
    channels: int = 64  # that are counted

    def microseconds(self, instructions: float) -> float:
        channels, height, width = self.size
        tiles = -(-height // self.tile[0]) * -(-width // self.tile[1]) * channels / self.channels
        return instructions * self.warps * tiles / (PROCESSORS * MHZ * self.issue)


# By kernel and architecture.
Counts = dict[tuple[str, str], float]


@functools.cache
def hot_kernels() -> dict[str, Hot]:
    """By name as in kernel_budgets.csv, with {} for the type."""
    traits = kernel_traits()
    height, width = (traits[f"AttentionTraits::Mma::kTile{side}"] for side in ("Height", "Width"))
    warps, side = traits["AttentionTraits::Mma::kWarps"], traits["CreffTraits::Depthwise::kTile"]
    lanes, vectors = 32, 8
    is_inf = r"FSEL.*-INF"  # keys outside the image are not left out
    others = r"STG\.E\.U16|FSETP\.GTU"  # logits, and labels of NaN
    slow = Loop(r"SHFL\.IDX", 0)  # what is not finite, key by key
    copies = Loop("LDGSTS.*LDGSTS", (height + 6) / warps)  # rows, unrolled
    # The low-resolution map's rows and columns that a tile and its border lie in, in the mean.
    low_rows, low_columns = (height + 2) / 2 + 1.5, (width + 2) / 2 + 1.5
    columns = (width + 2) * vectors / (lanes * warps)  # that a thread upsamples
    pairs = low_rows - 1  # of low-resolution rows
    fused = [
        slow,
        copies,
        Loop("LDGSTS", -(-low_columns * vectors // lanes), within="LDGSTS"),
        Loop("LDGSTS", low_rows / warps),
        Loop(r"LDG\.E\.128", 0),  # a low-resolution map too large for shared memory
        Loop("LDS.*F2FP", pairs * columns),
        Loop("LDS", low_rows / pairs, within="F2FP"),
        Loop("F2FP", (height + 2) / pairs),
        Loop("STS", 0),  # outside the image
    ]
    attention = [
        Loop("HMMA", 1),  # chunks of channels
        slow,
        Loop("LDGSTS", 0, within="HMMA"),  # there is one chunk of keys, and one of values
        copies,
    ]
    tf32 = [  # chunks of 32 channels: two are on their way, two more are fetched as keys are done with
        Loop("LDSM", 2),
        Loop("HMMA", 2),
        slow,
        Loop("LDGSTS.*LDGSTS", (height + 6) / warps, within="LDSM"),
        Loop("LDGSTS", 0, within="HMMA"),
        copies,
    ]
    halo = (height + 6) * (width + 6)
    gradients = [
        Loop("HMMA", 1),
        Loop("LDGSTS", 0, within="HMMA"),
        copies,
        Loop("LDG.*STS", halo / (lanes * warps)),  # what the queries around bring along
    ]
    chunks = MANY_CHANNELS[0] // 64
    classes = [
        Loop("HMMA", chunks),
        slow,
        Loop("LDGSTS.*LDGSTS", (height + 6) / warps * (chunks - 1) / chunks, within="HMMA"),  # two are on their way
        copies,
    ]
    maps = [
        Loop("BAR", 1),
        Loop("HMMA", side / warps),  # rows that are projected to classes
        Loop(r"LDG\.E\.[SU]16", -(-((side + 2) ** 2) // lanes) / warps),
        Loop(r"LDG\.E\.128", (side + 2) ** 2 * vectors / lanes / warps),
        Loop("LDGSTS", 0),  # motion by whole pixels
    ]
    # 8 pixels of 64 channels at a time, 32 a warp; the turns are all that does not read motion.
    warp = [Loop(r"LDG\.E\.[SU]16", 1), Loop("SHFL", 4), Loop("LDG", 1)]
    gather = [Loop("F2FP", 1), Loop("(LDG.*){10}", 0), Loop("LDG", 4)]  # no long list; four taps a pixel
    border = (side + 2) / 2 + 1.5  # rows or columns of the low-resolution map
    of_threads = (side + 2) * vectors / (lanes * warps)
    queries = [
        Loop("BAR", 1),
        Loop(r"LDG\.E\.128", 0),  # a low-resolution map too large for shared memory
        Loop("BRA.*LDGSTS", border / warps),
        Loop("LDGSTS", -(-border * vectors // lanes)),
        Loop("LDS.*F2FP", (border - 1) * of_threads),
        Loop("LDS", border / (border - 1)),
        Loop("F2FP", (side + 2) / (border - 1)),
        Loop("STS", 0),  # outside the image
    ]
    tile = (height, width)
    threads, rows = traits["DepthwiseTraits::kThreads"], traits["DepthwiseTraits::kRows"]
    columns = threads // lanes  # of 64 channels, two a thread
    gradient = [
        Loop("BAR", 1),  # chunks of channels
        Loop("MUFU", 1),  # tiles
        Loop("LDG", (rows + 2) / 3),
        Loop("STG", 10 * 2 * lanes / threads),  # sums of the block's columns
        Loop("(LDS.*){16}", columns // 16),
        Loop("(LDS.*){4}", columns % 16 // 4),
        Loop("LDS", columns % 4),
    ]
    return {
        "fused_attention<{}, 7, 0>": Hot(Way(fused, around=is_inf), tile, warps, 2.5),
        **{
            f"fused_attention<{{}}, 7, {classes}>": Hot(Way(fused, around=f"{is_inf}|{others}"), tile, warps, 2.5)
            for classes in (16, 32)
        },
        "attention_forward_mma<{}, 64, 7>": Hot(Way(attention, around=is_inf), tile, warps, 2.5),
        "attention_forward_mma<float, 64, 7>": Hot(Way(tf32, around=is_inf), tile, warps, 2.5),
        **{
            f"attention_backward_mma<{{}}, 64, 7, {keys}>": Hot(Way(gradients, around=is_inf), tile, warps, 2.5)
            for keys in ("false", "true")  # of queries; of keys and values
        },
        **{
            f"keys_and_values<{{}}, (Values){values}>": Hot(
                Way(maps, through=r"LDG\.E\.[US]16"), (side, side), warps, 2.9
            )
            for values in ("1, 0", "2, 16", "2, 32")  # for features, and for classes
        },
        **{
            f"keys_and_values<{{}}, (Values){values}>": Hot(
                Way(maps, through=r"LDG\.E\.[US]16"), (side, side), warps, 2.9, MANY_CHANNELS
            )
            for values in ("0, 0", "3, 16", "3, 32")
        },
        "warp_forward<{}>": Hot(Way(warp, through=r"LDG\.E\.[SU]16|F2FP"), (4, 64), warps, 2.5),
        "gather_taps<{}>": Hot(Way(gather), (4, 32), warps, 2.5),  # of the gradient
        "queries_and_upsampled<{}>": Hot(Way(queries), (side, side), warps, 2.5, MANY_CHANNELS),
        **{
            f"attention_of_classes<{{}}, 7, {most}>": Hot(
                Way(classes, around=f"{is_inf}|{others}"), tile, warps, 2.5, MANY_CHANNELS, MANY_CHANNELS[0]
            )
            for most in (16, 32)
        },
        **{
            f"depthwise_backward<{{}}, {kernel}>": Hot(Way(gradient), (rows, columns), columns, 2.5)
            for kernel in ("1, true", "2, false", "2, true")  # queries; keys and values, the keyframe frozen or not
        },
    }


def named() -> dict[str, Hot]:
    types = ("bfloat16", "half")
    return {
        kernel.format(dtype): hot
        for kernel, hot in hot_kernels().items()
        for dtype in (*types, *(("float",) if kernel.startswith("depthwise") else ()))
    }


@functools.cache
def short_name(name: str) -> str:
    """attention_forward_mma<half, 64, 7> for the mangled name."""
    filt = subprocess.run(["c++filt", "--no-params"], input=name, capture_output=True, text=True, check=True)
    return (
        filt.stdout.strip().replace("arseg::gpu::", "").replace("__nv_bfloat16", "bfloat16").replace("__half", "half")
    )


def disassembler() -> str | None:
    """cuobjdump, which comes with CUDA and with triton."""
    found = shutil.which("cuobjdump") or shutil.which("/usr/local/cuda/bin/cuobjdump")
    if found:
        return found
    try:
        import triton
    except ImportError:
        return None
    return shutil.which(str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"))


def counts_of(file: Path, architecture: str = ARCHITECTURE) -> Counts:
    """Of the hot kernels that an object has."""
    hot = named()
    command = [disassembler() or "cuobjdump", "-sass", "-arch", architecture, str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: Counts = {}
    for mangled, code in functions(text).items():
        name = short_name(mangled)
        if name in hot:
            try:
                found[name, architecture] = count(code, hot[name].way)
            except ValueError as error:
                raise SystemExit(
                    f"nvcc-check: {name} for {architecture}: {error}: teach {Path(__file__).name}"
                ) from None
    return found


def read_table(path: Path = TABLE) -> Counts:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["kernel"], row["architecture"]): float(row["instructions"]) for row in csv.DictReader(file)}


def write_table(found: Counts, path: Path = TABLE) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kernel", "architecture", "instructions"))
        writer.writerows((*key, round(instructions)) for key, instructions in sorted(found.items()))


def problems(found: Counts, budgets: Counts) -> list[str]:
    """One sentence for each kernel that issues more than it may, is not in the table, or is only there."""
    said = []
    for key, instructions in sorted(found.items()):
        name, budget = " for ".join(key), budgets.get(key)
        if budget is None:
            said.append(f"{name} is not in {TABLE.name}: look at its count and add it (--write)")
        elif instructions > budget * (1 + SLACK):
            said.append(f"{name} issues {instructions:.0f} instructions a warp, {budget:.0f} are in {TABLE.name}")
    missing = (" for ".join(key) for key in sorted(set(budgets) - set(found)))
    return said + [f"{name} is in {TABLE.name} and was not compiled: take it out (--write)" for name in missing]


def main() -> int:
    for file in sys.argv[1:]:
        for (name, _), instructions in sorted(counts_of(Path(file)).items()):
            microseconds = named()[name].microseconds(instructions)
            print(f"{name}: {instructions:.0f} instructions a warp, {microseconds:.0f} us by the count")
    return 0


if __name__ == "__main__":
    sys.exit(main())
