// The warps on CUDA: mv_warp and flow_warp differ in where a pixel's displacement comes from, see sampling.cuh.
//
// Maps are dense channels-last, [N, H, W, C] with C a whole number of vectors of 16 bytes. A group of threads shares a
// pixel, each with some of its vectors of channels.
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

// Threads that share a pixel: a power of two, at most a warp, so that a group is never in two warps.
template <typename T>
int threads_per_pixel(int channels) {
  int threads = 1;
  while (threads < 32 && threads * kVector<T> < channels) threads *= 2;
  return threads;
}

struct PixelGrid {
  dim3 grid, block;
};

// Blocks of pixels of one row; rows and images beyond the grid are looped over.
template <typename T>
PixelGrid pixel_grid(int64_t batch, int height, int width, int channels) {
  const int threads = threads_per_pixel<T>(channels);
  const int pixels = kWarpThreads / threads;
  return {
      dim3(static_cast<unsigned>((width + pixels - 1) / pixels), static_cast<unsigned>(std::min(height, kMostGridRows)),
           static_cast<unsigned>(std::min<int64_t>(batch, kMostGridRows))),
      dim3(static_cast<unsigned>(threads), static_cast<unsigned>(pixels))};
}

// Calls run(n, y) for the rows of this block.
template <typename F>
ARSEG_DEVICE void for_rows(int64_t batch, int height, F&& run) {
  for (int64_t n = blockIdx.z; n < batch; n += gridDim.z) {
    for (int y = static_cast<int>(blockIdx.y); y < height; y += static_cast<int>(gridDim.y)) run(n, y);
  }
}

template <typename T>
__global__ void __launch_bounds__(kWarpThreads) warp_forward(WarpArguments<T> a) {
  const int x = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  if (x >= a.motion.width) return;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * a.motion.width;
  for_rows(a.batch, a.motion.height, [&](int64_t n, int y) {
    const auto taps = taps_of<accumulator<T>>(a.motion, n, y, x);
    const T* image = a.feature + n * plane * a.channels;
    T* to = a.out + (n * plane + static_cast<int64_t>(y) * a.motion.width + x) * a.channels;
    for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < a.channels;
         c += static_cast<int>(blockDim.x) * kVector<T>) {
      accumulator<T> sum[kVector<T>];
      sample_vector(image, a.channels, c, taps, sum);
      store_vector(to + c, sum);
    }
  });
}

template <typename T>
void launch_warp(const WarpArguments<T>& a, void* stream) {
  const PixelGrid g = pixel_grid<T>(a.batch, a.motion.height, a.motion.width, a.channels);
  ARSEG_LAUNCH(warp_forward<T>, g.grid, g.block, 0, stream, a);
}

// --- the gradient of the feature ------------------------------------------------------------------------------------
//
// The forward gathers, so its transpose scatters; sums by float atomics would come in another order each time. Instead
// each pixel of the feature gets a list of the taps that read it, put in order before it is added up: the same bits
// every time, at the price of one integer exchange a tap.

// heads: [N, H, W], next: [N, H, W, 4]. An entry is 4 * (y * W + x) + tap of a pixel of the result; -1 ends a list.
struct TapLists {
  int32_t* heads;
  int32_t* next;
};

template <typename A>
__global__ void __launch_bounds__(kWarpThreads) link_taps(Motion motion, int64_t batch, TapLists lists) {
  const int x = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  if (x >= motion.width) return;
  const int64_t plane = static_cast<int64_t>(motion.height) * motion.width;
  for_rows(batch, motion.height, [&](int64_t n, int y) {
    const auto taps = taps_of<A>(motion, n, y, x);
    const int64_t pixel = static_cast<int64_t>(y) * motion.width + x;
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (!taps.used(i)) continue;
      const int32_t entry = static_cast<int32_t>(4 * pixel + i);
      lists.next[n * 4 * plane + entry] = atomicExch(lists.heads + n * plane + taps.pixel[i], entry);
    }
  });
}

// Two ordered lists as one.
ARSEG_DEVICE int32_t merge_lists(int32_t* next, int32_t a, int32_t b) {
  int32_t head = -1, tail = -1;
  while (a >= 0 && b >= 0) {
    int32_t& least = a < b ? a : b;
    const int32_t entry = least;
    least = next[entry];
    if (tail >= 0) {
      next[tail] = entry;
    } else {
      head = entry;
    }
    tail = entry;
  }
  const int32_t rest = a >= 0 ? a : b;
  if (tail < 0) return rest;
  next[tail] = rest;
  return head;
}

// Merge sort: runs[i] is empty or an ordered list of 2^i entries, as the digits of a binary counter.
ARSEG_DEVICE int32_t sort_list(int32_t* next, int32_t entry) {
  constexpr int kRuns = 32;
  int32_t runs[kRuns];
  for (int i = 0; i < kRuns; ++i) runs[i] = -1;
  while (entry >= 0) {
    const int32_t following = next[entry];
    next[entry] = -1;
    int i = 0;
    while (runs[i] >= 0) {
      entry = merge_lists(next, runs[i], entry);
      runs[i++] = -1;
    }
    runs[i] = entry;
    entry = following;
  }
  int32_t sorted = -1;
  for (int i = 0; i < kRuns; ++i) {
    if (runs[i] >= 0) sorted = merge_lists(next, runs[i], sorted);
  }
  return sorted;
}

// One thread a list.
static __global__ void __launch_bounds__(kWarpThreads)
    sort_taps(int64_t pixels_of_image, int64_t count, TapLists lists) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int32_t head = lists.heads[i];
    if (head < 0) continue;
    int32_t* next = lists.next + i / pixels_of_image * 4 * pixels_of_image;
    // Most lists of smooth motion have up to four entries, and many one.
    if (next[head] >= 0) lists.heads[i] = sort_list(next, head);
  }
}

