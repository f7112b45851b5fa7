// The gradient of bilinear upsampling on CUDA: a thread gathers one value of the result, or a vector of values that lie
// together, one axis at a time: it adds up as many as one axis has for it, whatever the other one is.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// Values that a thread has where it may: whole vectors of 16 bytes of both types.
template <typename From, typename To>
constexpr int kGathered = kVector<From> > kVector<To> ? kVector<From> : kVector<To>;

// from: [outer, axis.out, inner], to: [outer, axis.in, inner]; inner is a multiple of Values.
template <int Values, typename A, typename From, typename To>
__global__ void __launch_bounds__(UpsampleTraits::kThreads)
    upsample_backward(UpsampleAxis<A> axis, UpsampleShape shape, const From* from, To* to) {
  const int64_t inner = shape.inner / Values, count = shape.outer * axis.in * inner;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < count;
       at += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t line = at / inner, outer = line / axis.in, i = line - outer * axis.in;
    const From* source = from + outer * axis.out * shape.inner + (at - line * inner) * Values;
    int64_t first, last;
    axis.reach(i, first, last);
    A sums[Values] = {};
    for (int64_t o = first; o < last; ++o) {
      const A weight = axis.weight(i, o);
      if (weight == A(0)) continue;
      const From* values = source + o * shape.inner;
      if constexpr (Values == 1) {
        sums[0] += weight * A(to_float(*values));
      } else {
        ARSEG_UNROLL
        for (int v = 0; v < Values; v += kVector<From>) {
          A vector[kVector<From>];
          load_vector(values + v, vector);
          ARSEG_UNROLL
          for (int e = 0; e < kVector<From>; ++e) sums[v + e] += weight * vector[e];
        }
      }
    }
    if constexpr (Values == 1) {
      to[at] = from_accumulator<To>(sums[0]);
    } else {
      ARSEG_UNROLL
      for (int v = 0; v < Values; v += kVector<To>) {
        A vector[kVector<To>];
        ARSEG_UNROLL
        for (int e = 0; e < kVector<To>; ++e) vector[e] = sums[v + e];
        store_vector(to + at * Values + v, vector);
      }
    }
  }
}

template <typename A, typename From, typename To>
void launch_upsample_backward(const UpsampleAxis<A>& axis, const UpsampleShape& shape, const From* from, To* to,
                              void* stream) {
  const int64_t count = shape.outer * axis.in * shape.inner;
  if (count == 0) return;
  constexpr int kValues = kGathered<From, To>;
  const bool aligned = (reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) % 16 == 0;
  const bool vectors = aligned && shape.inner % kValues == 0;
  const auto kernel = vectors ? upsample_backward<kValues, A, From, To> : upsample_backward<1, A, From, To>;
  const int64_t threads = vectors ? count / kValues : count;
  const dim3 blocks(blocks_for(threads, UpsampleTraits::kThreads, UpsampleTraits::kMaxBlocks));
  ARSEG_LAUNCH(kernel, blocks, dim3(UpsampleTraits::kThreads), 0, stream, axis, shape, from, to);
}

}  // namespace arseg::gpu
