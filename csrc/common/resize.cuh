// Bilinear resizing along one axis, as torch.nn.functional.interpolate places its samples. As there, both taps count
// whatever their weight: 0 times Inf is NaN.
#pragma once

#include "device.cuh"

namespace arseg::gpu {

template <typename A>
struct ResizeTap {
  int lower, upper;
  A fraction;  // the weight of `upper`
};

// Pixels of the input for one of the output, corner pixels in place.
template <typename A>
ARSEG_HD A resize_ratio(int in, int out) {
  return out > 1 ? static_cast<A>(in - 1) / static_cast<A>(out - 1) : A(0);
}

// The input's pixels around `position`, which is at least 0. step: from one sample to the next; where it is 1 the sizes
// are equal, and each sample has one pixel.
template <typename A>
ARSEG_DEVICE ResizeTap<A> resize_tap_at(A position, int in, A step) {
  int lower = static_cast<int>(position);
  lower = lower < in - 1 ? lower : in - 1;
  const int upper = lower < in - 1 && step != A(1) ? lower + 1 : lower;
  return {lower, upper, position - static_cast<A>(lower)};
}

// Sample `at` along an axis of `in` pixels, corner pixels in place; ratio: resize_ratio of the axis, from the host, so
// that no thread divides.
template <typename A>
ARSEG_DEVICE ResizeTap<A> resize_tap(int at, int in, A ratio) {
  return resize_tap_at(static_cast<A>(at) * ratio, in, ratio);
}

// Sample `at` of `out` along an axis of `in` pixels.
template <typename A>
ARSEG_DEVICE ResizeTap<A> resize_tap(int at, int in, int out, bool align_corners) {
  if (align_corners) return resize_tap(at, in, resize_ratio<A>(in, out));
  const A step = static_cast<A>(in) / static_cast<A>(out);
  const A position = (static_cast<A>(at) + A(0.5)) * step - A(0.5);
  return resize_tap_at(position > A(0) ? position : A(0), in, step);
}

}  // namespace arseg::gpu
