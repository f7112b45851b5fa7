// The fusion's attention with queries of its own, for float16 and bfloat16: keys and values come from depthwise.cuh's
// kernel, queries are made in shared memory from the low-resolution map, and features, logits or labels are all that is
// written. On the patches of csrc/local_attention/mma.cuh.
//
// Warping and convolving in shared memory as well would save two maps of bytes, and was measured: each tile then warps
// 3 times its pixels and makes keys and values of 2.4 times as many, and a fusion at 64x720x960 took 1622 us of an H200
// (on patches of 4x4) where these two kernels take 401.
#pragma once

#include "../local_attention/mma.cuh"
#include "classify.cuh"
#include "depthwise.cuh"

namespace arseg::gpu {

template <int WINDOW>
struct FusedTile : Patch<CreffTraits::Mma::kChannels, WINDOW> {
  using P = Patch<CreffTraits::Mma::kChannels, WINDOW>;
  static_assert(P::kVectors == CreffTraits::Depthwise::kVectors);
  // Where values come later there are, before, the upsampled tile and the queries.
  static constexpr int kUpHeight = P::kTileHeight + 2, kUpWidth = P::kTileWidth + 2;
  static constexpr int kUpVectors = kUpHeight * kUpWidth * P::kVectors;
  static constexpr int kBeforeBytes = (kUpVectors + P::kTileHeight * P::kTileWidth * P::kVectors) * 16;
  static constexpr int kSharedBytes = P::kChunkBytes + (P::kChunkBytes > kBeforeBytes ? P::kChunkBytes : kBeforeBytes);

  ARSEG_DEVICE static int up_place(int y, int x, int c) { return (y * kUpWidth + x) * P::kVectors + (c ^ (x & 7)); }
  ARSEG_DEVICE static int query_place(int y, int x, int c) {
    return (y * P::kTileWidth + x) * P::kVectors + (c ^ (x & 7));
  }
};

// Queries of the tile: a depthwise convolution of the upsampled tile.
template <typename F, typename T>
ARSEG_DEVICE void make_queries(const FusionParams<T>& a, const uint4* upsampled, uint4* queries) {
  constexpr int kUnits = CreffTraits::Mma::kChannels / kUnit<T>;
  static_assert(kUnits * F::kTileWidth == F::kThreads);
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  const int channel = thread % kUnits * kUnit<T>, x = thread / kUnits;
  const auto unit_of = [&](auto* vector) {
    using Unit = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(vector)>>, const T, T>;
    return reinterpret_cast<Unit*>(vector) + channel % 8;
  };
  const auto store = [&](int y, const float (&values)[kUnit<T>]) {
    store_unit(unit_of(queries + F::query_place(y, x, channel / 8)), values);
  };
  if (channel < a.channels) {
    const auto from = [&](int y, int right) { return unit_of(upsampled + F::up_place(y, x + right, channel / 8)); };
    convolve_column<T>(a.query_weights + channel, a.channels, F::kTileHeight, from, store);
  } else {
    for (int y = 0; y < F::kTileHeight; ++y) store(y, {});
  }
}

// The patch's rows of queries, as a left operand.
template <typename F>
ARSEG_DEVICE void load_queries(const PatchPosition<typename F::P>& at, const uint4* queries, typename F::Rows& rows) {
  const int half = at.lane / 8 % 2, x = at.patch_x + at.lane % 8;
  const int first = F::query_place(at.patch_y + half, x, at.lane / 16);
  ARSEG_UNROLL
  for (int step = 0; step < F::kSteps; ++step) ldmatrix_x4<false>(rows[step], queries + (first ^ 2 * step));
}

// The upsampled map at the patch's own pixels, in pairs of T.
template <typename F>
using Residual = uint32_t[F::kVectors][2];

template <typename F>
ARSEG_DEVICE void load_residual(const PatchPosition<typename F::P>& at, const uint4* upsampled, Residual<F>& residual) {
  ARSEG_UNROLL
  for (int c = 0; c < F::kVectors; ++c) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      const uint4* vector = upsampled + F::up_place(at.patch_y + half + 1, at.patch_x + at.row + 1, c);
      residual[c][half] = reinterpret_cast<const uint32_t*>(vector)[at.quad_lane];
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
    for (int c = 0; c < F::kVectors; ++c) {
      const int channel = 8 * c + 2 * at.quad_lane;
      if (channel >= a.channels) continue;
      const float2 more = unpack<T>(residual[c][half]);
      *reinterpret_cast<uint32_t*>(to + channel) =
          pack<T>(sums[c][2 * half] * factor[half] + more.x, sums[c][2 * half + 1] * factor[half] + more.y);
    }
  }
}

