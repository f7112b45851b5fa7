// Depthwise 3x3 convolutions of a warped or an upsampled map, two of them or one beside the map itself, for any type.
#pragma once

#include "../common/resize.cuh"
#include "../mv_warp/sampling.cuh"
#include "params.h"

namespace arseg::gpu {

// One row of blocks a convolution.
template <typename T>
__global__ void __launch_bounds__(CreffTraits::Pack::kThreads) pack_depthwise(PackDepthwiseAllParams<T> all) {
  const PackDepthwiseParams<T>& p = all.convolution[blockIdx.y];
  const int c = static_cast<int>(blockIdx.x * CreffTraits::Pack::kThreads + threadIdx.x);
  if (c >= p.padded) return;
  for (int row = 0; row < kDepthwiseRows; ++row) {
    accumulator<T> value = 0;
    if (c < p.channels) {
      value =
          row < 9
              ? to_float(p.weight[c * p.weight_stride[0] + row / 3 * p.weight_stride[2] + row % 3 * p.weight_stride[3]])
              : to_float(p.bias[c * p.bias_stride]);
    }
    p.to[row * p.padded + c] = value;
  }
}

template <typename T>
void launch_pack_depthwise(const PackDepthwiseAllParams<T>& all, void* stream) {
  const int padded = all.convolution[0].padded;
  const dim3 grid(static_cast<unsigned>(ceil_div(padded, CreffTraits::Pack::kThreads)), 3);
  ARSEG_LAUNCH(pack_depthwise<T>, grid, dim3(CreffTraits::Pack::kThreads), 0, stream, all);
}

// The reference, warped.
template <typename T>
struct WarpedReference {
  using Place = PixelTaps<accumulator<T>>;

  ARSEG_DEVICE static Place at(const FusionParams<T>& a, int64_t n, int y, int x) {
    return taps_of<accumulator<T>>(a.motion, n, y, x);
  }
  template <int N>
  ARSEG_DEVICE static void sample(const FusionParams<T>& a, int64_t n, const Place& place, int channel, int step,
                                  accumulator<T> (&to)[N][kVector<T>]) {
    sample_vectors(a.reference + n * a.reference_stride, a.width, a.channels, channel, step, place, to);
  }
};

// The low-resolution map, upsampled.
template <typename T>
struct UpsampledLowRes {
  using A = accumulator<T>;
  struct Place : PixelTaps<A> {
    ARSEG_DEVICE bool used(int) const { return true; }  // see resize.cuh
  };

  ARSEG_DEVICE static Place at(const FusionParams<T>& a, int64_t, int y, int x) {
    const auto v = resize_tap(y, a.low_height, a.row_ratio), h = resize_tap(x, a.low_width, a.column_ratio);
    Place place{{{v.lower, v.upper}, {h.lower, h.upper}, {}, h.fraction, v.fraction}};
    set_weights(place);
    return place;
  }
  template <int N>
  ARSEG_DEVICE static void sample(const FusionParams<T>& a, int64_t n, const Place& place, int channel, int step,
                                  A (&to)[N][kVector<T>]) {
    sample_vectors(a.low_res + n * a.low_height * a.low_width * a.channels, a.low_width, a.channels, channel, step,
                   place, to);
  }
};

// Samples height x width pixels of Source from (y0, x0) on, channels [start, start + 8 vectors); 0 outside the image,
// which is the convolutions' padding, and past the channels. place(y, x, c): where vector c of a pixel goes.
template <typename Source, int THREADS, typename T, typename Place>
ARSEG_DEVICE void sample_tile(const FusionParams<T>& a, int64_t n, int y0, int x0, int height, int width, int start,
                              uint4* to, Place&& place) {
  using Traits = CreffTraits::Depthwise;
  constexpr int kSharing = Traits::kThreadsOfPixel;
  static_assert(Traits::kVectorsOfThread == 2);
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  ARSEG_NO_UNROLL
  for (int i = thread / kSharing; i < height * width; i += THREADS / kSharing) {
    const int y = i / width, x = i % width;
    const bool inside = a.in_bounds(y0 + y, x0 + x);
    typename Source::Place from{};
    if (inside) from = Source::at(a, n, y0 + y, x0 + x);
    const int c = thread % kSharing;
    accumulator<T> values[2][kVector<T>] = {};
    if (inside) Source::sample(a, n, from, start + c * kVector<T>, kSharing * kVector<T>, values);
    ARSEG_UNROLL
    for (int k = 0; k < 2; ++k) {
      const int two = k ^ (i & 1);  // neighbours take other banks
      accumulator<T> chosen[kVector<T>];
      ARSEG_UNROLL
      for (int e = 0; e < kVector<T>; ++e) chosen[e] = two ? values[1][e] : values[0][e];
      store_vector(reinterpret_cast<T*>(to + place(y, x, c + kSharing * two)), chosen);
    }
  }
}

// Channels that a thread convolves: half a vector of 16-bit types, so that their weights stay in registers.
template <typename T>
constexpr int kUnit = kVector<T> < 4 ? kVector<T> : 4;

template <typename T>
ARSEG_DEVICE void load_unit(const T* from, accumulator<T> (&to)[kUnit<T>]) {
  if constexpr (is_half_type<T>) {
    const uint2 bits = *reinterpret_cast<const uint2*>(from);
    const float2 first = unpack<T>(bits.x), second = unpack<T>(bits.y);
    to[0] = first.x;
    to[1] = first.y;
    to[2] = second.x;
    to[3] = second.y;
  } else {
    load_vector(from, to);
  }
}

template <typename T>
ARSEG_DEVICE void store_unit(T* to, const accumulator<T> (&from)[kUnit<T>]) {
  if constexpr (is_half_type<T>) {
    uint2 bits;
    bits.x = pack<T>(from[0], from[1]);
    bits.y = pack<T>(from[2], from[3]);
    *reinterpret_cast<uint2*>(to) = bits;
  } else {
    store_vector(to, from);
  }
}

// `rows` results of a depthwise 3x3 convolution, one below the other, of one unit of channels. Rolls down, so that each
// value is read once. weights: [10, channels], from the unit's channel on. from(y, x): the unit at a pixel of
// [rows + 2, 3], the first above and left of the first result. emit(row, values) is called for each.
template <typename T, typename From, typename Emit>
ARSEG_DEVICE void convolve_column(const accumulator<T>* weights, int channels, int rows, From&& from, Emit&& emit) {
  using A = accumulator<T>;
  constexpr int kChannels = kUnit<T>;
  A taps[kDepthwiseRows][kChannels];
  ARSEG_UNROLL
  for (int i = 0; i < kDepthwiseRows; ++i) {
    const uint4 bits = *reinterpret_cast<const uint4*>(weights + static_cast<int64_t>(i) * channels);
    memcpy(taps[i], &bits, 16);
  }
  A sums[3][kChannels] = {};  // of result y - down in the place of its remainder by 3
  ARSEG_NO_UNROLL
  for (int base = 0; base < rows + 2; base += 3) {  // three at a time: places of sums are then constants
    ARSEG_UNROLL
    for (int k = 0; k < 3; ++k) {
      const int y = base + k;
      if (y >= rows + 2) break;
      ARSEG_UNROLL
      for (int right = 0; right < 3; ++right) {
        A values[kChannels];
        load_unit(from(y, right), values);
        ARSEG_UNROLL
        for (int down = 0; down < 3; ++down) {
          A(&sum)[kChannels] = sums[(k + 3 - down) % 3];
          ARSEG_UNROLL
          for (int e = 0; e < kChannels; ++e) {
            const A before = down == 0 && right == 0 ? taps[9][e] : sum[e];
            sum[e] = before + taps[3 * down + right][e] * values[e];
          }
        }
      }
      if (y >= 2) emit(y - 2, sums[(k + 1) % 3]);
    }
  }
}

template <typename T>
struct DepthwiseTile : CreffTraits::Depthwise {
  static constexpr int kUnits = CreffTraits::Depthwise::kVectors * kVector<T> / kUnit<T>;
  static constexpr int kRows = kUnits * kTile * kTile / kThreads;  // of results that a thread makes
  static_assert(kTile % kRows == 0);

