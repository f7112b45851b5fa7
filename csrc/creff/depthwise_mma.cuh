// Depthwise 3x3 convolutions on tensor cores, for float16 and bfloat16.
//
// A warp takes eight channels. Rows of 16 pixels, as they lie below two of the taps, are the left operand, 16 x 2 * 8;
// the right one has the weights of these taps on two diagonals. One product in eight is not with 0, and still five
// instructions a row do what 72 multiply-adds and their conversions do. A pixel's Inf or NaN reaches all eight channels
// (0 times it is NaN), and no pixel that it did not reach before.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// Where vector c of pixel (y, x) lies in shared memory: rows of WIDTH pixels of eight vectors. The eight pixels of an
// ldmatrix never meet in a bank.
template <int WIDTH>
ARSEG_DEVICE int tile_place(int y, int x, int c) {
  return (y * WIDTH + x) * CreffTraits::Depthwise::kVectors + (c ^ (x & 7));
}

// The weights of eight channels as right operands, and their bias.
template <typename T>
struct DiagonalFilter {
  uint32_t tap[9];
  float bias[2];  // of channels 2t and the next, t = lane % 4

  // weights: [10, channels]; 0 past `channels`, which is a multiple of 8.
  ARSEG_DEVICE DiagonalFilter(const float* weights, int channels, int first) {
    const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32, column = lane / 4, rows = lane % 4 * 2;
    const bool valid = first < channels, on_diagonal = valid && column / 2 * 2 == rows;
    const float* from = weights + (valid ? first : 0);
    const float* own = from + column;  // read by all lanes: a predicate makes each address anew
    ARSEG_UNROLL
    for (int i = 0; i < 9; ++i) {
      const float weight = *own;
      tap[i] = on_diagonal ? pack<T>(weight, 0.0f) << column % 2 * 16 : 0u;
      own += channels;
    }
    from += static_cast<int64_t>(9) * channels;
    const float2 both = valid ? *reinterpret_cast<const float2*>(from + rows) : make_float2(0.0f, 0.0f);
    bias[0] = both.x;
    bias[1] = both.y;
  }
};

// ROWS x 16 results of FILTERS convolutions of vector c of a tile, whose first pixel is above and left of the first
// result. emit(y, filter, sums): of row y, pixels g (sums [0], [1]) and g + 8 ([2], [3]), channels 2t and the next,
// where g = lane / 4 and t = lane % 4; this lane then reads rows of the tile up to y no more.
template <int WIDTH, int ROWS, typename T, int FILTERS, typename Emit>
ARSEG_DEVICE void convolve_rows(const uint4* tile, int c, const DiagonalFilter<T> (&filters)[FILTERS], Emit&& emit) {
  static_assert(ROWS % 2 == 0);
  constexpr int kRow = WIDTH * CreffTraits::Depthwise::kVectors;
  const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32;
  // The first two taps of a row, and the last ones of two rows: operands as ldmatrix leaves them, so that none is
  // moved.
  const uint4* left = tile + tile_place<WIDTH>(0, lane % 16 + lane / 16, c);
  const uint4* right = tile + tile_place<WIDTH>(lane / 16, lane % 16 + 2, c);
  uint32_t near[3][4], far[2][4];
  ARSEG_UNROLL
  for (int y = 0; y < ROWS + 2; ++y) {  // the last row read
    ldmatrix_x4<false>(near[y % 3], left + y * kRow);
    if (y > 0) ldmatrix_x4<false>(far[y % 2], right + (y - 1) * kRow);
    if (y < 2) continue;
    ARSEG_UNROLL
    for (int f = 0; f < FILTERS; ++f) {
      const uint32_t (&tap)[9] = filters[f].tap;
      const float (&bias)[2] = filters[f].bias;
      float sums[4] = {bias[0], bias[1], bias[0], bias[1]};
      ARSEG_UNROLL
      for (int i = 0; i < 3; ++i) mma_m16n8k16<T>(sums, near[(y + 1 + i) % 3], tap[3 * i], tap[3 * i + 1]);
      mma_m16n8k16<T>(sums, far[(y + 1) % 2], tap[2], tap[5]);
      mma_m16n8k16<T>(sums, far[y % 2], 0u, tap[8]);
      emit(y - 2, f, sums);
    }
  }
}

}  // namespace arseg::gpu