using ClassLogits = float[CreffTraits::Mma::kClasses / 8][4];

// logits += (sums * factor) x classifier^T, over one chunk. classifier: [CreffTraits::Mma::kClasses, channels].
template <typename F, typename T>
ARSEG_DEVICE void add_class_logits(const FusionParams<T>& a, const PatchPosition<typename F::P>& at,
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
    for (int block = 0; block < CreffTraits::Mma::kClasses / 8; ++block) {
      const int channel = 16 * step + 2 * at.quad_lane;
      const T* row = classifier + static_cast<int64_t>(8 * block + at.row) * a.channels + channel;
      const uint32_t first = channel < a.channels ? *reinterpret_cast<const uint32_t*>(row) : 0u;
      const uint32_t second = channel + 8 < a.channels ? *reinterpret_cast<const uint32_t*>(row + 8) : 0u;
      mma_m16n8k16<T>(logits[block], values, first, second);
    }
  }
}

// Adds the low-resolution logits, and writes logits, or the class of the largest.
template <typename F, typename T>
ARSEG_DEVICE void store_classes(const ClassifyParams<T>& a, const AttentionShape& s,
                                const PatchPosition<typename F::P>& at, ClassLogits& logits) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    const bool inside = at.inside(s, half);
    float best = 0.0f;
    int label = -1;
    const int64_t pixel = inside ? s.pixel(at.batch, at.y(half), at.x()) : 0;
    if (inside) {
      const LowResLogits<T> low_res(a, at.batch, at.y(half), at.x());
      ARSEG_UNROLL
      for (int i = 0; i < CreffTraits::Mma::kClasses / 4; ++i) {
        const int k = i / 2 * 8 + 2 * at.quad_lane + i % 2;
        if (k >= a.classes) continue;
        const float logit = logits[i / 2][2 * half + i % 2] + low_res.of(k);
        if (a.logits) a.logits[pixel * a.classes + k] = from_float<T>(logit);
        if (label < 0 || is_chosen_over(logit, best)) {
          best = logit;
          label = k;
        }
      }
    }
    if (a.labels) {  // the four lanes of a row have its classes
      best_of_lanes(best, label, 2);
      if (inside && at.quad_lane == 0) a.labels[pixel] = static_cast<uint8_t>(label);
    }
  }
}

// Maps of the size of `reference`, made by launch_keys_and_values.
template <typename T>
struct KeysAndValues {
  const T* key;
  const T* value;
};