// feature: the gradient of the result. out: the gradient of the feature.
template <typename T>
__global__ void __launch_bounds__(kWarpThreads) gather_taps(WarpArguments<T> a, TapLists lists) {
  using A = accumulator<T>;
  const int x = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  const int width = a.motion.width;
  if (x >= width) return;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  for_rows(a.batch, a.motion.height, [&](int64_t n, int y) {
    const int64_t pixel = n * plane + static_cast<int64_t>(y) * width + x;
    const int32_t* next = lists.next + n * 4 * plane;
    const T* grad = a.feature + n * plane * a.channels;
    for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < a.channels;
         c += static_cast<int>(blockDim.x) * kVector<T>) {
      A sum[kVector<T>];
      ARSEG_UNROLL
      for (int e = 0; e < kVector<T>; ++e) sum[e] = A(0);
      for (int32_t entry = lists.heads[pixel]; entry >= 0; entry = next[entry]) {
        const int from = entry / 4;
        const auto taps = taps_of<A>(a.motion, n, from / width, from % width);
        A weight = A(0);
        ARSEG_UNROLL
        for (int i = 0; i < 4; ++i) weight = entry % 4 == i ? taps.weight[i] : weight;  // stays in registers
        A values[kVector<T>];
        load_vector(grad + static_cast<int64_t>(from) * a.channels + c, values);
        ARSEG_UNROLL
        for (int e = 0; e < kVector<T>; ++e) sum[e] += weight * values[e];
      }
      store_vector(a.out + pixel * a.channels + c, sum);
    }
  });
}

// lists.heads must be -1 everywhere. 4 * H * W fits 31 bits.
template <typename T>
void launch_warp_backward(const WarpArguments<T>& a, const TapLists& lists, void* stream) {
  using A = accumulator<T>;
  const Motion& m = a.motion;
  const PixelGrid one = pixel_grid<T>(a.batch, m.height, m.width, 1);
  ARSEG_LAUNCH(link_taps<A>, one.grid, one.block, 0, stream, m, a.batch, lists);
  const int64_t plane = static_cast<int64_t>(m.height) * m.width;
  const int64_t count = a.batch * plane;
  const dim3 blocks(static_cast<unsigned>(std::min<int64_t>((count + kWarpThreads - 1) / kWarpThreads, 1 << 20)));
  ARSEG_LAUNCH(sort_taps, blocks, dim3(kWarpThreads), 0, stream, plane, count, lists);
  const PixelGrid g = pixel_grid<T>(a.batch, m.height, m.width, a.channels);
  ARSEG_LAUNCH(gather_taps<T>, g.grid, g.block, 0, stream, a, lists);
}

// --- the gradient of the flow ---------------------------------------------------------------------------------------

template <typename T, typename F>
struct FlowGradientArguments {
  const T* grad;
  const T* feature;
  F* out;  // [N, H, W, 2]
  int64_t batch;
  int channels;
  Motion motion;
};

template <typename T, typename F>
__global__ void __launch_bounds__(kWarpThreads) flow_gradient(FlowGradientArguments<T, F> a) {
  using A = accumulator<T>;
  const int x = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  const int width = a.motion.width;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  const bool inside = x < width;  // all threads take part in the shuffles
  for_rows(a.batch, a.motion.height, [&](int64_t n, int y) {
    A along_x = A(0), along_y = A(0);
    const int64_t pixel = n * plane + static_cast<int64_t>(y) * width + x;
    if (inside) {
      const auto taps = taps_of<A>(a.motion, n, y, x);
      const T* image = a.feature + n * plane * a.channels;
      for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < a.channels;
           c += static_cast<int>(blockDim.x) * kVector<T>) {
        A grad[kVector<T>], values[4][kVector<T>];
        load_vector(a.grad + pixel * a.channels + c, grad);
        ARSEG_UNROLL
        for (int i = 0; i < 4; ++i) {
          // Not only the taps that are used: a value of weight 0 may have a slope.
          if (taps.pixel[i] >= 0) {
            load_vector(image + taps.pixel[i] * a.channels + c, values[i]);
          } else {
            ARSEG_UNROLL
            for (int e = 0; e < kVector<T>; ++e) values[i][e] = A(0);
          }
        }
        const A fx = taps.x_fraction, fy = taps.y_fraction;
        ARSEG_UNROLL
        for (int e = 0; e < kVector<T>; ++e) {
          along_x += grad[e] * ((values[1][e] - values[0][e]) * (A(1) - fy) + (values[3][e] - values[2][e]) * fy);
          along_y += grad[e] * ((values[2][e] - values[0][e]) * (A(1) - fx) + (values[3][e] - values[1][e]) * fx);
        }
      }
    }
    for (int step = static_cast<int>(blockDim.x) / 2; step > 0; step /= 2) {
      along_x += __shfl_xor_sync(kAllLanes, along_x, step);
      along_y += __shfl_xor_sync(kAllLanes, along_y, step);
    }
    if (inside && threadIdx.x == 0) {
      a.out[2 * pixel] = from_accumulator<F>(along_x * sample_slope<A>(width, a.motion.grid));
      a.out[2 * pixel + 1] = from_accumulator<F>(along_y * sample_slope<A>(a.motion.height, a.motion.grid));
    }
  });
}

template <typename T, typename F>
void launch_flow_gradient(const FlowGradientArguments<T, F>& a, void* stream) {
  const PixelGrid g = pixel_grid<T>(a.batch, a.motion.height, a.motion.width, a.channels);
  const auto kernel = flow_gradient<T, F>;
  ARSEG_LAUNCH(kernel, g.grid, g.block, 0, stream, a);
}

}  // namespace arseg::gpu
