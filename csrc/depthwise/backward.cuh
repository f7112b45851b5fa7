// The gradient of one or two depthwise 3x3 convolutions of one map: of the map, the weights and the biases, in one pass
// over the maps. Sums of weights are of float (double for double) whatever the maps are, each added up in one order: of
// a thread down its column, of the block's columns, of blocks.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// Where a launch of so many tiles is cut: the same for the same shapes, for the order of sums follows from it.
template <typename T>
struct DepthwiseTiling {
  using Traits = DepthwiseTraits;
  int columns, tiles_x, tiles_y, chunks;
  int64_t tiles;

  ARSEG_HD explicit DepthwiseTiling(const DepthwiseBackwardParams<T>& a)
      : columns(Traits::kThreads / a.units),
        tiles_x(static_cast<int>(ceil_div(a.width, columns))),
        tiles_y(static_cast<int>(ceil_div(a.height, Traits::kRows))),
        chunks(static_cast<int>(ceil_div(a.channels, a.units * Traits::kPair<T>))),
        tiles(a.batch * tiles_y * tiles_x) {}
  unsigned blocks() const { return blocks_for(tiles, 1, Traits::kMaxBlocks); }
};

template <typename T>
ARSEG_DEVICE void load_pair(const T* from, accumulator<T> (&to)[DepthwiseTraits::kPair<T>]) {
  if constexpr (std::is_same_v<T, double>) {
    to[0] = *from;
  } else {
    float2 pair;
    if constexpr (is_half_type<T>) {
      pair = unpack<T>(*reinterpret_cast<const uint32_t*>(from));
    } else {
      pair = *reinterpret_cast<const float2*>(from);
    }
    to[0] = pair.x;
    to[1] = pair.y;
  }
}

template <typename T>
ARSEG_DEVICE void store_pair(T* to, const accumulator<T> (&from)[DepthwiseTraits::kPair<T>]) {
  if constexpr (std::is_same_v<T, double>) {
    *to = from[0];
  } else if constexpr (is_half_type<T>) {
    *reinterpret_cast<uint32_t*>(to) = pack<T>(from[0], from[1]);
  } else {
    *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
  }
}

// What a thread keeps from tile to tile: a pair of channels.
template <typename T, int Convolutions>
struct DepthwiseSums {
  static constexpr int kPair = DepthwiseTraits::kPair<T>;
  accumulator<T> taps[Convolutions][9][kPair];
  accumulator<T> sums[Convolutions][kRowsOfSums][kPair];  // nine taps and the bias
};

