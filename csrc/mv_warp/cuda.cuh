// The warps on CUDA: mv_warp and flow_warp differ in where a pixel's displacement comes from, see sampling.cuh.
//
// Maps are dense channels-last, [N, H, W, C] with C a whole number of vectors of 16 bytes. A group of threads shares a
// pixel, each with two of its vectors of channels at a time: where a pixel comes from is worked out half as often.
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

template <typename T>
__global__ void __launch_bounds__(kWarpThreads) warp_forward(WarpArguments<T> a) {
  const int64_t plane = static_cast<int64_t>(a.motion.height) * a.motion.width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    if (x >= a.motion.width) return;
    const auto taps = taps_of<accumulator<T>>(a.motion, n, y, x);
    const T* image = a.feature + n * plane * a.channels;
    T* to = a.out + (n * plane + static_cast<int64_t>(y) * a.motion.width + x) * a.channels;
    for_channels<T>(a.channels, [&](int c, int step) {
      accumulator<T> sums[kVectorsOfThread][kVector<T>];
      sample_vectors(image, a.motion.width, a.channels, c, step, taps, sums);
      store_vectors(to, a.channels, c, step, sums);
    });
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

// weights: [N, H, W, 4], of the entries.
template <typename A>
__global__ void __launch_bounds__(kWarpThreads) link_taps(Motion motion, int64_t batch, TapLists lists, A* weights) {
  const int64_t plane = static_cast<int64_t>(motion.height) * motion.width;
  for_pixels(batch, motion.height, [&](int64_t n, int y, int x) {
    if (x >= motion.width) return;
    const auto taps = taps_of<A>(motion, n, y, x);
    const int64_t pixel = static_cast<int64_t>(y) * motion.width + x;
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (!taps.used(i)) continue;
      const int32_t entry = static_cast<int32_t>(4 * pixel + i);
      weights[n * 4 * plane + entry] = taps.weight[i];
      lists.next[n * 4 * plane + entry] = atomicExch(lists.heads + n * plane + taps.pixel(i, motion.width), entry);
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

// An ordered list of the entries of an unordered one, in registers, if they are no more than MOST; else -1, and nothing
// is changed.
template <int MOST>
ARSEG_DEVICE int32_t sort_short_list(int32_t* next, int32_t head) {
  constexpr int32_t kNone = INT32_MAX;
  int32_t entries[MOST];
  int32_t entry = head;
  ARSEG_UNROLL
  for (int i = 0; i < MOST; ++i) {
    entries[i] = entry >= 0 ? entry : kNone;
    if (entry >= 0) entry = next[entry];
  }
  if (entry >= 0) return -1;
  ARSEG_UNROLL
  for (int last = MOST - 1; last > 0; --last) {
    ARSEG_UNROLL
    for (int i = 0; i < last; ++i) {
      const int32_t least = min(entries[i], entries[i + 1]), most = max(entries[i], entries[i + 1]);
      entries[i] = least;
      entries[i + 1] = most;
    }
  }
  ARSEG_UNROLL
  for (int i = 0; i < MOST; ++i) {
    if (entries[i] != kNone) next[entries[i]] = i + 1 < MOST && entries[i + 1] != kNone ? entries[i + 1] : -1;
  }
  return entries[0];
}

// One thread a list.
static __global__ void __launch_bounds__(kWarpThreads)
    sort_taps(int64_t pixels_of_image, int64_t count, TapLists lists) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int32_t head = lists.heads[i];
    if (head < 0) continue;
    int32_t* next = lists.next + i / pixels_of_image * 4 * pixels_of_image;
    if (next[head] < 0) continue;
    // Up to four taps come from one smooth piece of motion, and few pixels are where more than a few pieces meet.
    int32_t sorted = sort_short_list<8>(next, head);
    if (sorted < 0) sorted = sort_short_list<24>(next, head);
    lists.heads[i] = sorted >= 0 ? sorted : sort_list(next, head);
  }
}

// feature: the gradient of the result. out: the gradient of the feature.
template <typename T>
__global__ void __launch_bounds__(kWarpThreads)
    gather_taps(WarpArguments<T> a, TapLists lists, const accumulator<T>* weights) {
  using A = accumulator<T>;
  const int width = a.motion.width;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    if (x >= width) return;
    const int64_t pixel = n * plane + static_cast<int64_t>(y) * width + x;
    const int32_t* next = lists.next + n * 4 * plane;
    const A* weight_of = weights + n * 4 * plane;
    const T* grad = a.feature + n * plane * a.channels;
    for_channels<T>(a.channels, [&](int c, int step) {
      A sums[kVectorsOfThread][kVector<T>] = {};
      for (int32_t entry = lists.heads[pixel]; entry >= 0; entry = next[entry]) {
        const A weight = weight_of[entry];
        const T* from = grad + static_cast<int64_t>(entry / 4) * a.channels + c;
        ARSEG_UNROLL
        for (int k = 0; k < kVectorsOfThread; ++k) {
          if (c + k * step >= a.channels) continue;
          A values[kVector<T>];
          load_vector(from + k * step, values);
          ARSEG_UNROLL
          for (int e = 0; e < kVector<T>; ++e) sums[k][e] += weight * values[e];
        }
      }
      store_vectors(a.out + pixel * a.channels, a.channels, c, step, sums);
    });
  });
}

// lists.heads must be -1 everywhere. 4 * H * W fits 31 bits.
template <typename T>
void launch_warp_backward(const WarpArguments<T>& a, const TapLists& lists, accumulator<T>* weights, void* stream) {
  using A = accumulator<T>;
  const Motion& m = a.motion;
  const PixelGrid one = pixel_grid<T>(a.batch, m.height, m.width, 1);
  ARSEG_LAUNCH(link_taps<A>, one.grid, one.block, 0, stream, m, a.batch, lists, weights);
  const int64_t plane = static_cast<int64_t>(m.height) * m.width;
  const int64_t count = a.batch * plane;
  const dim3 blocks(static_cast<unsigned>(std::min<int64_t>((count + kWarpThreads - 1) / kWarpThreads, 1 << 20)));
  ARSEG_LAUNCH(sort_taps, blocks, dim3(kWarpThreads), 0, stream, plane, count, lists);
  const PixelGrid g = pixel_grid<T>(a.batch, m.height, m.width, a.channels);
  ARSEG_LAUNCH(gather_taps<T>, g.grid, g.block, 0, stream, a, lists, weights);
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
  const int width = a.motion.width;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    const bool inside = x < width;  // all threads of a warp take part in the shuffles
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
          if (taps.inside(i)) {
            load_vector(image + taps.pixel(i, width) * a.channels + c, values[i]);
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
