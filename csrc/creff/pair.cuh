// The fusion as kernels that meet in global memory: one makes keys and values (warp, then two depthwise convolutions),
// one queries and the upsampled map, and the attention of csrc/local_attention adds the rest. Besides what has to be
// read and written, keys, values, queries and the upsampled map go out and come back once: 8 maps of bytes.
#pragma once

#include <algorithm>

#include "../common/resize.cuh"
#include "../local_attention/launch.cuh"
#include "arguments.cuh"

namespace arseg::gpu {

constexpr int kPairTileHeight = 8, kPairTileWidth = 16, kPairThreads = 256;
constexpr int kPairVectors = 8;  // vectors of channels a pass; neighbouring threads take neighbouring vectors
constexpr int kPairHaloHeight = kPairTileHeight + 2, kPairHaloWidth = kPairTileWidth + 2;
constexpr int kPairShared = kPairHaloHeight * kPairHaloWidth * kPairVectors * 16;

// The reference, warped.
template <typename T>
struct WarpedReference {
  ARSEG_DEVICE static void sample(const FusionArguments<T>& a, int64_t n, int y, int x, int channel,
                                  accumulator<T> (&to)[kVector<T>]) {
    const auto taps = taps_of<accumulator<T>>(a.motion, n, y, x);
    sample_vector(a.reference + a.pixel(n, 0, 0) * a.channels, a.channels, channel, taps, to);
  }
};

// The low-resolution map, upsampled.
template <typename T>
struct UpsampledLowRes {
  ARSEG_DEVICE static void sample(const FusionArguments<T>& a, int64_t n, int y, int x, int channel,
                                  accumulator<T> (&to)[kVector<T>]) {
    using A = accumulator<T>;
    const auto v = resize_tap<A>(y, a.low_height, a.height, true);
    const auto h = resize_tap<A>(x, a.low_width, a.width, true);
    const int rows[2] = {v.lower, v.upper}, columns[2] = {h.lower, h.upper};
    const A row_weights[2] = {A(1) - v.fraction, v.fraction}, column_weights[2] = {A(1) - h.fraction, h.fraction};
    ARSEG_UNROLL
    for (int e = 0; e < kVector<T>; ++e) to[e] = A(0);
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      A values[kVector<T>];
      const int64_t pixel = (n * a.low_height + rows[i / 2]) * a.low_width + columns[i % 2];
      load_vector(a.low_res + pixel * a.channels + channel, values);
      const A weight = row_weights[i / 2] * column_weights[i % 2];
      ARSEG_UNROLL
      for (int e = 0; e < kVector<T>; ++e) to[e] += weight * values[e];
    }
  }
};

// What a block writes: a convolution of the source to `first`; to `second` another, or, without weights, the source.
template <typename T>
struct PairOutputs {
  const accumulator<T>* first_weights;
  const accumulator<T>* second_weights;  // null: the source itself
  T* first;
  T* second;
};

// A depthwise 3x3 convolution at pixel (y, x) of the tile: `tile` points to the vector of the pixel above and left of
// it.
template <typename T>
ARSEG_DEVICE void convolve(const uint4* tile, const accumulator<T>* weights, int channels, int channel,
                           accumulator<T> (&sum)[kVector<T>]) {
  using A = accumulator<T>;
  ARSEG_UNROLL
  for (int e = 0; e < kVector<T>; ++e) sum[e] = weights[9 * channels + channel + e];
  ARSEG_UNROLL
  for (int tap = 0; tap < 9; ++tap) {
    A values[kVector<T>];
    load_vector(reinterpret_cast<const T*>(tile + (tap / 3 * kPairHaloWidth + tap % 3) * kPairVectors), values);
    ARSEG_UNROLL
    for (int e = 0; e < kVector<T>; ++e) sum[e] += weights[tap * channels + channel + e] * values[e];
  }
}