// `rows` pixels of a column from `at` on, the first in row y0. A row of a convolution's gradient, three pixels of it,
// is read once and goes to what it reaches: the map's gradient in three rows, and weights by the map's pixel in each of
// the three. Of the map no pixel but the column's own is read, so that each counts once.
template <typename T, int Convolutions, bool WithMap>
ARSEG_DEVICE void roll_down(const DepthwiseBackwardParams<T>& a, int64_t at, int x, int y0, int rows,
                            DepthwiseSums<T, Convolutions>& state) {
  using A = accumulator<T>;
  constexpr int kPair = DepthwiseTraits::kPair<T>;
  const int64_t line = static_cast<int64_t>(a.width) * a.channels;
  const bool beside[3] = {x + 1 < a.width, true, x > 0};
  A pixels[3][kPair] = {}, grads[3][kPair] = {};  // of the map, in rows r - 1, r and r + 1; row r in place k
  int64_t next = at - line;                       // row r
  ARSEG_NO_UNROLL
  for (int base = -1; base <= rows; base += 3) {  // three at a time: places are then constants
    ARSEG_UNROLL
    for (int k = 0; k < 3; ++k, next += line) {
      const int r = base + k;
      if (r > rows) break;
      A(&below)[kPair] = pixels[(k + 1) % 3];
      ARSEG_UNROLL
      for (int e = 0; e < kPair; ++e) below[e] = A(0);
      if (r + 1 < rows) load_pair(a.map + next + line, below);
      const bool inside = static_cast<unsigned>(y0 + r) < static_cast<unsigned>(a.height);
      const bool own = static_cast<unsigned>(r) < static_cast<unsigned>(rows);
      ARSEG_UNROLL
      for (int i = 0; i < Convolutions; ++i) {
        ARSEG_UNROLL
        for (int right = 0; right < 3;
             ++right) {  // the tap by which the pixel right of the column's saw it comes first
          A values[kPair] = {};
          if (inside && beside[right]) load_pair(a.convolution[i].grad + next + (1 - right) * a.channels, values);
          ARSEG_UNROLL
          for (int down = 0; down < 3; ++down) {
            const int place = (k + down + 2) % 3, tap = 3 * down + right;
            ARSEG_UNROLL
            for (int e = 0; e < kPair; ++e) {
              state.sums[i][tap][e] += pixels[place][e] * values[e];
              if constexpr (WithMap) grads[place][e] += state.taps[i][tap][e] * values[e];
            }
          }
          if (right == 1 && own) {
            ARSEG_UNROLL
            for (int e = 0; e < kPair; ++e) state.sums[i][9][e] += values[e];
          }
        }
      }
      if constexpr (WithMap) {
        A(&done)[kPair] = grads[(k + 2) % 3];
        if (r >= 1) {
          if constexpr (Convolutions == 1) {  // two have none
            if (a.direct) {
              A more[kPair];
              load_pair(a.direct + next - line, more);
              ARSEG_UNROLL
              for (int e = 0; e < kPair; ++e) done[e] += more[e];
            }
          }
          store_pair(a.grad_map + next - line, done);
        }
        ARSEG_UNROLL
        for (int e = 0; e < kPair; ++e) done[e] = A(0);
      }
    }
  }
}

template <typename T, int Convolutions, bool WithMap>
__global__ void __launch_bounds__(DepthwiseTraits::kThreads, DepthwiseTraits::kBlocksOfMultiprocessor)
    depthwise_backward(DepthwiseBackwardParams<T> a) {
  using Traits = DepthwiseTraits;
  using A = accumulator<T>;
  constexpr int kPair = Traits::kPair<T>;
  ARSEG_SHARED(shared);
  A* all = reinterpret_cast<A*>(shared);  // [10, kPair, kThreads]
  const DepthwiseTiling<T> tiling(a);
  const int thread = static_cast<int>(threadIdx.x), unit = thread % a.units, column = thread / a.units;
  for (int chunk = static_cast<int>(blockIdx.y); chunk < tiling.chunks; chunk += static_cast<int>(gridDim.y)) {
    const int start = chunk * a.units * kPair, channel = start + unit * kPair;
    DepthwiseSums<T, Convolutions> state{};
    ARSEG_UNROLL
    for (int i = 0; i < Convolutions; ++i) {
      const auto& from = a.convolution[i];
      ARSEG_UNROLL
      for (int e = 0; e < kPair; ++e) {
        const bool own = WithMap && channel + e < a.own_channels;
        ARSEG_UNROLL
        for (int tap = 0; tap < 9; ++tap) {
          if (own) {
            state.taps[i][tap][e] = to_float(
                from.weight[(channel + e) * from.stride[0] + tap / 3 * from.stride[1] + tap % 3 * from.stride[2]]);
          }
        }
      }
    }
    if (channel < a.channels) {
      for (int64_t tile = blockIdx.x; tile < tiling.tiles; tile += gridDim.x) {
        const int64_t strip = tile / tiling.tiles_x, n = strip / tiling.tiles_y;
        const int x = static_cast<int>(tile - strip * tiling.tiles_x) * tiling.columns + column;
        const int y0 = static_cast<int>(strip - n * tiling.tiles_y) * Traits::kRows;
        if (x >= a.width) continue;
        const int64_t at = ((n * a.height + y0) * a.width + x) * a.channels + channel;
        roll_down<T, Convolutions, WithMap>(a, at, x, y0, min(Traits::kRows, a.height - y0), state);
      }
    }
    ARSEG_UNROLL
    for (int i = 0; i < Convolutions; ++i) {
      ARSEG_UNROLL
      for (int row = 0; row < kRowsOfSums; ++row) {
        ARSEG_UNROLL
        for (int e = 0; e < kPair; ++e) all[(row * kPair + e) * Traits::kThreads + thread] = state.sums[i][row][e];
      }
      __syncthreads();
      for (int at = thread; at < kRowsOfSums * kPair * a.units; at += Traits::kThreads) {
        const int value = at / a.units, row = value / kPair;
        const int c = start + at % a.units * kPair + value % kPair;
        if (c >= a.channels) continue;
        A sum = 0;
        for (int j = 0; j < tiling.columns; ++j) sum += all[value * Traits::kThreads + j * a.units + at % a.units];
        a.sums[((static_cast<int64_t>(blockIdx.x) * Convolutions + i) * kRowsOfSums + row) * a.channels + c] = sum;
      }
      __syncthreads();  // the next convolution overwrites it
    }
  }
}

