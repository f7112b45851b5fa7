// Where a pixel of a warped map comes from, and the sum of what lies there: for every kernel that warps.
#pragma once

#include "../common/device.cuh"
#include "math.h"

namespace arseg::gpu {

// A block field (int16 [N, Hb, Wb, 2] in quarter video pixels) or a dense flow ([N, H, W, 2] in feature pixels) for
// maps of height x width. Strides in elements.
struct Motion {
  const void* data = nullptr;
  bool dense = false;
  Element element = Element::Float;  // of a dense flow
  int64_t stride[4] = {0, 0, 0, 0};
  BlockAxis vertical{}, horizontal{};  // of a block field; 2 * size * frame fits 32 bits
  int height = 0, width = 0;
  Grid grid = Grid::Aligned;
};

// The four pixels around a sampling position.
template <typename A>
struct PixelTaps {
  int64_t pixel[4];  // y * width + x of upper left, upper right, lower left, lower right; -1: outside the image
  A weight[4];
  A x_fraction, y_fraction;

  // A tap of weight 0 is left out, so that an Inf or NaN beside the position does not leak in.
  ARSEG_DEVICE bool used(int i) const { return pixel[i] >= 0 && weight[i] != A(0); }
};

// The displacement of pixel (y, x) in feature pixels.
template <typename A>
ARSEG_DEVICE void displacement_of(const Motion& motion, int64_t n, int y, int x, A& dx, A& dy) {
  if (!motion.dense) {
    const int64_t row = block_of<uint32_t>(y, motion.vertical);
    const int64_t column = block_of<uint32_t>(x, motion.horizontal);
    const int16_t* vector = static_cast<const int16_t*>(motion.data) + n * motion.stride[0] + row * motion.stride[1] +
                            column * motion.stride[2];
    dx = A(vector[0]) * quarter_pel<A>(motion.horizontal);
    dy = A(vector[motion.stride[3]]) * quarter_pel<A>(motion.vertical);
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
ARSEG_DEVICE PixelTaps<A> taps_of(const Motion& motion, int64_t n, int y, int x) {
  A dx, dy;
  displacement_of<A>(motion, n, y, x, dx, dy);
  const auto h = sample_taps<A, int>(x, sample_shift<A>(x, dx, motion.width, motion.grid), motion.width);
  const auto v = sample_taps<A, int>(y, sample_shift<A>(y, dy, motion.height, motion.grid), motion.height);
  PixelTaps<A> taps;
  const int rows[2] = {v.lower, v.upper};
  const int columns[2] = {h.lower, h.upper};
  const A row_weights[2] = {A(1) - v.fraction, v.fraction};
  const A column_weights[2] = {A(1) - h.fraction, h.fraction};
  ARSEG_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = rows[i / 2], column = columns[i % 2];
    taps.pixel[i] = row < 0 || column < 0 ? -1 : static_cast<int64_t>(row) * motion.width + column;
    taps.weight[i] = row_weights[i / 2] * column_weights[i % 2];
  }
  taps.x_fraction = h.fraction;
  taps.y_fraction = v.fraction;
  return taps;
}

// The warped channels [channel, channel + kVector) of a pixel. image: [H, W, channels].
template <typename T>
ARSEG_DEVICE void sample_vector(const T* image, int channels, int channel, const PixelTaps<accumulator<T>>& taps,
                                accumulator<T> (&to)[kVector<T>]) {
  using A = accumulator<T>;
  ARSEG_UNROLL
  for (int e = 0; e < kVector<T>; ++e) to[e] = A(0);
  ARSEG_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (!taps.used(i)) continue;
    A values[kVector<T>];
    load_vector(image + taps.pixel[i] * channels + channel, values);
    ARSEG_UNROLL
    for (int e = 0; e < kVector<T>; ++e) to[e] += taps.weight[i] * values[e];
  }
}

}  // namespace arseg::gpu
