// The whole fusion in one kernel, for float16 and bfloat16: only the reference, the low-resolution map and the motion
// are read, and only the result is written. Queries, keys and values of a tile are made in shared memory, on the
// patches of csrc/local_attention/tensor_core.cuh; the price is that the tile's border is warped and convolved by its
// neighbours as well.
#pragma once

#include "../local_attention/forward_tensor_core.cuh"
#include "classify.cuh"
#include "pair.cuh"

namespace arseg::gpu {

// Classes that the kernel keeps in registers.
constexpr int kFusedClasses = 32;

template <int CHUNK, int WINDOW>
struct FusedTile : Patch<CHUNK, WINDOW> {
  using P = Patch<CHUNK, WINDOW>;
  static constexpr int kChannels = CHUNK;  // at most
  // The warped tile has one pixel more on each side, for the convolutions.
  static constexpr int kWarpedHeight = P::kHaloHeight + 2, kWarpedWidth = P::kHaloWidth + 2;
  static constexpr int kWarpedVectors = kWarpedHeight * kWarpedWidth * P::kVectors;
  // The upsampled tile, for the queries, is where keys come later.
  static constexpr int kUpHeight = P::kTileHeight + 2, kUpWidth = P::kTileWidth + 2;
  static constexpr int kUpVectors = kUpHeight * kUpWidth * P::kVectors;
  static_assert(kUpVectors <= P::kChunkVectors);
  static constexpr int kSharedBytes = (kWarpedVectors + P::kChunkVectors) * 16;
  static_assert(kSharedBytes <= 99 * 1024);
};

// Samples a tile of Source, `border` pixels wider than the tile on each side; 0 outside the image and past the
// channels.
template <typename P, typename Source, typename T>
ARSEG_DEVICE void sample_tile(const FusionArguments<T>& a, int64_t n, int y0, int x0, int height, int width,
                              uint4* to) {
  ARSEG_NO_UNROLL
  for (int i = opaque(static_cast<int>(threadIdx.x)); i < height * width * P::kVectors; i += P::kThreads) {
    const int c = i % P::kVectors, y = y0 + i / P::kVectors / width, x = x0 + i / P::kVectors % width;
    float values[kVector<T>] = {};
    if (a.holds(y, x) && 8 * c < a.channels) Source::sample(a, n, y, x, 8 * c, values);
    store_vector(reinterpret_cast<T*>(to + i), values);
  }
}

// A depthwise convolution of the warped tile, where the attention looks for keys or values. A thread rolls down a
// column of vectors, so that each is read once for the three rows that it counts for.
template <typename F, typename T>
ARSEG_DEVICE void convolve_tile(const FusionArguments<T>& a, const uint4* warped, const float* weights, uint4* to) {
  const int top = static_cast<int>(blockIdx.y) * F::kTileHeight - F::kRadius;
  const int left = static_cast<int>(blockIdx.x) * F::kTileWidth - F::kRadius;
  constexpr int kSegments = 2, kRows = (F::kHaloHeight + kSegments - 1) / kSegments;
  ARSEG_NO_UNROLL
  for (int i = opaque(static_cast<int>(threadIdx.x)); i < F::kHaloWidth * F::kVectors * kSegments; i += F::kThreads) {
    const int c = i % F::kVectors, x = i / F::kVectors % F::kHaloWidth;
    const int first = i / (F::kVectors * F::kHaloWidth) * kRows, last = min(first + kRows, F::kHaloHeight);
    const int channel = 8 * c;
    const bool own = channel < a.channels;
    float sums[3][8];  // of the rows whose last, middle and first row of taps comes next
    ARSEG_UNROLL
    for (int row = 0; row < 3; ++row) {
      ARSEG_UNROLL
      for (int e = 0; e < 8; ++e) sums[row][e] = own ? weights[9 * a.channels + channel + e] : 0.0f;
    }
    ARSEG_NO_UNROLL
    for (int y = first; y < last + 2; ++y) {
      ARSEG_NO_UNROLL  // unrolled, its weights do not fit the registers
          for (int right = 0; right < 3; ++right) {
        float values[8];
        const uint4* vector = warped + (y * F::kWarpedWidth + x + right) * F::kVectors + c;
        load_vector(reinterpret_cast<const T*>(vector), values);
        ARSEG_UNROLL
        for (int down = 0; down < 3; ++down) {
          const float* tap = weights + (3 * down + right) * a.channels + channel;
          ARSEG_UNROLL
          for (int e = 0; e < 8; ++e) sums[2 - down][e] += (own ? __ldg(tap + e) : 0.0f) * values[e];
        }
      }
      const int row = y - 2;
      if (row >= first) {
        // Outside the image keys and values are 0, not the bias.
        const bool inside = own && a.holds(top + row, left + x);
        float result[8];
        ARSEG_UNROLL
        for (int e = 0; e < 8; ++e) result[e] = inside ? sums[0][e] : 0.0f;
        store_vector(reinterpret_cast<T*>(to + F::place(row, x, c)), result);
      }
      ARSEG_UNROLL
      for (int e = 0; e < 8; ++e) {
        sums[0][e] = sums[1][e];
        sums[1][e] = sums[2][e];
        sums[2][e] = own ? weights[9 * a.channels + channel + e] : 0.0f;
      }
    }
  }
}

// The patch's rows of queries: a depthwise convolution of the upsampled tile, as a left operand.
template <typename F, typename T>
ARSEG_DEVICE void query_rows(const FusionArguments<T>& a, const PatchPosition<typename F::P>& at,
                             const uint4* upsampled, typename F::Rows& rows) {
  ARSEG_UNROLL
  for (int c = 0; c < F::kVectors; ++c) {
    const int channel = 8 * c + 2 * at.pair;
    const bool own = channel < a.channels;
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      float2 sum = make_float2(0.0f, 0.0f);
      if (own)
        sum = make_float2(a.query_weights[9 * a.channels + channel], a.query_weights[9 * a.channels + channel + 1]);
      ARSEG_UNROLL
      for (int tap = 0; tap < 9; ++tap) {
        const int y = at.patch_y + at.dy + 2 * half + tap / 3, x = at.patch_x + at.dx + tap % 3;
        const uint4* vector = upsampled + (y * F::kUpWidth + x) * F::kVectors + c;
        const float2 value = unpack<T>(reinterpret_cast<const uint32_t*>(vector)[at.pair]);
        const float* weight = a.query_weights + tap * a.channels + channel;
        sum.x += (own ? __ldg(weight) : 0.0f) * value.x;
        sum.y += (own ? __ldg(weight + 1) : 0.0f) * value.y;
      }
      rows[c / 2][c % 2 * 2 + half] = pack<T>(sum.x, sum.y);
    }
  }
}