// The sums of `blocks` blocks; a block of threads has kSumLanes channels of one row of one convolution.
template <typename T>
__global__ void __launch_bounds__(DepthwiseTraits::kThreads)
    depthwise_backward_sums(DepthwiseBackwardParams<T> a, int convolutions, int blocks) {
  using Traits = DepthwiseTraits;
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  A* all = reinterpret_cast<A*>(shared);  // [kSumSlices, kSumLanes]
  const int lane = static_cast<int>(threadIdx.x) % Traits::kSumLanes;
  const int slice = static_cast<int>(threadIdx.x) / Traits::kSumLanes;
  const int row = static_cast<int>(blockIdx.y), of = row / kRowsOfSums;
  const int c = static_cast<int>(blockIdx.x) * Traits::kSumLanes + lane;
  A sum = 0;
  if (c < a.own_channels) {
    const int64_t step = static_cast<int64_t>(convolutions) * kRowsOfSums * a.channels;
    const A* from = a.sums + static_cast<int64_t>(row) * a.channels + c;
    for (int i = slice; i < blocks; i += Traits::kSumSlices) sum += from[i * step];
  }
  all[slice * Traits::kSumLanes + lane] = sum;
  __syncthreads();
  if (slice == 0 && c < a.own_channels) {
    for (int i = 1; i < Traits::kSumSlices; ++i) sum += all[i * Traits::kSumLanes + lane];
    const auto& to = a.convolution[of];
    const int tap = row - of * kRowsOfSums;
    (tap < 9 ? to.grad_weight[static_cast<int64_t>(c) * 9 + tap] : to.grad_bias[c]) = from_accumulator<T>(sum);
  }
}

// Threads beside each other that share a pixel.
template <typename T>
int depthwise_units(int channels) {
  using Traits = DepthwiseTraits;
  int units = 1;
  while (units < Traits::kMaxUnits && units * Traits::kPair<T> < channels) units *= 2;
  return units;
}

// a.sums has room for tiling.blocks() blocks.
template <typename T, int Convolutions>
void launch_depthwise_backward(const DepthwiseBackwardParams<T>& a, void* stream) {
  using Traits = DepthwiseTraits;
  const DepthwiseTiling<T> tiling(a);
  const unsigned blocks = tiling.blocks();
  const dim3 grid(blocks, blocks_for(tiling.chunks, 1, kMaxGridRows));
  auto kernel = depthwise_backward<T, Convolutions, true>;
  if constexpr (Convolutions == 2) {  // of one it always is
    if (!a.grad_map) kernel = depthwise_backward<T, Convolutions, false>;
  }
  ARSEG_LAUNCH(kernel, grid, dim3(Traits::kThreads), Traits::kShared<T>, stream, a);
  const dim3 rows(static_cast<unsigned>(ceil_div(a.own_channels, Traits::kSumLanes)), Convolutions * kRowsOfSums);
  ARSEG_LAUNCH(depthwise_backward_sums<T>, rows, dim3(Traits::kThreads),
               Traits::kThreads * static_cast<int>(sizeof(accumulator<T>)), stream, a, Convolutions,
               static_cast<int>(blocks));
}

}  // namespace arseg::gpu
