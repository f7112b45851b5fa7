// The fusion's attention with queries of its own, for float16 and bfloat16: keys and values come from
// keys_values_mma.cuh, queries are made in shared memory from the low-resolution map, and features, logits or labels
// are all that is written. On the patches of csrc/local_attention/mma.cuh.
//
// Warping and convolving in shared memory as well would save two maps of bytes, and was measured: each tile then warps
// 3 times its pixels and makes keys and values of 2.4 times as many, and a fusion at 64x720x960 took 1622 us of an H200
// (on patches of 4x4) where two kernels took 401.
#pragma once

#include "../local_attention/forward_softmax.cuh"
#include "../local_attention/mma.cuh"
#include "classes_mma.cuh"
#include "classifier_mma.cuh"
#include "depthwise.cuh"
#include "keys_values_mma.cuh"
#include "upsample_tile.cuh"

namespace arseg::gpu {

template <int WINDOW>
struct FusedTile : Patch<CreffTraits::Mma::kChannels, WINDOW> {
  using P = Patch<CreffTraits::Mma::kChannels, WINDOW>;
  static_assert(P::kVectors == CreffTraits::Depthwise::kVectors);
  // Where values come later there are, before, the upsampled tile and the queries.
  static constexpr int kUpHeight = P::kTileHeight + 2, kUpWidth = P::kTileWidth + 2;
  static constexpr int kUpVectors = kUpHeight * kUpWidth * P::kVectors;
  static constexpr int kQueryVectors = P::kTileHeight * P::kTileWidth * P::kVectors;
  static constexpr int kBeforeBytes = (kUpVectors + kQueryVectors) * 16;
  static constexpr int kSharedBytes = P::kChunkBytes + (P::kChunkBytes > kBeforeBytes ? P::kChunkBytes : kBeforeBytes);

  ARSEG_DEVICE static int up_place(int y, int x, int c) { return tile_place<kUpWidth>(y, x, c); }
  ARSEG_DEVICE static int query_place(int y, int x, int c) { return tile_place<P::kTileWidth>(y, x, c); }
};

// Queries of the tile: a depthwise convolution of the upsampled tile.
template <typename F, typename T>
ARSEG_DEVICE void make_queries(const FusionParams<T>& a, const uint4* upsampled, uint4* queries) {
  static_assert(F::kWarps == F::kVectors && F::kTileWidth == 16);
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  const int lane = thread % 32, c = thread / 32;
  const DiagonalFilter<T> filter[1] = {{a.query_weights, a.channels, 8 * c}};
  convolve_rows<F::kUpWidth, F::kTileHeight>(upsampled, c, filter, [&](int y, int, const float (&sums)[4]) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      uint4* vector = queries + F::query_place(y, lane / 4 + 8 * half, c);
      reinterpret_cast<uint32_t*>(vector)[lane % 4] = pack<T>(sums[2 * half], sums[2 * half + 1]);
    }
  });
}

// The patch's rows of queries, as a left operand.
template <typename F>
ARSEG_DEVICE void load_queries(const PatchPosition<typename F::P>& at, const uint4* queries, typename F::Rows& rows) {
  const int half = at.lane / 8 % 2, x = at.patch_x + at.lane % 8;
  const int first = F::query_place(at.patch_y + half, x, at.lane / 16);
  ARSEG_UNROLL
  for (int step = 0; step < F::kSteps; ++step) ldmatrix_x4<false>(rows[step], queries + (first ^ 2 * step));
}

// The upsampled map at the patch's own pixels: the vectors of channels of which this lane sums up values.
template <typename F>
using Residual = uint4[2][2];

template <typename F>
ARSEG_DEVICE void load_residual(const PatchPosition<typename F::P>& at, const uint4* upsampled, Residual<F>& residual) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    ARSEG_UNROLL
    for (int i = 0; i < 2; ++i) {
      residual[half][i] = upsampled[F::up_place(at.patch_y + half + 1, at.patch_x + at.row + 1, 4 * i + at.quad_lane)];
    }
  }
}

