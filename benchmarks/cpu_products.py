"""The innermost products of the attention on the CPU (AVX2), by the size of what they read, beside torch.mm.

    python benchmarks/cpu_products.py [CHANNELSxCOLUMNS ...] [--rounds 15]

Compiles csrc/local_attention/products.h with g++ and calls it as a tile does (window 7), for a strip of that many
columns: its rings of keys and values are then in the first-level cache, the second or neither. Printed are medians of
the share of torch.mm's rate (512x512, one thread, timed beside each in processor time): logits with one row of keys
again and again (in the first-level cache) and as they come, the same of weighted sums, and both as a tile does them.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

CSRC = Path(__file__).resolve().parent.parent / "csrc"
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=fast", "-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-fPIC", "-shared"]
SIZES = ("16x16", "64x16", "64x32", "64x64", "64x128", "256x16")
KINDS = ("logits, one row of keys", "logits", "sums, one place", "sums", "both")
SOURCE = r"""
#include <cstdlib>
#define ARSEG_TARGET avx2
#define ARSEG_VECTOR_BYTES 32
#define ARSEG_VECTOR_REGISTERS 16
#define ARSEG_BFLOAT16 0
#define ARSEG_TARGET_FEATURES "avx2,fma,f16c,bmi,bmi2"
#include "cpu/target.h"
#include "cpu/vec.h"
#include "cpu/convert.h"
#include "cpu/rows.h"
#include "local_attention/microkernel.h"
#include "local_attention/products.h"
using namespace arseg::avx2;
using M = PlainMicrokernel<float>;

struct State {
  int64_t channels, columns, wide, value_row;
  float *keys, *queries, *logits, *values, *out;
};
constexpr int kWindow = 7, kLanesOf = 8, kRing = kWindow + kQueryRows - 1, kKeys = kWindow * kWindow;

static float* memory(int64_t count) {
  float* made = static_cast<float*>(aligned_alloc(4096, (count * 4 + 8191) / 4096 * 4096));
  for (int64_t i = 0; i < count; ++i) made[i] = 0.001f * (i % 97);
  return made;
}

extern "C" void* make(int64_t channels, int64_t columns) {
  const int64_t wide = (columns + kWindow - 1 + 7) / 8 * 8;
  const int64_t row = (wide * spread_pixels<float>(channels) * 4 + 4095) / 4096 * 1024 + 128;
  const int64_t queries = kQueryRows * channels * columns;
  return new State{channels, columns, wide, row, memory(kRing * channels * wide), memory(queries),
                   memory(kQueryRows * kKeys * kLanesOf + 64), memory(kRing * row), memory(queries)};
}

// Of KINDS; returns multiplications and additions.
extern "C" double run(void* made, int kind) {
  const State& s = *static_cast<State*>(made);
  static const float factor[kLanesOf] = {1, 1, 1, 1, 1, 1, 1, 1};
  const int64_t apart = spread_pixels<float>(s.channels);
  double count = 0;
  for (int64_t column = 0; column < s.columns; column += kLanesOf) {
    for (int t = 0; t < kRing && (kind < 2 || kind == 4); ++t) {
      const int top = std::max(0, t - kWindow + 1), rows = std::min(kQueryRows - 1, t) - top + 1;
      logits_of_window_row<M>(kWindow, rows, s.keys + (kind ? t : 0) * s.channels * s.wide + column, s.wide,
                              s.queries + (top * s.columns + column) * s.channels, s.channels * s.columns, kLanesOf,
                              s.channels, s.logits + (top * kKeys + (t - top) * kWindow) * kLanesOf,
                              (kKeys - kWindow) * kLanesOf);
      count += 2.0 * rows * kWindow * kLanesOf * s.channels;
    }
    for (int p = 0; p < kLanesOf && kind >= 2; p += kPixelsOfSum<M>) {
      for (int j = 0; j < kQueryRows; ++j) {
        const float* rows[16];
        for (int k = 0; k < kWindow; ++k) {
          rows[k] = s.values + (j + k) * s.value_row + (kind == 2 ? 0 : (column + p) * apart);
        }
        const SumTarget<float, float> target{factor, nullptr, 0, s.out + (j * s.columns + column + p) * s.channels,
                                             s.channels, false};
        const float* weights = s.logits + j * kKeys * kLanesOf + p;
        weighted_sum_of_window<M>(kWindow, rows, kWindow, apart, s.channels, weights, target);
        count += 2.0 * kKeys * kPixelsOfSum<M> * s.channels;
      }
    }
  }
  return count;
}
"""


def library() -> ctypes.CDLL:
    if shutil.which("g++") is None:
        raise SystemExit("benchmarks/cpu_products.py needs g++ on the PATH: install it.")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "products.cpp"), Path(folder, "products.so")
        source.write_text(SOURCE, encoding="utf-8")
        subprocess.run(["g++", *FLAGS, "-I", str(CSRC), str(source), "-o", str(made)], check=True)
        loaded = ctypes.CDLL(str(made))
    loaded.make.restype, loaded.make.argtypes = ctypes.c_void_p, [ctypes.c_int64, ctypes.c_int64]
    loaded.run.restype, loaded.run.argtypes = ctypes.c_double, [ctypes.c_void_p, ctypes.c_int]
    return loaded


def rate(work: Callable[[], float]) -> float:
    """GFLOP/s."""
    begin = time.process_time()
    count = work()
    return count / (time.process_time() - begin) * 1e-9


def repeated(products: ctypes.CDLL, state: int, kind: int, times: int) -> float:
    return float(sum(products.run(state, kind) for _ in range(times)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SIZES, metavar="CHANNELSxCOLUMNS")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    products = library()
    torch.set_num_threads(1)
    square = torch.randn(512, 512)

    def product() -> float:
        torch.mm(square, square)
        return 2.0 * 512**3

    print("channels x columns | " + " | ".join(KINDS) + " | torch.mm GFLOP/s")
    for channels, columns in sizes:
        state = products.make(channels, columns)
        shares: list[list[float]] = [[] for _ in KINDS]
        rates = []
        for _ in range(arguments.rounds):
            for kind, share in enumerate(shares):
                times = 1 + int(4e7 / products.run(state, kind))
                rates.append(rate(product))
                share.append(rate(partial(repeated, products, state, kind, times)) / rates[-1])
        text = " | ".join(f"{statistics.median(share):.2f}" for share in shares)
        print(f"{channels} x {columns} | {text} | {statistics.median(rates):.0f}", flush=True)


if __name__ == "__main__":
    main()
