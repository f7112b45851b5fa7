// Where a pixel of a warped map comes from, and the sum of what lies there: for every kernel that warps.
#pragma once

#include "../common/device.cuh"
#include "math.h"
#include "params.h"

namespace arseg::gpu {

// The four pixels around a sampling position: upper left, upper right, lower left, lower right.
template <typename A>
struct PixelTaps {
  int row[2], column[2];  // -1: outside the image
  A weight[4];
  A x_fraction, y_fraction;

  ARSEG_DEVICE bool inside(int i) const { return row[i / 2] >= 0 && column[i % 2] >= 0; }
  // A tap of weight 0 is left out, so that an Inf or NaN beside the position does not leak in.
  ARSEG_DEVICE bool used(int i) const { return inside(i) && weight[i] != A(0); }
  // Where the tap is in a map of `width`.
  ARSEG_DEVICE int64_t pixel(int i, int width) const {
    return static_cast<int64_t>(row[i / 2]) * width + column[i % 2];
  }
};

template <typename A>
ARSEG_DEVICE void set_weights(PixelTaps<A>& taps) {
  ARSEG_UNROLL
  for (int i = 0; i < 4; ++i) {
    taps.weight[i] =
        (i / 2 ? taps.y_fraction : A(1) - taps.y_fraction) * (i % 2 ? taps.x_fraction : A(1) - taps.x_fraction);
  }
}

// The displacement of pixel (y, x) in feature pixels.
template <typename A>
ARSEG_DEVICE void displacement_of(const MotionParams& motion, int64_t n, int y, int x, A& dx, A& dy) {
  if (!motion.dense) {
    const int64_t row = motion.block_row.of(y), column = motion.block_column.of(x);
    const int16_t* vector = static_cast<const int16_t*>(motion.data) + n * motion.stride[0] + row * motion.stride[1] +
                            column * motion.stride[2];
    dx = A(vector[0]) * motion.x_scale.template as<A>();
    dy = A(vector[motion.stride[3]]) * motion.y_scale.template as<A>();
    return;
  }
  const int64_t at = n * motion.stride[0] + y * motion.stride[1] + x * motion.stride[2];
  const auto read = [&](auto tag) {
    using F = decltype(tag);
    const F* vector = static_cast<const F*>(motion.data) + at;
    dx = A(to_float(vector[0]));
    dy = A(to_float(vector[motion.stride[3]]));
  };
  switch (motion.element) {
    case Element::Double:
      return read(double{});
    case Element::Half:
      return read(Half{});
    case Element::BFloat16:
      return read(BFloat16{});
    default:
      return read(float{});
  }
}

template <typename A>
ARSEG_DEVICE PixelTaps<A> taps_of(const MotionParams& motion, int64_t n, int y, int x) {
  A dx, dy;
  displacement_of<A>(motion, n, y, x, dx, dy);
  const auto h = sample_taps<A, int>(x, sample_shift<A>(x, dx, motion.width, motion.grid), motion.width);
  const auto v = sample_taps<A, int>(y, sample_shift<A>(y, dy, motion.height, motion.grid), motion.height);
  PixelTaps<A> taps{{v.lower, v.upper}, {h.lower, h.upper}, {}, h.fraction, v.fraction};
  set_weights(taps);
  return taps;
}

// The warped channels of a pixel in N vectors, the first from `channel` on and each `step` after the one before; 0 past
// `channels`. image: [H, width, channels], a row of it no more than 2 GB. All loads are under way before the first is
// used.
template <int N, typename T, typename Taps>
ARSEG_DEVICE void sample_vectors(const T* image, int width, int channels, int channel, int step, const Taps& taps,
                                 accumulator<T> (&to)[N][kVector<T>]) {
  uint4 bits[N][4];
  // 32-bit factors: a product is then one instruction.
  const int pixel_bytes = channels * static_cast<int>(sizeof(T)), row_bytes = width * pixel_bytes;
  const char* first = reinterpret_cast<const char*>(image + channel);
  ARSEG_UNROLL
  for (int i = 0; i < 4; ++i) {
    const T* from = reinterpret_cast<const T*>(first + static_cast<int64_t>(taps.row[i / 2]) * row_bytes +
                                               static_cast<int64_t>(taps.column[i % 2]) * pixel_bytes);
    ARSEG_UNROLL
    for (int k = 0; k < N; ++k) {
      bits[k][i] = make_uint4(0, 0, 0, 0);
      if (taps.used(i) && channel + k * step < channels) bits[k][i] = *reinterpret_cast<const uint4*>(from + k * step);
    }
  }
  ARSEG_UNROLL
  for (int k = 0; k < N; ++k) {
    ARSEG_UNROLL
    for (int e = 0; e < kVector<T>; ++e) to[k][e] = accumulator<T>(0);
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      accumulator<T> values[kVector<T>];
      load_vector(reinterpret_cast<const T*>(&bits[k][i]), values);
      ARSEG_UNROLL
      for (int e = 0; e < kVector<T>; ++e) to[k][e] += taps.weight[i] * values[e];
    }
  }
}

}  // namespace arseg::gpu
