// The warps on CUDA: mv_warp and flow_warp differ in where a pixel's displacement comes from, see sampling.cuh.
//
// Maps are dense channels-last, [N, H, W, C] with C a whole number of vectors of 16 bytes. A group of threads shares a
// pixel, each with two of its vectors of channels at a time: where a pixel comes from is worked out half as often.
#pragma once

#include "sampling.cuh"

namespace arseg::gpu {

// Threads that share a pixel: a power of two, at most a warp, so that a group is never in two warps.
template <typename T, int VECTORS = WarpTraits::kVectorsOfThread>
int threads_per_pixel(int channels) {
  int threads = 1;
  while (threads < WarpTraits::kMaxThreadsOfPixel && threads * VECTORS * kVector<T> < channels) threads *= 2;
  return threads;
}

struct PixelGrid {
  dim3 grid, block;
};

// Blocks of pixels; rows and images beyond the grid are looped over. A warp's pixels are in one row.
template <typename T, int VECTORS = WarpTraits::kVectorsOfThread>
PixelGrid pixel_grid(int64_t batch, int height, int width, int channels) {
  const int threads = threads_per_pixel<T, VECTORS>(channels);
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

// Where a pixel of the result comes from, without conditions: taps that do not count are the one beside them, which
// then counts by halves, so that no Inf or NaN leaks in from where nothing is to be read.
template <typename A>
struct PlacedPixel {
  int pixel = -1;       // the upper left tap; -1: none counts, the pixel is 0
  int further = kCopy;  // which taps are further on, or that the first alone counts
  A weight[4] = {};
  static constexpr int kRight = 1, kDown = 2, kCopy = 4;

  PlacedPixel() = default;
  ARSEG_DEVICE PlacedPixel(const PixelTaps<A>& taps, int width) {
    const A fractions[2] = {taps.y_fraction, taps.x_fraction};
    int first[2];
    A weights[2][2];
    bool both[2], some = true;
    ARSEG_UNROLL
    for (int axis = 0; axis < 2; ++axis) {
      const int (&at)[2] = axis ? taps.column : taps.row;
      const A fraction = fractions[axis];
      const bool lower = at[0] >= 0 && fraction != A(1), upper = at[1] >= 0 && fraction != A(0);
      some = some && (lower || upper);
      both[axis] = lower && upper;
      first[axis] = lower ? at[0] : at[1];
      const A own = lower ? A(1) - fraction : fraction;
      weights[axis][0] = both[axis] ? own : A(0.5) * own;
      weights[axis][1] = both[axis] ? fraction : A(0.5) * own;
    }
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) weight[i] = weights[0][i / 2] * weights[1][i % 2];
    const bool copy = !some || (!both[0] && !both[1] && weight[0] == A(0.25));
    further = (both[1] ? kRight : 0) | (both[0] ? kDown : 0) | (copy ? kCopy : 0);
    if (some) pixel = first[0] * width + first[1];
  }

  // That of another lane.
  ARSEG_DEVICE PlacedPixel of(int lane) const {
    PlacedPixel other;
    other.pixel = __shfl_sync(kAllLanes, pixel, lane);
    other.further = __shfl_sync(kAllLanes, further, lane);
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) other.weight[i] = __shfl_sync(kAllLanes, weight[i], lane);
    return other;
  }
};