// sums * factor + the upsampled map, to the patch's own pixels.
template <typename F, typename T>
ARSEG_DEVICE void store_fused(const FusionArguments<T>& a, const AttentionShape& s,
                              const PatchPosition<typename F::P>& at, const typename F::Sums& sums,
                              const float (&factor)[2]) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (!at.inside(s, half)) continue;
    const auto v = resize_tap<float>(at.y(half), a.low_height, a.height, true);
    const auto h = resize_tap<float>(at.x(), a.low_width, a.width, true);
    const T* upper = a.low_res + (at.batch * a.low_height + v.lower) * a.low_width * a.channels;
    const T* lower = a.low_res + (at.batch * a.low_height + v.upper) * a.low_width * a.channels;
    const int64_t left = static_cast<int64_t>(h.lower) * a.channels, right = static_cast<int64_t>(h.upper) * a.channels;
    T* to = a.out + s.pixel(at.batch, at.y(half), at.x()) * a.channels;
    ARSEG_UNROLL
    for (int c = 0; c < F::kVectors; ++c) {
      const int channel = 8 * c + 2 * at.pair;
      if (channel >= a.channels) continue;
      const auto pair = [&](const T* row, int64_t column) {
        return unpack<T>(*reinterpret_cast<const uint32_t*>(row + column + channel));
      };
      const float2 ul = pair(upper, left), ur = pair(upper, right), ll = pair(lower, left), lr = pair(lower, right);
      const auto mix = [&](float a0, float a1, float b0, float b1) {
        const float top = (1.0f - h.fraction) * a0 + h.fraction * a1;
        const float bottom = (1.0f - h.fraction) * b0 + h.fraction * b1;
        return (1.0f - v.fraction) * top + v.fraction * bottom;
      };
      *reinterpret_cast<uint32_t*>(to + channel) =
          pack<T>(sums[c][2 * half] * factor[half] + mix(ul.x, ur.x, ll.x, lr.x),
                  sums[c][2 * half + 1] * factor[half] + mix(ul.y, ur.y, ll.y, lr.y));
    }
  }
}

using ClassLogits = float[kFusedClasses / 8][4];

// logits += (sums * factor) x classifier^T, over one chunk. classifier: [kFusedClasses, channels].
template <typename F, typename T>
ARSEG_DEVICE void add_class_logits(const FusionArguments<T>& a, const PatchPosition<typename F::P>& at,
                                   const typename F::Sums& sums, const float (&factor)[2], const T* classifier,
                                   ClassLogits& logits) {
  ARSEG_UNROLL
  for (int step = 0; step < F::kSteps; ++step) {
    uint32_t values[4];
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int half = i % 2;
      const float (&sum)[4] = sums[2 * step + i / 2];
      values[i] = pack<T>(sum[2 * half] * factor[half], sum[2 * half + 1] * factor[half]);
    }
    ARSEG_UNROLL
    for (int block = 0; block < kFusedClasses / 8; ++block) {
      const int channel = 16 * step + 2 * at.pair;
      const T* row = classifier + static_cast<int64_t>(8 * block + at.row) * a.channels + channel;
      const uint32_t first = channel < a.channels ? *reinterpret_cast<const uint32_t*>(row) : 0u;
      const uint32_t second = channel + 8 < a.channels ? *reinterpret_cast<const uint32_t*>(row + 8) : 0u;
      multiply_add<T>(logits[block], values, first, second);
    }
  }
}