  ARSEG_DEVICE static int place(int y, int x, int c) { return (y * kHalo + x) * CreffTraits::Depthwise::kVectors + c; }
};

template <typename T, typename Source>
__global__ void __launch_bounds__(CreffTraits::Depthwise::kThreads, CreffTraits::Depthwise::kBlocksOfMultiprocessor)
    depthwise_conv(FusionParams<T> a, DepthwiseOutputs<T> outputs) {
  using P = DepthwiseTile<T>;
  using A = accumulator<T>;
  ARSEG_SHARED(shared);
  uint4* tile = reinterpret_cast<uint4*>(shared);
  const int x0 = static_cast<int>(blockIdx.x) * P::kTile;
  const int thread = static_cast<int>(threadIdx.x);
  const int unit = thread % P::kUnits, column = thread / P::kUnits % P::kTile;
  const int first_row = thread / (P::kUnits * P::kTile) * P::kRows;
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    for (int y0 = static_cast<int>(blockIdx.y) * P::kTile; y0 < a.height;
         y0 += static_cast<int>(gridDim.y) * P::kTile) {
      for (int start = 0; start < a.channels; start += CreffTraits::Depthwise::kVectors * kVector<T>) {
        sample_tile<Source, P::kThreads>(a, n, y0 - 1, x0 - 1, P::kHalo, P::kHalo, start, tile, P::place);
        __syncthreads();
        const int channel = start + unit * kUnit<T>;
        const int x = x0 + column;
        if (channel < a.channels && x < a.width) {
          const T* units = reinterpret_cast<const T*>(tile) + unit * kUnit<T>;
          const auto from = [&](int y, int right) {
            return units + P::place(first_row + y, column + right, 0) * kVector<T>;
          };
          const int rows = min(P::kRows, a.height - y0 - first_row);
          const int64_t at = a.pixel(n, y0 + first_row, x) * a.channels + channel;
          const int64_t line = static_cast<int64_t>(a.width) * a.channels;
          const auto write_to = [&](T* to) {
            return [=](int row, const A(&values)[kUnit<T>]) { store_unit(to + row * line, values); };
          };
          convolve_column<T>(outputs.first_weights + channel, a.channels, rows, from, write_to(outputs.first + at));
          if (outputs.second_weights) {
            convolve_column<T>(outputs.second_weights + channel, a.channels, rows, from, write_to(outputs.second + at));
          } else {
            const auto write = write_to(outputs.second + at);
            for (int row = 0; row < rows; ++row) {
              A values[kUnit<T>];
              load_unit(from(row + 1, 1), values);
              write(row, values);
            }
          }
        }
        __syncthreads();  // the next pass overwrites the tile
      }
    }
  }
}

template <typename T, typename Source>
void launch_depthwise_conv(const FusionParams<T>& a, const DepthwiseOutputs<T>& outputs, void* stream) {
  using P = DepthwiseTile<T>;
  const dim3 grid(static_cast<unsigned>(ceil_div(a.width, P::kTile)), blocks_for(a.height, P::kTile, kMaxGridRows),
                  blocks_for(a.batch, 1, kMaxGridRows));
  const auto kernel = depthwise_conv<T, Source>;
  ARSEG_LAUNCH(kernel, grid, dim3(P::kThreads), P::kShared, stream, a, outputs);
}

}  // namespace arseg::gpu
