// Attention backward for float16 and bfloat16, on the patches of mma.cuh; params.h says why one kernel serves
// twice. Inf and NaN may reach the gradients of a whole patch; forward keeps them within the window.
#pragma once

#include "mma.cuh"

namespace arseg::gpu {

// For keys: what each query of the halo brings along.
struct QuerySums {
  float logsumexp;  // in base 2; Inf outside the image, which makes the probability 0
  float delta;
};

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
  const auto buffer = [&](int chunk) { return buffers + chunk % 2 * P::kChunkVectors; };
  // Chunks of `other`, of `other_value`, and of `other` again.
  const auto fetch = [&](int chunk) {
    const bool values = chunk >= count.keys && chunk < count.keys + count.values;
    // With one chunk of each, that of `other` is still there.
    const bool kept = count.keys + count.values == 2 && chunk == 2;
    if (chunk < 2 * count.keys + count.values && !kept) {
      const auto at = here();
      if (values) {
        copy_chunk_by_pixels<P>(s, maps.other_value, s.value_channels, (chunk - count.keys) * CHUNK, n, at.tile_y,
                                at.tile_x, buffer(chunk));
      } else {
        const int of_other = chunk < count.keys ? chunk : chunk - count.keys - count.values;
        copy_chunk_by_pixels<P>(s, maps.other, s.channels, of_other * CHUNK, n, at.tile_y, at.tile_x, buffer(chunk));
      }
    }
    cp_async_commit();
  };
  fetch(0);
  fetch(1);
  if constexpr (KEYS) {
    const auto at = here();
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
    add_products<P, T>(at, rows, buffer(chunk), products);
    if (count.keys + count.values > 2) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }

  // Probabilities, as the forward had them.
  typename P::Weights weights;
  {
    const auto at = here();
    float logsumexp[2] = {INFINITY, INFINITY};
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        if (at.inside(s, half)) logsumexp[half] = a.logsumexp[s.pixel(n, at.y(half), at.x())] * kLog2E;
      }
    }
    // Keys outside have value 0, so that nothing is lost by leaving them out, in both modes.
    const KeyColumns<P, WINDOW> columns(s, at, !KEYS);
    ARSEG_UNROLL
    for (int i = 0; i < P::kColumns; ++i) {
      const bool row = KEYS || static_cast<unsigned>(at.key_y(i / 2)) < static_cast<unsigned>(s.height);
      float probabilities[4] = {};
      ARSEG_UNROLL
      for (int e = 0; e < 2; ++e) {
        if constexpr (KEYS) logsumexp[0] = logsumexp[1] = sums_of[at.halo(i / 2, at.column(i, e))].logsumexp;
        ARSEG_UNROLL
        for (int half = 0; half < 2; ++half) {
          if (!P::row_in_window(i / 2, half)) continue;
          const float logit = products[i][2 * half + e] * (a.scale * kLog2E) - logsumexp[half];
          probabilities[2 * half + e] = row && columns.in[i % 2][e] ? exp2_fast(logit) : 0.0f;
        }
      }
      weights[i][0] = pack<T>(probabilities[0], probabilities[1]);
      weights[i][1] = pack<T>(probabilities[2], probabilities[3]);
    }
  }

  // Gradients of the probabilities.
  clear<P>(products);
  ARSEG_NO_UNROLL
  for (int chunk = count.keys; chunk < count.keys + count.values; ++chunk) {
    const auto at = here();
    const int start = (chunk - count.keys) * CHUNK;
    typename P::Rows rows;
    load_rows(s, at, maps.own_value, s.value_channels, start, rows);
    cp_async_wait<1>();
    __syncthreads();
    add_products<P, T>(at, rows, buffer(chunk), products);
    if constexpr (KEYS) {
      ARSEG_UNROLL
      for (int c = 0; c < P::kVectors; c += 2) {  // a few at a time, beside all the products
        float sums[2][4];
        weighted_sum<P, T>(at, weights, buffer(chunk), c, sums);
        store_rows<P, T>(s, at, sums, 1.0f, 1.0f, nullptr, maps.grad_value, s.value_channels, start + 8 * c);
      }
    }
    if (count.keys + count.values > 2) __syncthreads();
    fetch(chunk + 2);
  }

  // Gradients of the logits.
  {
    const auto at = here();
    float delta[2] = {0.0f, 0.0f};
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        ARSEG_UNROLL
        for (int i = 0; i < P::kColumns; ++i) {
          const float2 probability = unpack<T>(weights[i][half]);
          // Pairs outside the window have probability 0, but their product may be Inf or NaN.
          delta[half] += probability.x == 0.0f ? 0.0f : probability.x * products[i][2 * half];
          delta[half] += probability.y == 0.0f ? 0.0f : probability.y * products[i][2 * half + 1];
        }
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 1);
        delta[half] += __shfl_xor_sync(kAllLanes, delta[half], 2);
        if (at.quad_lane == 0 && at.inside(s, half)) a.delta[s.pixel(n, at.y(half), at.x())] = delta[half];
      }
    }
    ARSEG_UNROLL
    for (int i = 0; i < P::kColumns; ++i) {
      float deltas[2][2] = {{delta[0], delta[0]}, {delta[1], delta[1]}};
      if constexpr (KEYS) {
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) {
          deltas[0][e] = deltas[1][e] = sums_of[at.halo(i / 2, at.column(i, e))].delta;
        }
      }
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float2 probability = unpack<T>(weights[i][half]);
        const float first = products[i][2 * half] - deltas[half][0];
        const float second = products[i][2 * half + 1] - deltas[half][1];
        weights[i][half] = pack<T>(probability.x == 0.0f ? 0.0f : probability.x * first,
                                   probability.y == 0.0f ? 0.0f : probability.y * second);
      }
    }
  }

  ARSEG_NO_UNROLL
  for (int chunk = count.keys + count.values; chunk < 2 * count.keys + count.values; ++chunk) {
    const auto at = here();
    cp_async_wait<1>();
    __syncthreads();
    typename P::Sums sums;
    weighted_sum<P, T>(at, weights, buffer(chunk), 0, sums);
    store_rows<P, T>(s, at, sums, a.scale, a.scale, nullptr, maps.grad, s.channels,
                     (chunk - count.keys - count.values) * CHUNK);
    if (chunk + 2 < 2 * count.keys + count.values) __syncthreads();
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
