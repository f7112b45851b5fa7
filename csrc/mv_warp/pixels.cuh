// How the warps share out their work: a group of threads a pixel, blocks of pixels in up to four rows.
#pragma once

#include <algorithm>

#include "sampling.cuh"

namespace arseg::gpu {

template <typename T>
struct WarpArguments {
  const T* feature;  // forward: what is warped; backward: the gradient of the result
  T* out;            // forward: the result; backward: the gradient of what was warped
  int64_t batch;
  int channels;
  Motion motion;
};

constexpr int kWarpThreads = 256;
constexpr int kMostGridRows = 65535;

// Vectors of channels that a thread has at a time.
constexpr int kVectorsOfThread = 2;

// Threads that share a pixel: a power of two, at most a warp, so that a group is never in two warps.
template <typename T>
int threads_per_pixel(int channels) {
  int threads = 1;
  while (threads < 32 && threads * kVectorsOfThread * kVector<T> < channels) threads *= 2;
  return threads;
}

struct PixelGrid {
  dim3 grid, block;
};

// Pixels of a block lie in up to four rows, whose taps share lines of the first-level cache.
constexpr ARSEG_HD int tile_rows(int pixels) { return pixels >= 16 ? 4 : 1; }

// Blocks of pixels; rows and images beyond the grid are looped over. A warp's pixels are in one row.
template <typename T>
PixelGrid pixel_grid(int64_t batch, int height, int width, int channels) {
  const int threads = threads_per_pixel<T>(channels);
  const int pixels = kWarpThreads / threads, rows = tile_rows(pixels), columns = pixels / rows;
  return {dim3(static_cast<unsigned>((width + columns - 1) / columns),
               static_cast<unsigned>(std::min((height + rows - 1) / rows, kMostGridRows)),
               static_cast<unsigned>(std::min<int64_t>(batch, kMostGridRows))),
          dim3(static_cast<unsigned>(threads), static_cast<unsigned>(pixels))};
}

// Calls run(n, y, x) for this thread's pixels, those with x from `width` on among them.
template <typename F>
ARSEG_DEVICE void for_pixels(int64_t batch, int height, F&& run) {
  const int pixels = static_cast<int>(blockDim.y), rows = tile_rows(pixels), columns = pixels / rows;
  const int pixel = static_cast<int>(threadIdx.y);
  const int x = static_cast<int>(blockIdx.x) * columns + pixel % columns;
  for (int64_t n = blockIdx.z; n < batch; n += gridDim.z) {
    for (int y = static_cast<int>(blockIdx.y) * rows + pixel / columns; y < height;
         y += static_cast<int>(gridDim.y) * rows) {
      run(n, y, x);
    }
  }
}

// Calls run(c, step) for this thread's channels: those of kVectorsOfThread vectors, the first from c on and each `step`
// after the one before.
template <typename T, typename F>
ARSEG_DEVICE void for_channels(int channels, F&& run) {
  const int step = static_cast<int>(blockDim.x) * kVector<T>;
  for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < channels; c += kVectorsOfThread * step) run(c, step);
}

// Stores what for_channels gave; nothing past `channels`.
template <typename T>
ARSEG_DEVICE void store_vectors(T* to, int channels, int c, int step,
                                const accumulator<T> (&values)[kVectorsOfThread][kVector<T>]) {
  ARSEG_UNROLL
  for (int k = 0; k < kVectorsOfThread; ++k) {
    if (c + k * step < channels) store_vector(to + c + k * step, values[k]);
  }
}

}  // namespace arseg::gpu
