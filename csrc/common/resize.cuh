// Bilinear resizing along one axis, as torch.nn.functional.interpolate places its samples.
#pragma once

#include "device.cuh"

namespace arseg::gpu {

template <typename A>
struct ResizeTap {
  int lower, upper;
  A fraction;  // the weight of `upper`
};

// Sample `at` of `out` along an axis of `in` pixels.
template <typename A>
ARSEG_DEVICE ResizeTap<A> resize_tap(int at, int in, int out, bool align_corners) {
  A position;
  if (align_corners) {
    position = out > 1 ? static_cast<A>(at) * (static_cast<A>(in - 1) / static_cast<A>(out - 1)) : A(0);
  } else {
    position = (static_cast<A>(at) + A(0.5)) * (static_cast<A>(in) / static_cast<A>(out)) - A(0.5);
    position = position > A(0) ? position : A(0);
  }
  int lower = static_cast<int>(position);
  lower = lower < in - 1 ? lower : in - 1;
  const int upper = lower < in - 1 ? lower + 1 : lower;
  return {lower, upper, position - static_cast<A>(lower)};
}

}  // namespace arseg::gpu
