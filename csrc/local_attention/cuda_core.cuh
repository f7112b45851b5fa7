// Attention of a window on CUDA cores, for float32: the pieces that forward and backward are made of.
//
// A block works on a tile of 16 x 16 pixels; a thread has one or two of them, one below the other, and keeps the
// window's logits in registers. The other map's tile passes through shared memory in chunks of 8 channels, and each
// vector read from there serves both pixels.
#pragma once

#include "arguments.cuh"

namespace arseg::gpu {

// WINDOW: side of the window, at most 9. PIXELS: of a thread.
template <int WINDOW, int PIXELS>
struct Tile {
  static constexpr int kHeight = 16, kWidth = 16, kPixels = PIXELS, kThreads = kHeight * kWidth / PIXELS;
  static constexpr int kRadius = WINDOW / 2, kKeys = WINDOW * WINDOW;
  static constexpr int kHaloHeight = kHeight + WINDOW - 1, kHaloWidth = kWidth + WINDOW - 1;
  static constexpr int kHaloPixels = kHaloHeight * kHaloWidth;
  static constexpr int kVectors = 2, kChunk = 4 * kVectors;  // channels
  static constexpr int kChunkVectors = kHaloPixels * kVectors;
  static constexpr int kChunkBytes = kChunkVectors * 16;

  int tile_y, tile_x;
  int row, column;  // of the thread's first pixel in the tile
  int64_t batch;

  ARSEG_DEVICE explicit Tile(int64_t n) : batch(n) {
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
    const bool valid = shape.holds(y, x) && start + 4 * v < channels;
    const float* from = valid ? map + shape.pixel(at.batch, y, x) * channels + start + 4 * v : map;
    copy_async16(to + v * P::kHaloPixels + halo, from, valid);
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

}  // namespace arseg::gpu
