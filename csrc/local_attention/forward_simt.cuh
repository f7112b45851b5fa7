// Attention of a window for float32, without tensor cores: the pieces that forward and backward are made of, and the
// forward.
//
// A block works on a tile of 16 x 16 pixels; a thread has one or two of them, one below the other, and keeps the
// window's logits in registers. The other map's tile passes through shared memory in chunks of 8 channels, and each
// vector read from there serves both pixels.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// WINDOW: side of the window, at most kMaxTiledWindow. PIXELS: of a thread.
template <int WINDOW, int PIXELS>
struct SimtTile {
  using Traits = AttentionTraits::Simt;
  static constexpr int kHeight = Traits::kTileHeight, kWidth = Traits::kTileWidth;
  static constexpr int kPixels = PIXELS, kThreads = Traits::threads(PIXELS);
  static constexpr int kRadius = WINDOW / 2, kKeys = WINDOW * WINDOW;
  static constexpr int kHaloHeight = kHeight + WINDOW - 1, kHaloWidth = kWidth + WINDOW - 1;
  static constexpr int kHaloPixels = kHaloHeight * kHaloWidth;
  static constexpr int kChunk = Traits::kChunk, kVectors = kChunk / 4;  // channels, and vectors of them
  static constexpr int kChunkVectors = kHaloPixels * kVectors;
  static constexpr int kChunkBytes = kChunkVectors * 16;

  int tile_y, tile_x;
  int row, column;  // of the thread's first pixel in the tile
  int64_t batch;

  ARSEG_DEVICE explicit SimtTile(int64_t n) : batch(n) {
    tile_y = static_cast<int>(blockIdx.y) * kHeight;
    tile_x = static_cast<int>(blockIdx.x) * kWidth;
    row = static_cast<int>(threadIdx.x) / kWidth * PIXELS;
    column = static_cast<int>(threadIdx.x) % kWidth;
  }

  ARSEG_DEVICE int y(int pixel) const { return tile_y + row + pixel; }
  ARSEG_DEVICE int x() const { return tile_x + column; }
  ARSEG_DEVICE bool inside(const AttentionShape& shape, int pixel) const {
    return y(pixel) < shape.height && x() < shape.width;
  }
};

// Begins to copy channels [start, start + kChunk) of the halo to shared memory, [vector][halo pixel]; 0 outside the
// image and past `channels`.
template <typename P>
ARSEG_DEVICE void copy_tile(const AttentionShape& shape, const P& at, const float* map, int channels, int start,
                            uint4* to) {
  ARSEG_NO_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < P::kChunkVectors; i += P::kThreads) {
    const int halo = i / P::kVectors, v = i % P::kVectors;
    const int y = at.tile_y + halo / P::kHaloWidth - P::kRadius, x = at.tile_x + halo % P::kHaloWidth - P::kRadius;
    const bool valid = shape.in_bounds(y, x) && start + 4 * v < channels;
    const float* from = valid ? map + shape.pixel(at.batch, y, x) * channels + start + 4 * v : map;
    cp_async16(to + v * P::kHaloPixels + halo, from, valid);
  }
}

// Calls use(pixel, key, values) for the thread's pixels and the keys of their windows, with one vector of the key.
template <int WINDOW, typename P, typename F>
ARSEG_DEVICE void for_keys(const P& at, const uint4* vectors, F&& use) {
  const uint4* corner = vectors + at.row * P::kHaloWidth + at.column;
  ARSEG_UNROLL
  for (int down = 0; down < WINDOW + P::kPixels - 1; ++down) {
    ARSEG_UNROLL
    for (int right = 0; right < WINDOW; ++right) {
      float values[4];
      load_vector(reinterpret_cast<const float*>(corner + down * P::kHaloWidth + right), values);
      ARSEG_UNROLL
      for (int pixel = 0; pixel < P::kPixels; ++pixel) {
        if (down >= pixel && down < pixel + WINDOW) use(pixel, (down - pixel) * WINDOW + right, values);
      }
    }
  }
}

// products[pixel][key] += own[pixel] . key, over one chunk. own: a map, read from global memory.
template <int WINDOW, typename P>
ARSEG_DEVICE void add_dots(const AttentionShape& shape, const P& at, const float* own, int channels, int start,
                           const uint4* chunk, float (&products)[P::kPixels][P::kKeys]) {
  ARSEG_UNROLL
  for (int v = 0; v < P::kVectors; ++v) {
    float mine[P::kPixels][4];
    ARSEG_UNROLL
    for (int pixel = 0; pixel < P::kPixels; ++pixel) {
      mine[pixel][0] = mine[pixel][1] = mine[pixel][2] = mine[pixel][3] = 0.0f;
      if (at.inside(shape, pixel) && start + 4 * v < channels) {
        load_vector(own + shape.pixel(at.batch, at.y(pixel), at.x()) * channels + start + 4 * v, mine[pixel]);
      }
    }
    for_keys<WINDOW>(at, chunk + v * P::kHaloPixels, [&](int pixel, int key, const float (&values)[4]) {
      ARSEG_UNROLL
      for (int e = 0; e < 4; ++e) products[pixel][key] += mine[pixel][e] * values[e];
    });
  }
}

