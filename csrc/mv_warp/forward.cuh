// The warps on CUDA: mv_warp and flow_warp differ in where a pixel's displacement comes from, see sampling.cuh.
//
// Maps are dense channels-last, [N, H, W, C] with C a whole number of vectors of 16 bytes. A group of threads shares a
// pixel, each with two of its vectors of channels at a time: where a pixel comes from is worked out half as often.
#pragma once

#include "sampling.cuh"

namespace arseg::gpu {

// Threads that share a pixel: a power of two, at most a warp, so that a group is never in two warps.
template <typename T>
int threads_per_pixel(int channels) {
  int threads = 1;
  while (threads < WarpTraits::kMaxThreadsOfPixel && threads * WarpTraits::kVectorsOfThread * kVector<T> < channels)
    threads *= 2;
  return threads;
}

struct PixelGrid {
  dim3 grid, block;
};

// Blocks of pixels; rows and images beyond the grid are looped over. A warp's pixels are in one row.
template <typename T>
PixelGrid pixel_grid(int64_t batch, int height, int width, int channels) {
  const int threads = threads_per_pixel<T>(channels);
  const int pixels = WarpTraits::kThreads / threads, rows = WarpTraits::tile_rows(pixels), columns = pixels / rows;
  return {dim3(static_cast<unsigned>(ceil_div(width, columns)), blocks_for(height, rows, kMaxGridRows),
               blocks_for(batch, 1, kMaxGridRows)),
          dim3(static_cast<unsigned>(threads), static_cast<unsigned>(pixels))};
}

// Calls run(n, y, x) for this thread's pixels, those with x from `width` on among them.
template <typename F>
ARSEG_DEVICE void for_pixels(int64_t batch, int height, F&& run) {
  const int pixels = static_cast<int>(blockDim.y), rows = WarpTraits::tile_rows(pixels), columns = pixels / rows;
  const int pixel = static_cast<int>(threadIdx.y);
  const int x = static_cast<int>(blockIdx.x) * columns + pixel % columns;
  for (int64_t n = blockIdx.z; n < batch; n += gridDim.z) {
    for (int y = static_cast<int>(blockIdx.y) * rows + pixel / columns; y < height;
         y += static_cast<int>(gridDim.y) * rows) {
      run(n, y, x);
    }
  }
}

// Calls run(c, step) for this thread's channels: those of WarpTraits::kVectorsOfThread vectors, the first from c on and
// each `step` after the one before.
template <typename T, typename F>
ARSEG_DEVICE void for_channels(int channels, F&& run) {
  const int step = static_cast<int>(blockDim.x) * kVector<T>;
  for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < channels; c += WarpTraits::kVectorsOfThread * step)
    run(c, step);
}

// Stores what for_channels gave; nothing past `channels`.
template <typename T>
ARSEG_DEVICE void store_vectors(T* to, int channels, int c, int step,
                                const accumulator<T> (&values)[WarpTraits::kVectorsOfThread][kVector<T>]) {
  ARSEG_UNROLL
  for (int k = 0; k < WarpTraits::kVectorsOfThread; ++k) {
    if (c + k * step < channels) store_vector(to + c + k * step, values[k]);
  }
}

template <typename T>
__global__ void __launch_bounds__(WarpTraits::kThreads) warp_forward(WarpParams<T> a) {
  const int64_t plane = static_cast<int64_t>(a.motion.height) * a.motion.width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    if (x >= a.motion.width) return;
    const auto taps = taps_of<accumulator<T>>(a.motion, n, y, x);
    const T* image = a.feature + n * a.feature_stride;
    T* to = a.out + (n * plane + static_cast<int64_t>(y) * a.motion.width + x) * a.channels;
    for_channels<T>(a.channels, [&](int c, int step) {
      accumulator<T> sums[WarpTraits::kVectorsOfThread][kVector<T>];
      sample_vectors(image, a.motion.width, a.channels, c, step, taps, sums);
      store_vectors(to, a.channels, c, step, sums);
    });
  });
}

template <typename T>
void launch_warp(const WarpParams<T>& a, void* stream) {
  const PixelGrid g = pixel_grid<T>(a.batch, a.motion.height, a.motion.width, a.channels);
  ARSEG_LAUNCH(warp_forward<T>, g.grid, g.block, 0, stream, a);
}

}  // namespace arseg::gpu
