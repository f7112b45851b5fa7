// The transpose of bilinear upsampling along one axis (align_corners=True), as a sum over what an input pixel gave:
// every value is added up in one order, where the obvious loop over outputs would add to inputs from many threads.
#pragma once

#include <cstdint>

#include "../common/base.h"

namespace arseg {

// In the precision in which torch places its samples: float, for double double.
template <typename A>
struct UpsampleAxis {
  int64_t in, out;
  A ratio;  // input pixels for one of the output

  UpsampleAxis(int64_t in, int64_t out)
      : in(in), out(out), ratio(out > 1 ? static_cast<A>(in - 1) / static_cast<A>(out - 1) : A(0)) {}

  // The share of input pixel i in output pixel o.
  ARSEG_HD A weight(int64_t i, int64_t o) const {
    const A position = static_cast<A>(o) * ratio;
    int64_t lower = static_cast<int64_t>(position);
    lower = lower < in - 1 ? lower : in - 1;
    const A fraction = position - static_cast<A>(lower);
    return (lower == i ? A(1) - fraction : A(0)) + ((lower < in - 1 ? lower + 1 : lower) == i ? fraction : A(0));
  }

  // Output pixels from first to last - 1 hold all that have a share of input pixel i, and a few more.
  ARSEG_HD void reach(int64_t i, int64_t& first, int64_t& last) const {
    first = 0;
    last = out;
    if (ratio > A(0)) {
      const int64_t before = static_cast<int64_t>(static_cast<A>(i - 1) / ratio) - 1;
      const int64_t after = static_cast<int64_t>(static_cast<A>(i + 1) / ratio) + 2;
      first = before > 0 ? before : 0;
      last = after < out ? after : out;
    }
  }
};

// One axis of an array in memory: [outer, axis, inner].
struct UpsampleShape {
  int64_t outer, inner;
};

namespace gpu {

struct UpsampleTraits {
  static constexpr int kThreads = 256;  // values of the result
  static constexpr int kMaxBlocks = 1 << 20;
};

}  // namespace gpu
}  // namespace arseg