template <typename T, typename Source>
__global__ void __launch_bounds__(kPairThreads) depthwise_pair(FusionArguments<T> a, PairOutputs<T> outputs) {
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  uint4* tile = reinterpret_cast<uint4*>(shared);  // [halo height][halo width][vectors]
  const int y0 = static_cast<int>(blockIdx.y) * kPairTileHeight, x0 = static_cast<int>(blockIdx.x) * kPairTileWidth;
  const int vector = static_cast<int>(threadIdx.x) % kPairVectors;
  const int first = static_cast<int>(threadIdx.x) / kPairVectors;
  constexpr int kStep = kPairThreads / kPairVectors;
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    for (int start = 0; start < a.channels; start += kPairVectors * kVector<T>) {
      const int channel = start + vector * kVector<T>;
      const bool own = channel < a.channels;
      for (int i = first; i < kPairHaloHeight * kPairHaloWidth; i += kStep) {
        const int y = y0 + i / kPairHaloWidth - 1, x = x0 + i % kPairHaloWidth - 1;
        A values[kVector<T>];
        if (own && a.holds(y, x)) {
          Source::sample(a, n, y, x, channel, values);
        } else {  // the convolutions' padding
          ARSEG_UNROLL
          for (int e = 0; e < kVector<T>; ++e) values[e] = A(0);
        }
        store_vector(reinterpret_cast<T*>(tile + i * kPairVectors + vector), values);
      }
      __syncthreads();
      for (int i = first; i < kPairTileHeight * kPairTileWidth; i += kStep) {
        const int row = i / kPairTileWidth, column = i % kPairTileWidth;
        const int y = y0 + row, x = x0 + column;
        if (!own || !a.holds(y, x)) continue;
        const uint4* corner = tile + (row * kPairHaloWidth + column) * kPairVectors + vector;
        const int64_t at = a.pixel(n, y, x) * a.channels + channel;
        A sum[kVector<T>];
        convolve<T>(corner, outputs.first_weights, a.channels, channel, sum);
        store_vector(outputs.first + at, sum);
        if (outputs.second_weights) {
          convolve<T>(corner, outputs.second_weights, a.channels, channel, sum);
          store_vector(outputs.second + at, sum);
        } else {
          *reinterpret_cast<uint4*>(outputs.second + at) = corner[(kPairHaloWidth + 1) * kPairVectors];
        }
      }
      __syncthreads();  // the next pass overwrites the tile
    }
  }
}

template <typename T, typename Source>
void launch_depthwise_pair(const FusionArguments<T>& a, const PairOutputs<T>& outputs, void* stream) {
  const dim3 grid(static_cast<unsigned>((a.width + kPairTileWidth - 1) / kPairTileWidth),
                  static_cast<unsigned>((a.height + kPairTileHeight - 1) / kPairTileHeight),
                  static_cast<unsigned>(std::min<int64_t>(a.batch, 65535)));
  const auto kernel = depthwise_pair<T, Source>;
  ARSEG_LAUNCH(kernel, grid, dim3(kPairThreads), kPairShared, stream, a, outputs);
}

// Maps of the size of `reference`, for what the kernels hand on.
template <typename T>
struct PairScratch {
  T* query;
  T* key;
  T* value;
  T* upsampled;
};

// with_residual: the upsampled map is added, as the fusion has it; without, the weighted sum of values is all.
template <typename T>
void launch_fusion_pair(const FusionArguments<T>& a, const PairScratch<T>& scratch, bool with_residual, void* stream) {
  launch_depthwise_pair<T, WarpedReference<T>>(a, {a.key_weights, a.value_weights, scratch.key, scratch.value}, stream);
  launch_depthwise_pair<T, UpsampledLowRes<T>>(a, {a.query_weights, nullptr, scratch.query, scratch.upsampled}, stream);
  launch_attention<T>({{a.batch, a.height, a.width, a.channels, a.channels, a.window_height, a.window_width, a.masked},
                       accumulator<T>(1),
                       scratch.query,
                       scratch.key,
                       scratch.value,
                       with_residual ? scratch.upsampled : nullptr,
                       a.out,
                       nullptr},
                      stream);
}

}  // namespace arseg::gpu
