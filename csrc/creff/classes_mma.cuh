// Logits and labels of more channels than a tile of the fused attention holds, for float16 and bfloat16: keys pass
// through shared memory in chunks, and values are classes, which are few. Queries come from queries_mma.cuh, keys and
// values from keys_values_mma.cuh; the low-resolution map is projected where it is small.
#pragma once

#include "../local_attention/forward_softmax.cuh"
#include "../local_attention/mma.cuh"
#include "classifier_mma.cuh"
#include "keys_values_mma.cuh"
#include "queries_mma.cuh"

namespace arseg::gpu {

// Maps of the size of `reference`, made by launch_keys_and_values_mma. value: in the order of value_channel; or of
// classes, in transposed order.
template <typename T>
struct KeysAndValues {
  const T* key;
  const T* value;
};

// Whether attention on tensor cores takes a fusion, and a classifier behind it (0: there is none).
template <typename T>
bool can_use_patches(const FusionParams<T>& a, int classes) {
  return is_half_type<T> && a.window_height == a.window_width && a.window_height <= AttentionTraits::kMaxTiledWindow &&
         classes <= CreffTraits::Mma::kClasses && a.height <= CreffTraits::Mma::kTileHeight * kMaxGridRows &&
         a.batch <= kMaxGridRows;
}

// What the classifier makes of low_res, a warp 16 pixels. to: [N, h, w, CLASSES].
template <typename T, int CLASSES>
__global__ void __launch_bounds__(CreffTraits::Classify::kThreads)
    classify_low_res(FusionParams<T> a, FusedClassifier<T> classifier, float* to) {
  constexpr int kPixels = 16, kChannels = CreffTraits::Mma::kChannels;
  const int lane = static_cast<int>(threadIdx.x) % 32, row = lane / 4, quad_lane = lane % 4;
  const int64_t pixels = a.batch * a.low_height * a.low_width;
  const int64_t step = static_cast<int64_t>(gridDim.x) * CreffTraits::Classify::kWarps * kPixels;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * CreffTraits::Classify::kWarps + warp) * kPixels;
       first < pixels; first += step) {
    ClassLogits<CLASSES> logits[1] = {};
    for (int start = 0; start < a.channels; start += kChannels) {
      const auto load = [&](int, int part, uint32_t (&operands)[2][4]) {
        ARSEG_UNROLL
        for (int i = 0; i < 8; ++i) {
          const int64_t pixel = first + row + 8 * (i % 2);
          const int channel = start + 32 * part + 8 * (i / 2) + 2 * quad_lane;
          const bool own = pixel < pixels && channel < a.channels;
          operands[i / 4][i % 4] =
              own ? *reinterpret_cast<const uint32_t*>(a.low_res + pixel * a.channels + channel) : 0u;
        }
      };
      add_class_logits<T, CLASSES, ClassOrder::Straight>(classifier, start / kChannels, logits, load);
    }
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int64_t pixel = first + row + 8 * half;
      if (pixel >= pixels) continue;
      ARSEG_UNROLL
      for (int block = 0; block < CLASSES / 8; ++block) {
        *reinterpret_cast<float2*>(to + pixel * CLASSES + 8 * block + 2 * quad_lane) =
            make_float2(logits[0][block][2 * half], logits[0][block][2 * half + 1]);
      }
    }
  }
}

// logits, in transposed order, += the low-resolution logits at pixel (y, x), upsampled. half: 0 for pixel g, 1 for g
// + 8.
template <int CLASSES, typename T>
ARSEG_DEVICE void add_low_res_logits(const FusionParams<T>& a, const float* low_res_logits, int64_t n, int y, int x,
                                     int half, int quad_lane, ClassLogits<CLASSES>& logits) {
  const auto v = resize_tap(y, a.low_height, a.row_ratio), h = resize_tap(x, a.low_width, a.column_ratio);
  ARSEG_UNROLL
  for (int tap = 0; tap < 4; ++tap) {
    const int row = tap / 2 ? v.upper : v.lower, column = tap % 2 ? h.upper : h.lower;
    const float weight = (tap / 2 ? v.fraction : 1.0f - v.fraction) * (tap % 2 ? h.fraction : 1.0f - h.fraction);
    const float* from = low_res_logits + ((n * a.low_height + row) * a.low_width + column) * CLASSES;
    ARSEG_UNROLL
    for (int block = 0; block < CLASSES / 8; ++block) {
      const float2 two = *reinterpret_cast<const float2*>(from + transposed_class<CLASSES>(block, quad_lane));
      logits[block][2 * half] += weight * two.x;
      logits[block][2 * half + 1] += weight * two.y;
    }
  }
}