// The sum over keys of weight times value, times factor (+ residual), to the thread's own pixels of a map.
template <int WINDOW, typename P>
ARSEG_DEVICE void store_weighted(const AttentionShape& shape, const P& at, const float (&weights)[P::kPixels][P::kKeys],
                                 const uint4* chunk, const float (&factor)[P::kPixels], const float* residual,
                                 float* map, int channels, int start) {
  ARSEG_UNROLL
  for (int v = 0; v < P::kVectors; ++v) {
    float sums[P::kPixels][4];
    ARSEG_UNROLL
    for (int pixel = 0; pixel < P::kPixels; ++pixel) {
      sums[pixel][0] = sums[pixel][1] = sums[pixel][2] = sums[pixel][3] = 0.0f;
    }
    for_keys<WINDOW>(at, chunk + v * P::kHaloPixels, [&](int pixel, int key, const float (&values)[4]) {
      ARSEG_UNROLL
      for (int e = 0; e < 4; ++e) sums[pixel][e] += weights[pixel][key] * values[e];
    });
    ARSEG_UNROLL
    for (int pixel = 0; pixel < P::kPixels; ++pixel) {
      if (!at.inside(shape, pixel) || start + 4 * v >= channels) continue;
      const int64_t to = shape.pixel(at.batch, at.y(pixel), at.x()) * channels + start + 4 * v;
      float more[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      if (residual) load_vector(residual + to, more);
      ARSEG_UNROLL
      for (int e = 0; e < 4; ++e) sums[pixel][e] = sums[pixel][e] * factor[pixel] + more[e];
      store_vector(map + to, sums[pixel]);
    }
  }
}

template <typename P>
dim3 tile_grid(const AttentionShape& shape) {
  return dim3(static_cast<unsigned>((shape.width + P::kWidth - 1) / P::kWidth),
              static_cast<unsigned>((shape.height + P::kHeight - 1) / P::kHeight), static_cast<unsigned>(shape.batch));
}

// --- forward --------------------------------------------------------------------------------------------------------

// As in forward_mma.cuh: chunks of the keys, then of the values, pass through two buffers.
template <int WINDOW, int PIXELS>
__global__ void __launch_bounds__(AttentionTraits::Simt::threads(PIXELS))
    attention_forward_simt(AttentionParams<float> a) {
  using P = SimtTile<WINDOW, PIXELS>;
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
    cp_async_commit();
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
    cp_async_wait<1>();
    __syncthreads();
    add_dots<WINDOW>(s, at, a.query, s.channels, chunk * P::kChunk, buffer(chunk), weights);
    if (chunk + 2 < chunks) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }

  float factor[PIXELS];
  ARSEG_UNROLL
  for (int pixel = 0; pixel < PIXELS; ++pixel) {
    float row_max = -INFINITY, row_sum = 0.0f;
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) {
      const int y = at.y(pixel) + key / WINDOW - P::kRadius, x = at.x() + key % WINDOW - P::kRadius;
      const float logit = weights[pixel][key] * (a.scale * kLog2E);
      weights[pixel][key] = s.masked && !s.in_bounds(y, x) ? -INFINITY : logit;
      row_max = fmaxf(row_max, weights[pixel][key]);
    }
    ARSEG_UNROLL
    for (int key = 0; key < P::kKeys; ++key) {
      weights[pixel][key] = exp2_fast(weights[pixel][key] - row_max);
      row_sum += weights[pixel][key];
    }
    factor[pixel] = 1.0f / row_sum;
    if (a.logsumexp && at.inside(s, pixel)) {
      a.logsumexp[s.pixel(at.batch, at.y(pixel), at.x())] = row_max * kLn2 + logf(row_sum);
    }
  }

  ARSEG_NO_UNROLL
  for (int chunk = key_chunks; chunk < chunks; ++chunk) {
    cp_async_wait<1>();
    __syncthreads();
    store_weighted<WINDOW>(s, at, weights, buffer(chunk), factor, a.residual, a.out, s.value_channels,
                           (chunk - key_chunks) * P::kChunk);
    if (chunk + 2 < chunks) __syncthreads();
    fetch(chunk + 2);
  }
}

template <int WINDOW>
void launch_forward_simt(const AttentionParams<float>& a, void* stream) {
  constexpr int kPixels = AttentionTraits::Simt::forward_pixels(WINDOW);
  using P = SimtTile<WINDOW, kPixels>;
  const auto kernel = attention_forward_simt<WINDOW, kPixels>;
  ARSEG_LAUNCH(kernel, tile_grid<P>(a.shape), dim3(P::kThreads), 2 * P::kChunkBytes, stream, a);
}

}  // namespace arseg::gpu