// sums * factor + the upsampled map, to the patch's own pixels.
template <typename F, typename T>
ARSEG_DEVICE void store_fused(const FusionParams<T>& a, const AttentionShape& s, const PatchPosition<typename F::P>& at,
                              const typename F::Sums& sums, const float (&factor)[2], const Residual<F>& residual) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (!at.inside(s, half)) continue;
    T* to = a.out + s.pixel(at.batch, at.y(half), at.x()) * a.channels;
    ARSEG_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int channel = CreffTraits::Mma::value_channel(32 * i) + 8 * at.quad_lane;
      if (channel >= a.channels) continue;
      float values[8];
      load_vector(reinterpret_cast<const T*>(&residual[half][i]), values);
      ARSEG_UNROLL
      for (int e = 0; e < 8; ++e) values[e] += sums[4 * i + e / 2][2 * half + e % 2] * factor[half];
      store_vector(to + channel, values);
    }
  }
}

// What the classifier makes of the upsampled map at the patch's own pixels, and the bias: in transposed order.
template <typename F, int CLASSES, typename T>
ARSEG_DEVICE void load_low_res_logits(const FusedClassifier<T>& classifier, const PatchPosition<typename F::P>& at,
                                      const uint4* upsampled, ClassLogits<CLASSES> (&logits)[1]) {
  const int half = at.lane / 8 % 2, x = at.patch_x + at.lane % 8;
  float2 biases[CLASSES / 8];
  load_biases<CLASSES>(classifier, at.quad_lane, biases);
  ARSEG_UNROLL
  for (int block = 0; block < CLASSES / 8; ++block) {
    logits[0][block][0] = logits[0][block][2] = biases[block].x;
    logits[0][block][1] = logits[0][block][3] = biases[block].y;
  }
  const int first = F::up_place(at.patch_y + half + 1, x + 1, at.lane / 16);
  const auto load = [&](int, int part, uint32_t (&pixels)[2][4]) {
    ldmatrix_x4<false>(pixels[0], upsampled + (first ^ 4 * part));
    ldmatrix_x4<false>(pixels[1], upsampled + (first ^ (4 * part + 2)));
  };
  add_class_logits<T, CLASSES, ClassOrder::Transposed>(classifier, 0, logits, load);
}

