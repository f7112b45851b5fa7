// Local attention for any type, window and number of channels: a warp works on one pixel at a time, its lanes share the
// channels, and the window's logits lie in shared memory. Slow and obvious; what the tiled kernels do not take comes
// here.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

template <typename A>
ARSEG_DEVICE A sum_over_warp(A value) {
  ARSEG_UNROLL
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

template <typename A>
ARSEG_DEVICE A max_over_warp(A value) {
  ARSEG_UNROLL
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const A other = __shfl_xor_sync(kAllLanes, value, lanes);
    value = other > value ? other : value;
  }
  return value;
}

// The same for all lanes.
template <typename T>
ARSEG_DEVICE accumulator<T> dot(const T* a, const T* b, int channels, int lane) {
  accumulator<T> sum = 0;
  for (int c = lane; c < channels; c += 32) sum += to_float(a[c]) * to_float(b[c]);
  return sum_over_warp(sum);
}

ARSEG_DEVICE float exp_of(float x) { return expf(x); }
ARSEG_DEVICE double exp_of(double x) { return exp(x); }
ARSEG_DEVICE float log_of(float x) { return logf(x); }
ARSEG_DEVICE double log_of(double x) { return log(x); }

// Calls run(n, y, x) for the pixels of this warp.
template <typename F>
ARSEG_DEVICE void for_pixels(const AttentionShape& shape, F&& run) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * AttentionTraits::Fallback::kWarps + threadIdx.y; i < pixels;
       i += static_cast<int64_t>(gridDim.x) * AttentionTraits::Fallback::kWarps) {
    const int64_t row = i / shape.width;
    run(row / shape.height, static_cast<int>(row % shape.height), static_cast<int>(i % shape.width));
  }
}

// Calls run(k, yy, xx) for the pixels of the window of (y, x), inside the image or not.
template <typename F>
ARSEG_DEVICE void for_window(const AttentionShape& shape, int y, int x, F&& run) {
  for (int k = 0; k < shape.window_height * shape.window_width; ++k) {
    run(k, y + k / shape.window_width - shape.window_height / 2, x + k % shape.window_width - shape.window_width / 2);
  }
}

template <typename T>
__global__ void __launch_bounds__(AttentionTraits::Fallback::kThreads) fallback_forward(AttentionParams<T> a) {
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  const AttentionShape& s = a.shape;
  const int keys = s.window_height * s.window_width;
  A* logits = reinterpret_cast<A*>(shared) + threadIdx.y * keys;
  const int lane = static_cast<int>(threadIdx.x);
  for_pixels(s, [&](int64_t n, int y, int x) {
    const int64_t pixel = s.pixel(n, y, x);
    for_window(s, y, x, [&](int k, int yy, int xx) {
      A logit = s.masked ? A(-INFINITY) : A(0);
      if (s.in_bounds(yy, xx)) {
        logit = a.scale * dot(a.query + pixel * s.channels, a.key + s.pixel(n, yy, xx) * s.channels, s.channels, lane);
      }
      if (lane == 0) logits[k] = logit;
    });
    __syncwarp();
    A row_max = A(-INFINITY);
    for (int k = lane; k < keys; k += 32) row_max = logits[k] > row_max ? logits[k] : row_max;
    row_max = max_over_warp(row_max);
    A row_sum = 0;
    for (int k = lane; k < keys; k += 32) {
      logits[k] = exp_of(logits[k] - row_max);
      row_sum += logits[k];
    }
    row_sum = sum_over_warp(row_sum);
    __syncwarp();
    for (int c = lane; c < s.value_channels; c += 32) {
      A sum = 0;
      for_window(s, y, x, [&](int k, int yy, int xx) {
        if (s.in_bounds(yy, xx)) sum += logits[k] * to_float(a.value[s.pixel(n, yy, xx) * s.value_channels + c]);
      });
      const int64_t at = pixel * s.value_channels + c;
      a.out[at] = from_accumulator<T>(sum / row_sum + (a.residual ? to_float(a.residual[at]) : A(0)));
    }
    if (lane == 0 && a.logsumexp) a.logsumexp[pixel] = row_max + log_of(row_sum);
    __syncwarp();  // the next pixel writes where this one still reads
  });
}