// CLASSIFY: the values' sums go through classifier [CreffTraits::Mma::kClasses, channels] and `classes` says where to;
// else features go to a.out.
template <typename T, int WINDOW, bool CLASSIFY>
__global__ void __launch_bounds__(CreffTraits::Mma::kThreads, CreffTraits::Mma::blocks_of_multiprocessor(WINDOW))
    fused_attention(FusionParams<T> a, AttentionShape s, KeysAndValues<T> maps, ClassifyParams<T> classes,
                    const T* classifier) {
  using F = FusedTile<WINDOW>;
  using P = typename F::P;
  ARSEG_SHARED(shared);
  uint4* keys = reinterpret_cast<uint4*>(shared);
  uint4* values = keys + P::kChunkVectors;
  uint4 *upsampled = values, *queries = values + F::kUpVectors;
  const int64_t n = blockIdx.z;
  const auto here = [&] { return PatchPosition<P>(n, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x)); };
  typename P::Rows rows;
  Residual<F> residual;
  {
    const auto at = here();
    copy_chunk<P>(s, maps.key, s.channels, 0, n, at.tile_y, at.tile_x, keys);
    cp_async_commit();
    sample_tile<UpsampledLowRes<T>, F::kThreads>(a, n, at.tile_y - 1, at.tile_x - 1, F::kUpHeight, F::kUpWidth, 0,
                                                 upsampled, F::up_place);
  }
  __syncthreads();
  make_queries<F>(a, upsampled, queries);
  if constexpr (!CLASSIFY) load_residual<F>(here(), upsampled, residual);
  __syncthreads();
  load_queries<F>(here(), queries, rows);
  cp_async_wait<0>();
  __syncthreads();  // keys are there, and values take the place of the queries
  {
    const auto at = here();
    copy_chunk<P>(s, maps.value, s.channels, 0, n, at.tile_y, at.tile_x, values);
    cp_async_commit();
  }
  typename P::Products products;
  clear<P>(products);
  add_products<P, T>(here(), rows, keys, products);
  Softmax<P> softmax;
  typename P::Weights weights;
  softmax.template run<T, WINDOW>(s, here(), kLog2E, products, weights);
  const float factor[2] = {1.0f / softmax.row_sum[0], 1.0f / softmax.row_sum[1]};
  cp_async_wait<0>();
  __syncthreads();
  const auto at = here();
  typename P::Sums sums;
  weighted_sum<P, T>(at, weights, values, 0, sums);
  if (__any_sync(kAllLanes, !all_finite<P>(sums, at.inside(s, 0), at.inside(s, 1)))) {
    weighted_sum_in_window<P, T, WINDOW>(at, weights, values, sums);
  }
  if constexpr (CLASSIFY) {
    ClassLogits logits = {};
    add_class_logits<F>(a, at, sums, factor, classifier, logits);
    store_classes<F>(classes, s, at, logits);
  } else {
    store_fused<F>(a, s, at, sums, factor, residual);
  }
}

template <typename T, int WINDOW, bool CLASSIFY>
void launch_fused_attention(const FusionParams<T>& a, const KeysAndValues<T>& maps, const ClassifyParams<T>& classes,
                            const T* classifier, void* stream) {
  using F = FusedTile<WINDOW>;
  const AttentionShape shape{a.batch,    a.height,        a.width,        a.channels,
                             a.channels, a.window_height, a.window_width, a.masked};
  const auto kernel = fused_attention<T, WINDOW, CLASSIFY>;
  ARSEG_LAUNCH(kernel, patch_grid<typename F::P>(shape), dim3(F::kThreads), F::kSharedBytes, stream, a, shape, maps,
               classes, classifier);
}

// Whether the attention makes its own queries: on tensor cores, with all channels of a tile in shared memory.
template <typename T>
bool can_use_fused(const FusionParams<T>& a, int classes) {
  return is_half_type<T> && a.window_height == a.window_width && a.window_height <= AttentionTraits::kMaxTiledWindow &&
         a.channels <= CreffTraits::Mma::kChannels && classes <= CreffTraits::Mma::kClasses &&
         a.height <= CreffTraits::Mma::kTileHeight * kMaxGridRows && a.batch <= kMaxGridRows;
}

// scratch: key and value alone. classifier: null, for features into a.out; else [CreffTraits::Mma::kClasses, channels],
// for logits or labels as `classes` says.
template <typename T>
void launch_fused(const FusionParams<T>& a, const FusionScratch<T>& scratch, const ClassifyParams<T>& classes,
                  const T* classifier, void* stream) {
  static_assert(is_half_type<T>);
  launch_keys_and_values(a, scratch.key, scratch.value, stream);
  const KeysAndValues<T> maps{scratch.key, scratch.value};
  dispatch_window(a.window_height, [&](auto window) {
    if (classifier) {
      launch_fused_attention<T, window, true>(a, maps, classes, classifier, stream);
    } else {
      launch_fused_attention<T, window, false>(a, maps, classes, classifier, stream);
    }
  });
}

}  // namespace arseg::gpu
