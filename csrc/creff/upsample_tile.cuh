// The low-resolution map, upsampled to a tile in shared memory, for float16 and bfloat16: the patch of it that the tile
// lies in is copied there first, so that its pixels are read once from global memory and the taps are near.
#pragma once

#include "../common/resize.cuh"
#include "depthwise_mma.cuh"
#include "params.h"

namespace arseg::gpu {

// The pixels of the low-resolution map that a tile of HEIGHT x WIDTH pixels lies in, the first at (y0, x0); that one
// may be outside the image, the tile as a whole is not.
template <int HEIGHT, int WIDTH>
struct LowResPatch {
  static constexpr int kVectors = CreffTraits::Depthwise::kVectors;
  int top, left, height, width;

  template <typename T>
  ARSEG_DEVICE LowResPatch(const FusionParams<T>& a, int y0, int x0) {
    top = resize_tap(max(y0, 0), a.low_height, a.row_ratio).lower;
    left = resize_tap(max(x0, 0), a.low_width, a.column_ratio).lower;
    height = resize_tap(min(y0 + HEIGHT, a.height) - 1, a.low_height, a.row_ratio).upper - top + 1;
    width = resize_tap(min(x0 + WIDTH, a.width) - 1, a.low_width, a.column_ratio).upper - left + 1;
  }

  ARSEG_DEVICE int64_t vectors() const { return static_cast<int64_t>(height) * width * kVectors; }

  // Begins to copy channels [start, start + 64) of it, one pixel after another; 0 past the channels.
  template <int THREADS, typename T>
  ARSEG_DEVICE void copy(const FusionParams<T>& a, int64_t n, int start, uint4* to) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, c = lane % kVectors;
    ARSEG_NO_UNROLL
    for (int y = static_cast<int>(threadIdx.x) / 32; y < height; y += THREADS / 32) {
      const int64_t row = (n * a.low_height + top + y) * a.low_width + left;
      ARSEG_NO_UNROLL
      for (int x = lane / kVectors; x < width; x += 32 / kVectors) {
        cp_async16(to + (y * width + x) * kVectors + c, a.low_res + ((row + x) * a.channels + start + 8 * c),
                   start + 8 * c < a.channels);
      }
    }
  }

  // The tile, at tile_place<WIDTH>; 0 outside the image, which is the convolutions' padding. from: where `copy` put it.
  // A thread goes down a column with one vector of channels, and interpolates each row of the patch once along it.
  template <int THREADS, typename T>
  ARSEG_DEVICE void upsample(const FusionParams<T>& a, int y0, int x0, const uint4* from, uint4* to) const {
    static_assert(WIDTH * kVectors <= THREADS);
    const int thread = optimization_barrier(static_cast<int>(threadIdx.x)), c = thread % kVectors,
              x = thread / kVectors;
    if (x >= WIDTH) return;
    uint4* column = to + tile_place<WIDTH>(0, x, c);
    const bool inside = static_cast<unsigned>(x0 + x) < static_cast<unsigned>(a.width);
    const int begin = max(0, -y0), end = inside ? min(HEIGHT, a.height - y0) : begin;
    if (end - begin < HEIGHT) {
      ARSEG_NO_UNROLL
      for (int y = 0; y < HEIGHT; ++y) column[y * WIDTH * kVectors] = make_uint4(0, 0, 0, 0);
    }
    if (begin < end) upsample_column<T>(a, y0, x0 + x, begin, end, from + c, column);
  }

 private:
  // Rows [begin, end) of the tile, of the image's column x.
  template <typename T>
  ARSEG_DEVICE void upsample_column(const FusionParams<T>& a, int y0, int x, int begin, int end, const uint4* from,
                                    uint4* to) const {
    const auto h = resize_tap(x, a.low_width, a.column_ratio);
    const auto tap = [&](int y) { return resize_tap(y0 + y, a.low_height, a.row_ratio); };
    const float first_weight = 1.0f - h.fraction;
    auto v = tap(begin);
    const uint4* left_tap = from + ((v.lower - top) * width + h.lower - left) * kVectors;
    const uint4* right_tap = from + ((v.lower - top) * width + h.upper - left) * kVectors;
    float above[8], below[8] = {};
    int next = v.lower;  // row of the patch
    int y = begin;
    ARSEG_NO_UNROLL
    while (y < end) {
      const int lower = v.lower;
      ARSEG_NO_UNROLL
      for (; next <= v.upper; ++next) {
        float values[2][8];
        load_vector(reinterpret_cast<const T*>(left_tap), values[0]);
        load_vector(reinterpret_cast<const T*>(right_tap), values[1]);
        left_tap += width * kVectors;
        right_tap += width * kVectors;
        ARSEG_UNROLL
        for (int e = 0; e < 8; ++e) {
          above[e] = below[e];
          below[e] = first_weight * values[0][e] + h.fraction * values[1][e];
        }
      }
      if (v.upper == lower) memcpy(above, below, sizeof above);
      ARSEG_NO_UNROLL
      for (; y < end && v.lower == lower; v = tap(++y)) {
        float sums[8];
        ARSEG_UNROLL
        for (int e = 0; e < 8; ++e) sums[e] = (1.0f - v.fraction) * above[e] + v.fraction * below[e];
        store_vector(reinterpret_cast<T*>(to + y * WIDTH * kVectors), sums);
      }
    }
  }
};

}  // namespace arseg::gpu