// Adds the low-resolution logits, and writes logits, or the class of the largest.
template <typename F, typename T>
ARSEG_DEVICE void store_classes(const ClassifyArguments<T>& a, const AttentionShape& s,
                                const PatchPosition<typename F::P>& at, ClassLogits& logits) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    const bool inside = at.inside(s, half);
    float best = 0.0f;
    int label = -1;
    const int64_t pixel = inside ? s.pixel(at.batch, at.y(half), at.x()) : 0;
    if (inside) {
      const auto v = resize_tap<float>(at.y(half), a.low_height, a.height, true);
      const auto h = resize_tap<float>(at.x(), a.low_width, a.width, true);
      ARSEG_UNROLL
      for (int i = 0; i < kFusedClasses / 4; ++i) {
        const int k = i / 2 * 8 + 2 * at.pair + i % 2;
        if (k >= a.classes) continue;
        const float logit = logits[i / 2][2 * half + i % 2] + low_res_logit(a, at.batch, k, v, h);
        if (a.logits) a.logits[pixel * a.classes + k] = from_float<T>(logit);
        if (label < 0 || logit > best) {
          best = logit;
          label = k;
        }
      }
    }
    if (a.labels) {  // the four lanes of a row have its classes
      best_of_lanes(best, label, 2);
      if (inside && at.pair == 0) a.labels[pixel] = static_cast<uint8_t>(label);
    }
  }
}

// CLASSIFY: the values' sums go through classifier [kFusedClasses, channels] and `classes` says where to; else features
// go to a.out.
template <typename T, int CHUNK, int WINDOW, bool CLASSIFY>
__global__ void __launch_bounds__(256, 2)
    fusion_in_one(FusionArguments<T> a, AttentionShape s, ClassifyArguments<T> classes, const T* classifier) {
  using F = FusedTile<CHUNK, WINDOW>;
  using P = typename F::P;
  ARSEG_SHARED(shared);
  uint4* warped = reinterpret_cast<uint4*>(shared);
  uint4* tile = warped + F::kWarpedVectors;  // upsampled, then keys, then values
  const int64_t n = blockIdx.z;
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  {
    const auto at = here();
    sample_tile<P, WarpedReference<T>>(a, n, at.tile_y - F::kRadius - 1, at.tile_x - F::kRadius - 1, F::kWarpedHeight,
                                       F::kWarpedWidth, warped);
    sample_tile<P, UpsampledLowRes<T>>(a, n, at.tile_y - 1, at.tile_x - 1, F::kUpHeight, F::kUpWidth, tile);
  }
  __syncthreads();
  typename P::Rows rows;
  query_rows<F>(a, here(), tile, rows);
  __syncthreads();  // keys take the place of the upsampled tile
  convolve_tile<F>(a, warped, a.key_weights, tile);
  __syncthreads();
  typename P::Products products;
  clear<P>(products);
  add_products<P, T>(here(), rows, tile, products);
  Softmax<P> softmax;
  typename P::Weights weights;
  softmax.template run<T, WINDOW>(s, here(), kLog2E, products, weights);
  const float factor[2] = {1.0f / softmax.total[0], 1.0f / softmax.total[1]};
  __syncthreads();  // values take the place of the keys
  convolve_tile<F>(a, warped, a.value_weights, tile);
  __syncthreads();
  const auto at = here();
  typename P::Sums sums;
  weighted_sum<P, T>(at, weights, tile, sums);
  if (__any_sync(kAllLanes, !all_finite<P>(sums, at.inside(s, 0), at.inside(s, 1)))) {
    weighted_sum_in_window<P, T, WINDOW>(at, weights, tile, sums);
  }
  if constexpr (CLASSIFY) {
    ClassLogits logits = {};
    add_class_logits<F>(a, at, sums, factor, classifier, logits);
    store_classes<F>(classes, s, at, logits);
  } else {
    store_fused<F>(a, s, at, sums, factor);
  }
}

template <typename T, int WINDOW, bool CLASSIFY>
void launch_fusion_in_one(const FusionArguments<T>& a, const ClassifyArguments<T>& classes, const T* classifier,
                          void* stream) {
  constexpr int kChunk = WINDOW <= 7 ? 64 : 32;  // 99 KB of shared memory hold no more
  using F = FusedTile<kChunk, WINDOW>;
  const AttentionShape shape{a.batch,    a.height,        a.width,        a.channels,
                             a.channels, a.window_height, a.window_width, a.masked};
  const auto kernel = fusion_in_one<T, kChunk, WINDOW, CLASSIFY>;
  ARSEG_LAUNCH(kernel, patch_grid<typename F::P>(shape), dim3(F::kThreads), F::kSharedBytes, stream, a, shape, classes,
               classifier);
}

}  // namespace arseg::gpu