// Chunks of keys, and then the classes, pass through two buffers: while one is worked on, the next is on its way.
// chunks: of the keys, at least two.
template <typename T, int WINDOW, int CLASSES>
__global__ void __launch_bounds__(CreffTraits::Mma::kThreads, CreffTraits::Mma::blocks_of_multiprocessor(WINDOW))
    attention_of_classes(FusionParams<T> a, AttentionShape s, int chunks, KeysAndValues<T> maps, const T* query,
                         const float* low_res_logits, FusedClassifier<T> classifier) {
  constexpr int kChannels = CreffTraits::Mma::kChannels;
  using P = Patch<kChannels, WINDOW>;
  using V = Patch<CLASSES, WINDOW>;
  ARSEG_SHARED(shared);
  uint4* buffers = reinterpret_cast<uint4*>(shared);
  const int64_t n = blockIdx.z;
  // Worked out again where it is needed: registers are what this kernel has least of.
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  const auto buffer = [&](int chunk) { return buffers + chunk % 2 * P::kChunkVectors; };
  const auto fetch = [&](int chunk) {
    const auto at = here();
    if (chunk < chunks) {
      copy_chunk<P>(s, maps.key, s.channels, chunk * kChannels, n, at.tile_y, at.tile_x, buffer(chunk));
    } else if (chunk == chunks) {
      copy_chunk<V>(s, maps.value, CLASSES, 0, n, at.tile_y, at.tile_x, buffer(chunk));
    }
    cp_async_commit();  // also where nothing is left, so that "all but one group" is always the next chunk
  };
  fetch(0);
  fetch(1);
  typename P::Products products;
  clear<P>(products);
  ARSEG_NO_UNROLL
  for (int chunk = 0; chunk < chunks; ++chunk) {
    typename P::Rows rows;
    load_rows(s, here(), query, s.channels, chunk * kChannels, rows);
    cp_async_wait<1>();
    __syncthreads();
    add_products<P, T>(here(), rows, buffer(chunk), products);
    if (chunk + 2 <= chunks) __syncthreads();  // the buffer is free
    fetch(chunk + 2);
  }
  Softmax<P> softmax;
  typename P::Weights weights;
  softmax.template run<T, WINDOW>(s, here(), kLog2E, products, weights);
  const float factor[2] = {reciprocal_fast(softmax.row_sum[0]), reciprocal_fast(softmax.row_sum[1])};
  cp_async_wait<0>();
  __syncthreads();
  const PatchPosition<V> at(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x));
  const uint4* values = buffer(chunks);
  typename V::Sums logits;
  sum_values<V, T, WINDOW>(s, at, weights, values, logits);
  const bool inside[2] = {at.inside(s, 0), at.inside(s, 1)};
  float2 biases[V::kVectors];
  load_biases<CLASSES>(classifier, at.quad_lane, biases);
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    ARSEG_UNROLL
    for (int block = 0; block < V::kVectors; ++block) {
      logits[block][2 * half] = logits[block][2 * half] * factor[half] + biases[block].x;
      logits[block][2 * half + 1] = logits[block][2 * half + 1] * factor[half] + biases[block].y;
    }
    if (inside[half]) {
      add_low_res_logits<CLASSES>(a, low_res_logits, n, at.y(half), at.x(), half, at.quad_lane, logits);
    }
  }
  store_classes<CLASSES>(classifier, s.pixel(n, at.y(0), at.x()), s.width, inside, at.quad_lane, logits);
}

// Logits or labels of more than CreffTraits::Mma::kChannels channels. scratch: key, value and query alone.
// low_res_logits: [N, h, w, CLASSES], scratch as well.
template <int CLASSES, typename T>
void launch_classes(const FusionParams<T>& a, const FusionScratch<T>& scratch, float* low_res_logits,
                    const FusedClassifier<T>& classifier, void* stream) {
  static_assert(is_half_type<T>);
  const int64_t low_pixels = a.batch * a.low_height * a.low_width;
  const auto classify_low = classify_low_res<T, CLASSES>;
  ARSEG_LAUNCH(classify_low, dim3(blocks_for(low_pixels, 16 * CreffTraits::Classify::kWarps, kMaxGridColumns)),
               dim3(CreffTraits::Classify::kThreads), 0, stream, a, classifier, low_res_logits);
  launch_keys_and_values_mma<Values::ClassesOfChunks, CLASSES>(a, scratch.key, scratch.value, a.channels, classifier,
                                                               stream);
  launch_queries_mma<T>(a, scratch.query, nullptr, stream);
  const AttentionShape shape{a.batch,    a.height,        a.width,        a.channels,
                             a.channels, a.window_height, a.window_width, a.masked};
  dispatch_window(a.window_height, [&](auto window) {
    using P = Patch<CreffTraits::Mma::kChannels, window>;
    const auto kernel = attention_of_classes<T, window, CLASSES>;
    ARSEG_LAUNCH(kernel, patch_grid<P>(shape), dim3(P::kThreads), 2 * P::kChunkBytes, stream, a, shape,
                 static_cast<int>(ceil_div(a.channels, CreffTraits::Mma::kChannels)),
                 KeysAndValues<T>{scratch.key, scratch.value}, scratch.query, low_res_logits, classifier);
  });
}

}  // namespace arseg::gpu
