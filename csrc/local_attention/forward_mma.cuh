// Attention forward for float16 and bfloat16, and for float32 as TF32, on the patches of mma.cuh.
#pragma once

#include "forward_softmax.cuh"
#include "mma.cuh"
#include "tf32.cuh"

namespace arseg::gpu {

// Chunks pass through two buffers: those of the keys, then those of the values. While one is worked on, the next is on
// its way.
template <typename T, int CHUNK, int WINDOW>
__global__ void __launch_bounds__(AttentionTraits::Mma::kThreads,
                                  AttentionTraits::Mma::blocks_of_multiprocessor(WINDOW))
    attention_forward_mma(AttentionParams<T> a, Chunks count) {
  using P = Patch<CHUNK, WINDOW>;
  constexpr int kChannels = P::template kChannels<T>;
  ARSEG_SHARED(shared);
  uint4* buffers = reinterpret_cast<uint4*>(shared);
  const AttentionShape& s = a.shape;
  const int64_t n = blockIdx.z;
  // Worked out again where it is needed, like counts and places: registers are what this kernel has least of.
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  // One group of copies a chunk, also where none is left, so that "all but one group" is always the next chunk.
  const auto fetch = [&](int chunk) {
    if (chunk < count.keys + count.values) {
      const auto at = here();
      uint4* to = buffers + chunk % 2 * P::kChunkVectors;
      if (chunk < count.keys) {
        copy_chunk<P>(s, a.key, s.channels, chunk * kChannels, n, at.tile_y, at.tile_x, to);
      } else {
        copy_chunk<P>(s, a.value, s.value_channels, (chunk - count.keys) * kChannels, n, at.tile_y, at.tile_x, to);
      }
    }
    cp_async_commit();
  };
  fetch(0);
  fetch(1);
  typename P::Products products;
  clear<P>(products);
  ARSEG_NO_UNROLL
  for (int chunk = 0; chunk < count.keys; ++chunk) {
    typename P::Rows rows;
    load_rows(s, here(), a.query, s.channels, chunk * kChannels, rows);
    cp_async_wait<1>();
    __syncthreads();
    add_products<P, T>(here(), rows, buffers + chunk % 2 * P::kChunkVectors, products);
    if (chunk + 2 < count.keys + count.values) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }
  const auto at = here();
  Softmax<P> softmax;
  WeightsOf<P, T> weights;
  softmax.template run<T, WINDOW>(s, at, a.scale * kLog2E, products, weights);
  if (a.logsumexp && at.quad_lane == 0) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (at.inside(s, half)) a.logsumexp[s.pixel(n, at.y(half), at.x())] = softmax.logsumexp(half);
    }
  }
  const float upper = reciprocal_fast(softmax.row_sum[0]), lower = reciprocal_fast(softmax.row_sum[1]);
  ARSEG_NO_UNROLL
  for (int chunk = count.keys; chunk < count.keys + count.values; ++chunk) {
    const auto at = here();
    const uint4* values = buffers + chunk % 2 * P::kChunkVectors;
    cp_async_wait<1>();
    __syncthreads();
    std::conditional_t<is_half_type<T>, typename P::Sums, Tf32Sums> sums;
    sum_values<P, T, WINDOW>(s, at, weights, values, sums);
    store_rows<P>(s, at, sums, upper, lower, a.residual, a.out, s.value_channels, (chunk - count.keys) * kChannels);
    if (chunk + 2 < count.keys + count.values) __syncthreads();
    fetch(chunk + 2);
  }
}

template <typename T, int CHUNK, int WINDOW>
void launch_forward_mma(const AttentionParams<T>& a, void* stream) {
  using P = Patch<CHUNK, WINDOW>;
  const auto kernel = attention_forward_mma<T, CHUNK, WINDOW>;
  ARSEG_LAUNCH(kernel, patch_grid<P>(a.shape), dim3(P::kThreads), 2 * P::kChunkBytes, stream, a,
               Chunks::of<P::template kChannels<T>>(a.shape));
}

}  // namespace arseg::gpu
