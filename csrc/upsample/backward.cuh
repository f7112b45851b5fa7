// The gradient of bilinear upsampling on CUDA: one thread a value of the result, one axis at a time, so that a thread
// adds up as many values as one axis has for it, whatever the other one is.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// from: [outer, axis.out, inner], to: [outer, axis.in, inner].
template <typename A, typename From, typename To>
__global__ void __launch_bounds__(UpsampleTraits::kThreads)
    upsample_backward(UpsampleAxis<A> axis, UpsampleShape shape, const From* from, To* to) {
  const int64_t count = shape.outer * axis.in * shape.inner;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < count;
       at += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t line = at / shape.inner, outer = line / axis.in, i = line - outer * axis.in;
    const From* source = from + outer * axis.out * shape.inner + (at - line * shape.inner);
    int64_t first, last;
    axis.reach(i, first, last);
    A sum = A(0);
    for (int64_t o = first; o < last; ++o) {
      const A weight = axis.weight(i, o);
      if (weight != A(0)) sum += weight * A(to_float(source[o * shape.inner]));
    }
    to[at] = from_accumulator<To>(sum);
  }
}

template <typename A, typename From, typename To>
void launch_upsample_backward(const UpsampleAxis<A>& axis, const UpsampleShape& shape, const From* from, To* to,
                              void* stream) {
  const int64_t count = shape.outer * axis.in * shape.inner;
  if (count == 0) return;
  const dim3 blocks(blocks_for(count, UpsampleTraits::kThreads, UpsampleTraits::kMaxBlocks));
  const auto kernel = upsample_backward<A, From, To>;
  ARSEG_LAUNCH(kernel, blocks, dim3(UpsampleTraits::kThreads), 0, stream, axis, shape, from, to);
}

}  // namespace arseg::gpu