// The gradient of the query, and delta.
template <typename T>
__global__ void __launch_bounds__(AttentionTraits::Fallback::kThreads)
    fallback_backward_query(AttentionBackwardParams<T> a) {
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  const AttentionShape& s = a.shape;
  const int keys = s.window_height * s.window_width;
  A* probabilities = reinterpret_cast<A*>(shared) + threadIdx.y * 2 * keys;
  A* gradients = probabilities + keys;  // of the probabilities
  const int lane = static_cast<int>(threadIdx.x);
  for_pixels(s, [&](int64_t n, int y, int x) {
    const int64_t pixel = s.pixel(n, y, x);
    A delta = 0;
    for_window(s, y, x, [&](int k, int yy, int xx) {
      A probability = 0, gradient = 0;
      if (s.in_bounds(yy, xx)) {  // the key and value of a pixel outside are 0: it adds to nothing
        const int64_t other = s.pixel(n, yy, xx);
        const A logit = a.scale * dot(a.query + pixel * s.channels, a.key + other * s.channels, s.channels, lane);
        probability = exp_of(logit - a.logsumexp[pixel]);
        gradient = dot(a.grad + pixel * s.value_channels, a.value + other * s.value_channels, s.value_channels, lane);
      }
      delta += probability * gradient;
      if (lane == 0) {
        probabilities[k] = probability;
        gradients[k] = gradient;
      }
    });
    __syncwarp();
    for (int c = lane; c < s.channels; c += 32) {
      A sum = 0;
      for_window(s, y, x, [&](int k, int yy, int xx) {
        if (!s.in_bounds(yy, xx)) return;
        sum += probabilities[k] * (gradients[k] - delta) * to_float(a.key[s.pixel(n, yy, xx) * s.channels + c]);
      });
      a.grad_query[pixel * s.channels + c] = from_accumulator<T>(a.scale * sum);
    }
    if (lane == 0) a.delta[pixel] = delta;
    __syncwarp();
  });
}

// The gradients of a key and its value: over the queries whose window in_bounds it, which are those of its own window.
template <typename T>
__global__ void __launch_bounds__(AttentionTraits::Fallback::kThreads)
    fallback_backward_key(AttentionBackwardParams<T> a) {
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  const AttentionShape& s = a.shape;
  const int keys = s.window_height * s.window_width;
  A* probabilities = reinterpret_cast<A*>(shared) + threadIdx.y * 2 * keys;
  A* gradients = probabilities + keys;  // of the logits
  const int lane = static_cast<int>(threadIdx.x);
  for_pixels(s, [&](int64_t n, int y, int x) {
    const int64_t pixel = s.pixel(n, y, x);
    for_window(s, y, x, [&](int k, int yy, int xx) {
      A probability = 0, gradient = 0;
      if (s.in_bounds(yy, xx)) {
        const int64_t other = s.pixel(n, yy, xx);
        const A logit = a.scale * dot(a.query + other * s.channels, a.key + pixel * s.channels, s.channels, lane);
        probability = exp_of(logit - a.logsumexp[other]);
        gradient = dot(a.grad + other * s.value_channels, a.value + pixel * s.value_channels, s.value_channels, lane);
        gradient = probability * (gradient - a.delta[other]);
      }
      if (lane == 0) {
        probabilities[k] = probability;
        gradients[k] = gradient;
      }
    });
    __syncwarp();
    for (int c = lane; c < s.channels; c += 32) {
      A sum = 0;
      for_window(s, y, x, [&](int k, int yy, int xx) {
        if (s.in_bounds(yy, xx)) sum += gradients[k] * to_float(a.query[s.pixel(n, yy, xx) * s.channels + c]);
      });
      a.grad_key[pixel * s.channels + c] = from_accumulator<T>(a.scale * sum);
    }
    for (int c = lane; c < s.value_channels; c += 32) {
      A sum = 0;
      for_window(s, y, x, [&](int k, int yy, int xx) {
        if (s.in_bounds(yy, xx)) sum += probabilities[k] * to_float(a.grad[s.pixel(n, yy, xx) * s.value_channels + c]);
      });
      a.grad_value[pixel * s.value_channels + c] = from_accumulator<T>(sum);
    }
    __syncwarp();
  });
}

inline dim3 fallback_grid(const AttentionShape& shape) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  return dim3(blocks_for(pixels, AttentionTraits::Fallback::kWarps, kMaxGridColumns));
}

template <typename T>
void launch_fallback_forward(const AttentionParams<T>& a, void* stream) {
  const size_t bytes =
      sizeof(accumulator<T>) * AttentionTraits::Fallback::kWarps * a.shape.window_height * a.shape.window_width;
  ARSEG_LAUNCH(fallback_forward<T>, fallback_grid(a.shape), dim3(32, AttentionTraits::Fallback::kWarps), bytes, stream,
               a);
}

template <typename T>
void launch_fallback_backward(const AttentionBackwardParams<T>& a, void* stream) {
  const size_t bytes =
      2 * sizeof(accumulator<T>) * AttentionTraits::Fallback::kWarps * a.shape.window_height * a.shape.window_width;
  const dim3 grid = fallback_grid(a.shape), block(32, AttentionTraits::Fallback::kWarps);
  ARSEG_LAUNCH(fallback_backward_query<T>, grid, block, bytes, stream, a);
  ARSEG_LAUNCH(fallback_backward_key<T>, grid, block, bytes, stream, a);
}

}  // namespace arseg::gpu
