// What attention on tensor cores does otherwise for float32, as TF32: operands are cut to 10 bits of mantissa, sums are
// float32. Values cannot be transposed on the way to registers, as they can in 16 bits, and need not be: a lane's pair
// of keys stands for the rows t and t + 4 of the right operand, and its vector for a column of four of them, one a
// channel.
#pragma once

#include "mma.cuh"

namespace arseg::gpu {

// Of a chunk of 32 channels: [c][2 * half + e] is of channel 8t + 4e + c, and of row g (half 0) or g + 8.
using Tf32Sums = float[4][4];

// sums = weights x values over the keys.
template <typename P, typename T>
ARSEG_DEVICE void weighted_sum(const PatchPosition<P>& at, const typename P::Products& weights, const uint4* values,
                               int, Tf32Sums& sums) {
  static_assert(std::is_same_v<T, float> && P::kVectors == 8);
  const uint4* key[2][2];
  ARSEG_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int x = at.patch_x + min(at.column(i / 2, i % 2), P::kSpan - 1);
    key[i / 2][i % 2] = values + P::place(at.patch_y, x, at.row);
  }
  ARSEG_UNROLL
  for (int c = 0; c < 4; ++c) sums[c][0] = sums[c][1] = sums[c][2] = sums[c][3] = 0.0f;
  ARSEG_UNROLL
  for (int n = 0; n < P::kColumns; ++n) {
    const int row = n / 2 * P::kHaloWidth * P::kVectors;
    const uint4 first = key[n % 2][0][row], second = key[n % 2][1][row];
    const uint32_t a[4] = {__float_as_uint(weights[n][0]), __float_as_uint(weights[n][2]),
                           __float_as_uint(weights[n][1]), __float_as_uint(weights[n][3])};
    mma_m16n8k8_tf32(sums[0], a, first.x, second.x);
    mma_m16n8k8_tf32(sums[1], a, first.y, second.y);
    mma_m16n8k8_tf32(sums[2], a, first.z, second.z);
    mma_m16n8k8_tf32(sums[3], a, first.w, second.w);
  }
}

// The same by a slow, exact loop over the keys in each row's window.
template <typename P, typename T, int WINDOW>
ARSEG_DEVICE void weighted_sum_in_window(const PatchPosition<P>& at, const typename P::Products& weights,
                                         const uint4* values, Tf32Sums& sums) {
  ARSEG_UNROLL
  for (int c = 0; c < 4; ++c) sums[c][0] = sums[c][1] = sums[c][2] = sums[c][3] = 0.0f;
  ARSEG_UNROLL
  for (int n = 0; n < P::kColumns; ++n) {
    const int r = n / 2;
    ARSEG_NO_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int column = n % 2 * 8 + k, holder = at.lane / 4 * 4 + k / 2;
      const float upper = __shfl_sync(kAllLanes, k % 2 ? weights[n][1] : weights[n][0], holder);
      const float lower = __shfl_sync(kAllLanes, k % 2 ? weights[n][3] : weights[n][2], holder);
      if (static_cast<unsigned>(column - at.row) >= WINDOW) continue;
      ARSEG_UNROLL
      for (int e = 0; e < 2; ++e) {
        const uint4* vector = values + P::place(at.patch_y + r, at.patch_x + column, 2 * at.quad_lane + e);
        float value[4];
        load_vector(reinterpret_cast<const float*>(vector), value);
        ARSEG_UNROLL
        for (int c = 0; c < 4; ++c) {
          if (P::row_in_window(r, 0)) sums[c][e] += upper * value[c];
          if (P::row_in_window(r, 1)) sums[c][2 + e] += lower * value[c];
        }
      }
    }
  }
}

// sums * factor[half] (+ residual) to the patch's own pixels of a map, a chunk from channel `start` on.
template <typename P>
ARSEG_DEVICE void store_rows(const AttentionShape& shape, const PatchPosition<P>& at, const Tf32Sums& sums,
                             float upper_factor, float lower_factor, const float* residual, float* map, int channels,
                             int start) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (!at.inside(shape, half)) continue;
    const float factor = half ? lower_factor : upper_factor;
    const int64_t pixel = shape.pixel(at.batch, at.y(half), at.x()) * channels;
    ARSEG_UNROLL
    for (int e = 0; e < 2; ++e) {
      const int channel = start + 8 * at.quad_lane + 4 * e;
      if (channel >= channels) continue;
      float out[4] = {};
      if (residual) load_vector(residual + pixel + channel, out);
      ARSEG_UNROLL
      for (int c = 0; c < 4; ++c) out[c] += sums[c][2 * half + e] * factor;
      store_vector(map + pixel + channel, out);
    }
  }
}

}  // namespace arseg::gpu
