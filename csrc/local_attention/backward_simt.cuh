// Attention backward for float32, on the tiles of forward_simt.cuh. As in backward_mma.cuh one kernel serves
// twice: for queries over the keys of their window, and for keys over the queries whose window in_bounds them.
#pragma once

#include "forward_simt.cuh"

namespace arseg::gpu {

template <int WINDOW, bool KEYS>
__global__ void __launch_bounds__(AttentionTraits::Simt::threads(AttentionTraits::Simt::kBackwardPixels), 1)
    attention_backward_simt(AttentionBackwardParams<float> a, BackwardPassParams<float> maps) {
  using P = SimtTile<WINDOW, AttentionTraits::Simt::kBackwardPixels>;
  ARSEG_SHARED(shared);
  uint4* buffers = reinterpret_cast<uint4*>(shared);
  const AttentionShape& s = a.shape;
  const int key_chunks = (s.channels + P::kChunk - 1) / P::kChunk;
  const int first_chunks = key_chunks + (s.value_channels + P::kChunk - 1) / P::kChunk;
  const int chunks = first_chunks + key_chunks;
  const P at(blockIdx.z);
  const bool inside = at.inside(s, 0);
  const int64_t own = s.pixel(at.batch, at.y(0), at.x());
  const auto buffer = [&](int chunk) { return buffers + chunk % 2 * P::kChunkVectors; };
  // Chunks of `other`, of `other_value`, and of `other` again.
  const auto fetch = [&](int chunk) {
    if (chunk >= key_chunks && chunk < first_chunks) {
      copy_tile(s, at, maps.other_value, s.value_channels, (chunk - key_chunks) * P::kChunk, buffer(chunk));
    } else if (chunk < chunks) {
      const int start = (chunk < key_chunks ? chunk : chunk - first_chunks) * P::kChunk;
      copy_tile(s, at, maps.other, s.channels, start, buffer(chunk));
    }
    cp_async_commit();
  };
  fetch(0);
  fetch(1);
  float weights[1][P::kKeys], gradients[1][P::kKeys];
  ARSEG_UNROLL
  for (int key = 0; key < P::kKeys; ++key) weights[0][key] = gradients[0][key] = 0.0f;
  ARSEG_NO_UNROLL
  for (int chunk = 0; chunk < key_chunks; ++chunk) {
    cp_async_wait<1>();
    __syncthreads();
    add_dots<WINDOW>(s, at, maps.own, s.channels, chunk * P::kChunk, buffer(chunk), weights);
    __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }

  // Probabilities. Keys outside have value 0, so that nothing is lost by leaving them out, in both modes.
  int top = optimization_barrier(at.y(0)) - P::kRadius, left = optimization_barrier(at.x()) - P::kRadius;
  ARSEG_UNROLL
  for (int key = 0; key < P::kKeys; ++key) {
    const int y = top + key / WINDOW, x = left + key % WINDOW;
    float probability = 0.0f;
    if (inside && s.in_bounds(y, x)) {
      const float logsumexp = a.logsumexp[KEYS ? s.pixel(at.batch, y, x) : own];
      probability = exp2_fast((weights[0][key] * a.scale - logsumexp) * kLog2E);
    }
    weights[0][key] = probability;
  }

  const float one[1] = {1.0f}, scale[1] = {a.scale};
  ARSEG_NO_UNROLL
  for (int chunk = key_chunks; chunk < first_chunks; ++chunk) {
    const int start = (chunk - key_chunks) * P::kChunk;
    cp_async_wait<1>();
    __syncthreads();
    add_dots<WINDOW>(s, at, maps.own_value, s.value_channels, start, buffer(chunk), gradients);
    if constexpr (KEYS) {
      // Read again from shared memory, not kept in registers since the products.
      const uint4* again = buffer(chunk) + optimization_barrier(0);
      store_weighted<WINDOW>(s, at, weights, again, one, nullptr, maps.grad_value, s.value_channels, start);
    }
    __syncthreads();
    fetch(chunk + 2);
  }

  // Gradients of the logits.
  float delta = 0.0f;
  if constexpr (!KEYS) {
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) delta += weights[0][key] * gradients[0][key];
    if (inside) a.delta[own] = delta;
  }
  // Places of keys are worked out again, not kept in registers since the probabilities.
  top = optimization_barrier(at.y(0)) - P::kRadius;
  left = optimization_barrier(at.x()) - P::kRadius;
  ARSEG_UNROLL
  for (int key = 0; key < P::kKeys; ++key) {
    if constexpr (KEYS) {
      const int y = top + key / WINDOW, x = left + key % WINDOW;
      delta = inside && s.in_bounds(y, x) ? a.delta[s.pixel(at.batch, y, x)] : 0.0f;
    }
    weights[0][key] *= gradients[0][key] - delta;
  }

  ARSEG_NO_UNROLL
  for (int chunk = first_chunks; chunk < chunks; ++chunk) {
    cp_async_wait<1>();
    __syncthreads();
    store_weighted<WINDOW>(s, at, weights, buffer(chunk), scale, nullptr, maps.grad, s.channels,
                           (chunk - first_chunks) * P::kChunk);
    if (chunk + 2 < chunks) __syncthreads();
    fetch(chunk + 2);
  }
}

template <int WINDOW>
void launch_backward_simt(const AttentionBackwardParams<float>& a, void* stream) {
  using P = SimtTile<WINDOW, AttentionTraits::Simt::kBackwardPixels>;
  const dim3 grid = tile_grid<P>(a.shape), block(P::kThreads);
  const auto of_queries = attention_backward_simt<WINDOW, false>;
  ARSEG_LAUNCH(of_queries, grid, block, 2 * P::kChunkBytes, stream, a, query_pass(a));
  const auto of_keys = attention_backward_simt<WINDOW, true>;
  ARSEG_LAUNCH(of_keys, grid, block, 2 * P::kChunkBytes, stream, a, key_pass(a));
}

}  // namespace arseg::gpu