// CLASSES: values are so many classes, and logits or labels go where the classifier says; 0: features go to a.out.
template <typename T, int WINDOW, int CLASSES>
__global__ void __launch_bounds__(CreffTraits::Mma::kThreads, CreffTraits::Mma::blocks_of_multiprocessor(WINDOW))
    fused_attention(FusionParams<T> a, AttentionShape s, KeysAndValues<T> maps, FusedClassifier<T> classifier) {
  using F = FusedTile<WINDOW>;
  using P = typename F::P;
  constexpr int kChannels = CreffTraits::Mma::kChannels, kValueChannels = CLASSES ? CLASSES : kChannels;
  using V = Patch<kValueChannels, WINDOW>;  // of values
  ARSEG_SHARED(shared);
  uint4* keys = reinterpret_cast<uint4*>(shared);
  uint4* values = keys + P::kChunkVectors;
  uint4 *upsampled = values, *queries = values + F::kUpVectors;
  const int64_t n = blockIdx.z;
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  // Of the upsampled map, which values take the place of, what the result needs in the end.
  std::conditional_t<(CLASSES > 0), ClassLogits<kValueChannels>[1], Residual<F>> residual;
  typename P::Rows rows;
  {
    const auto at = here();
    const int y0 = at.tile_y - 1, x0 = at.tile_x - 1;
    uint4* low_res = queries;  // later there are the queries
    const LowResPatch<F::kUpHeight, F::kUpWidth> patch(a, y0, x0);
    const bool fits = patch.vectors() <= F::kQueryVectors;
    if (fits) patch.template copy<F::kThreads>(a, n, 0, low_res);
    cp_async_commit();
    copy_chunk<P>(s, maps.key, kChannels, 0, n, at.tile_y, at.tile_x, keys);
    cp_async_commit();
    if (fits) {
      cp_async_wait<1>();
      __syncthreads();
      patch.template upsample<F::kThreads>(a, y0, x0, low_res, upsampled);
    } else {  // upsampled less than about 1.8 times
      sample_tile<UpsampledLowRes<T>, F::kThreads>(a, n, y0, x0, F::kUpHeight, F::kUpWidth, 0, upsampled, F::up_place);
    }
  }
  __syncthreads();
  make_queries<F>(a, upsampled, queries);
  if constexpr (CLASSES > 0) {
    load_low_res_logits<F, CLASSES>(classifier, here(), upsampled, residual);
  } else {
    load_residual<F>(here(), upsampled, residual);
  }
  __syncthreads();
  load_queries<F>(here(), queries, rows);
  cp_async_wait<0>();
  __syncthreads();  // keys are there, and values take the place of the queries
  {
    const auto at = here();
    copy_chunk<V>(s, maps.value, kValueChannels, 0, n, at.tile_y, at.tile_x, values);
    cp_async_commit();
  }
  typename P::Products products;
  clear<P>(products);
  add_products<P, T>(here(), rows, keys, products);
  Softmax<P> softmax;
  typename P::Weights weights;
  softmax.template run<T, WINDOW>(s, here(), kLog2E, products, weights);
  const float factor[2] = {reciprocal_fast(softmax.row_sum[0]), reciprocal_fast(softmax.row_sum[1])};
  cp_async_wait<0>();
  __syncthreads();
  const PatchPosition<V> at(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x));
  typename V::Sums sums;
  sum_values<V, T, WINDOW>(s, at, weights, values, sums);
  if constexpr (CLASSES > 0) {
    const bool inside[2] = {at.inside(s, 0), at.inside(s, 1)};
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      ARSEG_UNROLL
      for (int block = 0; block < V::kVectors; ++block) {
        ARSEG_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; ++i) residual[0][block][i] += sums[block][i] * factor[half];
      }
    }
    store_classes<CLASSES>(classifier, s.pixel(n, at.y(0), at.x()), s.width, inside, at.quad_lane, residual[0]);
  } else {
    store_fused<F>(a, s, at, sums, factor, residual);
  }
}

template <typename T, int WINDOW, int CLASSES>
void launch_fused_attention(const FusionParams<T>& a, const KeysAndValues<T>& maps,
                            const FusedClassifier<T>& classifier, void* stream) {
  using F = FusedTile<WINDOW>;
  const AttentionShape shape{a.batch,    a.height,        a.width,        a.channels,
                             a.channels, a.window_height, a.window_width, a.masked};
  const auto kernel = fused_attention<T, WINDOW, CLASSES>;
  ARSEG_LAUNCH(kernel, patch_grid<typename F::P>(shape), dim3(F::kThreads), F::kSharedBytes, stream, a, shape, maps,
               classifier);
}

// Whether the attention makes its own queries: on tensor cores, with all channels of a tile in shared memory.
template <typename T>
bool can_use_fused(const FusionParams<T>& a, int classes) {
  return can_use_patches(a, classes) && a.channels <= CreffTraits::Mma::kChannels;
}

// scratch: key and value alone. CLASSES: 0 for features into a.out, without a classifier.
template <int CLASSES, typename T>
void launch_fused(const FusionParams<T>& a, const FusionScratch<T>& scratch, const FusedClassifier<T>& classifier,
                  void* stream) {
  static_assert(is_half_type<T>);
  constexpr int kChannels = CreffTraits::Mma::kChannels;
  const KeysAndValues<T> maps{scratch.key, scratch.value};
  constexpr Values kValues = CLASSES ? Values::Classes : Values::Permuted;
  launch_keys_and_values_mma<kValues, CLASSES>(a, scratch.key, scratch.value, kChannels, classifier, stream);
  dispatch_window(a.window_height,
                  [&](auto window) { launch_fused_attention<T, window, CLASSES>(a, maps, classifier, stream); });
}

}  // namespace arseg::gpu