// The warped channels of a pixel: of kVectorsOfThread vectors, the first from `first` on and each `step` after the one
// before, and so on. image: [H, width, channels], a row of it no more than 2 GB.
template <typename T>
ARSEG_DEVICE void warp_pixel(const T* image, int width, int channels, const PlacedPixel<accumulator<T>>& from,
                             int first, int step, T* to) {
  using A = accumulator<T>;
  using Placed = PlacedPixel<A>;
  constexpr int kVectors = WarpTraits::kVectorsOfThread;
  // 32-bit factors: a product is then one instruction.
  const int pixel_bytes = channels * static_cast<int>(sizeof(T));
  const char* upper = reinterpret_cast<const char*>(image + first) + static_cast<int64_t>(from.pixel) * pixel_bytes;
  const int right = from.further & Placed::kRight ? pixel_bytes : 0;
  const char* lower = upper + (from.further & Placed::kDown ? width * pixel_bytes : 0);
  to += first;
  for (int left = channels - first; left > 0; left -= kVectors * step) {
    uint4 bits[kVectors][4];
    if (from.further & Placed::kCopy) {
      ARSEG_UNROLL
      for (int k = 0; k < kVectors; ++k) {
        bits[k][0] = make_uint4(0, 0, 0, 0);
        if (from.pixel >= 0 && k * step < left) {
          bits[k][0] = *reinterpret_cast<const uint4*>(reinterpret_cast<const T*>(upper) + k * step);
        }
      }
      ARSEG_UNROLL
      for (int k = 0; k < kVectors; ++k) {
        if (k * step < left) *reinterpret_cast<uint4*>(to + k * step) = bits[k][0];
      }
    } else {
      ARSEG_UNROLL
      for (int k = 0; k < kVectors; ++k) {
        const int at = k * step < left ? k * step : 0;
        ARSEG_UNROLL
        for (int tap = 0; tap < 4; ++tap) {
          const char* place = (tap / 2 ? lower : upper) + (tap % 2 ? right : 0);
          bits[k][tap] = *reinterpret_cast<const uint4*>(reinterpret_cast<const T*>(place) + at);
        }
      }
      ARSEG_UNROLL
      for (int k = 0; k < kVectors; ++k) {
        A sums[kVector<T>] = {};
        ARSEG_UNROLL
        for (int tap = 0; tap < 4; ++tap) {
          A values[kVector<T>];
          load_vector(reinterpret_cast<const T*>(&bits[k][tap]), values);
          ARSEG_UNROLL
          for (int e = 0; e < kVector<T>; ++e) sums[e] += from.weight[tap] * values[e];
        }
        if (k * step < left) store_vector(to + k * step, sums);
      }
    }
    upper += kVectors * step * static_cast<int>(sizeof(T));
    lower += kVectors * step * static_cast<int>(sizeof(T));
    to += kVectors * step;
  }
}

// A warp has 32 / threads * turns pixels of a row, at most 32: each lane finds out where one comes from, and then they
// are worked on 32 / threads at a time, by so many threads each.
struct WarpTurns {
  int threads, turns;

  template <typename T>
  static WarpTurns of(int64_t pixels, int channels) {
    WarpTurns w{threads_per_pixel<T>(channels), 1};
    // Small maps are spread over the card instead.
    while (w.turns < w.threads && pixels * w.threads / 32 / (2 * w.turns) >= WarpTraits::kEnoughWarps) w.turns *= 2;
    return w;
  }
};

template <typename T>
__global__ void __launch_bounds__(WarpTraits::kThreads) warp_forward(WarpParams<T> a, WarpTurns w) {
  using A = accumulator<T>;
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int pixels = 32 / w.threads, of_warp = pixels * w.turns, width = a.motion.width;
  constexpr int kColumns = WarpTraits::kThreads / 32 / WarpTraits::kRows;  // of warps
  const int x0 = (static_cast<int>(blockIdx.x) * kColumns + warp % kColumns) * of_warp;
  const int first = lane % w.threads * kVector<T>, step = w.threads * kVector<T>;
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    const T* image = a.feature + n * a.feature_stride;
    for (int y = static_cast<int>(blockIdx.y) * WarpTraits::kRows + warp / kColumns; y < a.motion.height;
         y += static_cast<int>(gridDim.y) * WarpTraits::kRows) {
      PlacedPixel<A> own;
      if (lane < of_warp && x0 + lane < width) own = PlacedPixel<A>(taps_of<A>(a.motion, n, y, x0 + lane), width);
      T* row = a.out + (n * a.motion.height + y) * width * a.channels;
      ARSEG_NO_UNROLL
      for (int turn = 0; turn < w.turns; ++turn) {
        const int pixel = turn * pixels + lane / w.threads;
        const PlacedPixel<A> from = own.of(pixel);
        if (x0 + pixel < width) {
          warp_pixel(image, width, a.channels, from, first, step, row + (x0 + pixel) * a.channels);
        }
      }
    }
  }
}

template <typename T>
void launch_warp(const WarpParams<T>& a, void* stream) {
  const WarpTurns turns =
      WarpTurns::of<T>(a.batch * a.motion.height * static_cast<int64_t>(a.motion.width), a.channels);
  const int columns = WarpTraits::kThreads / WarpTraits::kRows / turns.threads * turns.turns;
  const dim3 grid(static_cast<unsigned>(ceil_div(a.motion.width, columns)),
                  blocks_for(a.motion.height, WarpTraits::kRows, kMaxGridRows), blocks_for(a.batch, 1, kMaxGridRows));
  ARSEG_LAUNCH(warp_forward<T>, grid, dim3(32, WarpTraits::kThreads / 32), 0, stream, a, turns);
}

}  // namespace arseg::gpu
