// Attention backward for float16 and bfloat16, on the patches of mma.cuh; params.h says why one kernel serves
// twice. Inf and NaN may reach the gradients of a whole patch; forward keeps them within the window.
#pragma once

#include "backward_softmax.cuh"
#include "mma.cuh"

namespace arseg::gpu {

template <typename T, int CHUNK, int WINDOW, bool KEYS>
__global__ void __launch_bounds__(AttentionTraits::Mma::kThreads,
                                  AttentionTraits::Mma::blocks_of_multiprocessor(WINDOW))
    attention_backward_mma(AttentionBackwardParams<T> a, BackwardPassParams<T> maps, Chunks count) {
  using P = Patch<CHUNK, WINDOW>;
  ARSEG_SHARED(shared);
  uint4* buffers = reinterpret_cast<uint4*>(shared);
  QuerySums* sums_of = reinterpret_cast<QuerySums*>(shared + 2 * P::kChunkBytes);  // for keys: [halo]
  const AttentionShape& s = a.shape;
  const int64_t n = blockIdx.z;
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  // Chunks pass through two buffers in turns: of `other`, for the probabilities; of `other_value`, for keys twice, so
  // that their sums and all the products are not in registers at once; and of `other` again. One chunk of each stays.
  constexpr int kTurns = KEYS ? 2 : 1;
  const bool stay = count.keys + count.values == 2;
  const int last_values = count.keys + kTurns * count.values, end = last_values + count.keys;
  const auto buffer = [&](int chunk, bool values) {
    return buffers + (stay ? static_cast<int>(values) : chunk % 2) * P::kChunkVectors;
  };
  const auto fetch = [&](int chunk) {
    if (chunk < end && (chunk < 2 || !stay)) {
      const auto at = here();
      if (chunk >= count.keys && chunk < last_values) {
        const int again = KEYS && chunk >= count.keys + count.values ? count.values : 0;
        copy_chunk<P>(s, maps.other_value, s.value_channels, (chunk - count.keys - again) * CHUNK, n, at.tile_y,
                      at.tile_x, buffer(chunk, true));
      } else {
        copy_chunk<P>(s, maps.other, s.channels, (chunk < count.keys ? chunk : chunk - last_values) * CHUNK, n,
                      at.tile_y, at.tile_x, buffer(chunk, false));
      }
    }
    cp_async_commit();
  };
  fetch(0);
  fetch(1);
  if constexpr (KEYS) {
    const auto at = here();
    ARSEG_NO_UNROLL
    for (int i = static_cast<int>(threadIdx.x); i < P::kHaloPixels; i += P::kThreads) {
      const int y = at.tile_y + i / P::kHaloWidth - P::kRadius, x = at.tile_x + i % P::kHaloWidth - P::kRadius;
      QuerySums sums{INFINITY, 0.0f};
      if (s.in_bounds(y, x)) sums = {a.logsumexp[s.pixel(n, y, x)] * kLog2E, a.delta[s.pixel(n, y, x)]};
      sums_of[i] = sums;
    }
  }

  typename P::Products products;
  clear<P>(products);
  ARSEG_NO_UNROLL
  for (int chunk = 0; chunk < count.keys; ++chunk) {
    const auto at = here();
    typename P::Rows rows;
    load_rows(s, at, maps.own, s.channels, chunk * CHUNK, rows);
    cp_async_wait<1>();
    __syncthreads();
    add_products<P, T>(at, rows, buffer(chunk, false), products);
    if (!stay) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }

  // Probabilities, as the forward had them.
  using Gradients = BackwardSoftmax<P, WINDOW, KEYS>;
  typename Gradients::Weights weights;
  {
    const auto at = here();
    float logsumexp[2] = {INFINITY, INFINITY};
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        if (at.inside(s, half)) logsumexp[half] = a.logsumexp[s.pixel(n, at.y(half), at.x())] * kLog2E;
      }
    }
    Gradients(s, at, sums_of).template probabilities<T>(a.scale * kLog2E, logsumexp, products, weights);
  }

  if constexpr (KEYS) {
    ARSEG_NO_UNROLL
    for (int chunk = count.keys; chunk < count.keys + count.values; ++chunk) {
      const auto at = here();
      cp_async_wait<1>();
      __syncthreads();
      typename P::Sums sums;
      Gradients(s, at, sums_of).template sum_up<T>(weights, buffer(chunk, true), 0, sums);
      store_rows<P, T>(s, at, sums, 1.0f, 1.0f, nullptr, maps.grad_value, s.value_channels,
                       (chunk - count.keys) * CHUNK);
      if (!stay) __syncthreads();
      fetch(chunk + 2);
    }
  }

  // Gradients of the probabilities.
  clear<P>(products);
  ARSEG_NO_UNROLL
  for (int chunk = last_values - count.values; chunk < last_values; ++chunk) {
    const auto at = here();
    typename P::Rows rows;
    load_rows(s, at, maps.own_value, s.value_channels, (chunk - last_values + count.values) * CHUNK, rows);
    cp_async_wait<1>();
    __syncthreads();
    add_products<P, T>(at, rows, buffer(chunk, true), products);
    if (!stay) __syncthreads();
    fetch(chunk + 2);
  }

  // Gradients of the logits.
  {
    const auto at = here();
    float delta[2] = {0.0f, 0.0f};
    Gradients(s, at, sums_of).template gradients<T>(products, weights, delta);
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        if (at.quad_lane == 0 && at.inside(s, half)) a.delta[s.pixel(n, at.y(half), at.x())] = delta[half];
      }
    }
  }

  ARSEG_NO_UNROLL
  for (int chunk = last_values; chunk < end; ++chunk) {
    const auto at = here();
    cp_async_wait<1>();
    __syncthreads();
    typename P::Sums sums;
    Gradients(s, at, sums_of).template sum_up<T>(weights, buffer(chunk, false), 0, sums);
    store_rows<P, T>(s, at, sums, a.scale, a.scale, nullptr, maps.grad, s.channels, (chunk - last_values) * CHUNK);
    if (chunk + 2 < end) __syncthreads();
    fetch(chunk + 2);
  }
}

template <typename T, int CHUNK, int WINDOW>
void launch_backward_mma(const AttentionBackwardParams<T>& a, void* stream) {
  using P = Patch<CHUNK, WINDOW>;
  const dim3 grid = patch_grid<P>(a.shape), block(P::kThreads);
  const Chunks count = Chunks::of<CHUNK>(a.shape);
  const auto of_queries = attention_backward_mma<T, CHUNK, WINDOW, false>;
  ARSEG_LAUNCH(of_queries, grid, block, 2 * P::kChunkBytes, stream, a, query_pass(a), count);
  const auto of_keys = attention_backward_mma<T, CHUNK, WINDOW, true>;
  ARSEG_LAUNCH(of_keys, grid, block, 2 * P::kChunkBytes + P::kHaloPixels * sizeof(QuerySums), stream, a, key_pass(a),
               count);
}

}  // namespace arseg::gpu
