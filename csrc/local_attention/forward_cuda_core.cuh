// Attention forward for float32, on the tiles of cuda_core.cuh.
#pragma once

#include "cuda_core.cuh"

namespace arseg::gpu {

// As in forward_tensor_core.cuh: chunks of the keys, then of the values, pass through two buffers.
template <int WINDOW, int PIXELS>
__global__ void __launch_bounds__(256 / PIXELS) attention_forward_cuda_core(AttentionArguments<float> a) {
  using P = Tile<WINDOW, PIXELS>;
  ARSEG_SHARED(shared);
  uint4* buffers = reinterpret_cast<uint4*>(shared);
  const AttentionShape& s = a.shape;
  const int key_chunks = (s.channels + P::kChunk - 1) / P::kChunk;
  const int chunks = key_chunks + (s.value_channels + P::kChunk - 1) / P::kChunk;
  const P at(blockIdx.z);
  const auto buffer = [&](int chunk) { return buffers + chunk % 2 * P::kChunkVectors; };
  const auto fetch = [&](int chunk) {
    if (chunk < key_chunks) {
      copy_tile(s, at, a.key, s.channels, chunk * P::kChunk, buffer(chunk));
    } else if (chunk < chunks) {
      copy_tile(s, at, a.value, s.value_channels, (chunk - key_chunks) * P::kChunk, buffer(chunk));
    }
    commit_copies();
  };
  fetch(0);
  fetch(1);
  float weights[PIXELS][P::kKeys];
  ARSEG_UNROLL
  for (int pixel = 0; pixel < PIXELS; ++pixel) {
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) weights[pixel][key] = 0.0f;
  }
  ARSEG_NO_UNROLL
  for (int chunk = 0; chunk < key_chunks; ++chunk) {
    wait_copies<1>();
    __syncthreads();
    add_dots<WINDOW>(s, at, a.query, s.channels, chunk * P::kChunk, buffer(chunk), weights);
    if (chunk + 2 < chunks) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }

  float factor[PIXELS];
  ARSEG_UNROLL
  for (int pixel = 0; pixel < PIXELS; ++pixel) {
    float most = -INFINITY, total = 0.0f;
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) {
      const int y = at.y(pixel) + key / WINDOW - P::kRadius, x = at.x() + key % WINDOW - P::kRadius;
      const float logit = weights[pixel][key] * (a.scale * kLog2E);
      weights[pixel][key] = s.masked && !s.holds(y, x) ? -INFINITY : logit;
      most = fmaxf(most, weights[pixel][key]);
    }
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) {
      weights[pixel][key] = exp2_fast(weights[pixel][key] - most);
      total += weights[pixel][key];
    }
    factor[pixel] = 1.0f / total;
    if (a.logsumexp && at.inside(s, pixel)) {
      a.logsumexp[s.pixel(at.batch, at.y(pixel), at.x())] = most * kLn2 + logf(total);
    }
  }

  ARSEG_NO_UNROLL
  for (int chunk = key_chunks; chunk < chunks; ++chunk) {
    wait_copies<1>();
    __syncthreads();
    store_weighted<WINDOW>(s, at, weights, buffer(chunk), factor, a.residual, a.out, s.value_channels,
                           (chunk - key_chunks) * P::kChunk);
    if (chunk + 2 < chunks) __syncthreads();
    fetch(chunk + 2);
  }
}

template <int WINDOW>
void launch_forward_cuda_core(const AttentionArguments<float>& a, void* stream) {
  constexpr int kPixels = WINDOW <= 7 ? 2 : 1;
  using P = Tile<WINDOW, kPixels>;
  const auto kernel = attention_forward_cuda_core<WINDOW, kPixels>;
  ARSEG_LAUNCH(kernel, tile_grid<P>(a.shape), dim3(P::kThreads), 2 * P::kChunkBytes, stream, a);
}

}  // namespace arseg::gpu
