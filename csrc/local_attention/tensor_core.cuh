// Attention of a window on tensor cores: the pieces that forward, backward and the fusion are made of.
//
// A block works on a tile of 8 x 16 pixels, a warp on a patch of 4 x 4 of them. The windows of a patch cover
// (window + 3)^2 pixels of the other map, so a warp multiplies the 16 rows of its patch with all of those, and then
// looks at the pairs that are in a window: 45 % of the products at window 7, in exchange for tensor cores. All products
// of a patch stay in registers; there is no running softmax.
//
// Channels come in chunks. A chunk of the other map's tile lies in shared memory as vectors of 8 values, placed so that
// the eight rows of one ldmatrix never meet in a bank.
#pragma once

#include "arguments.cuh"

namespace arseg::gpu {

// CHUNK: channels a chunk, 32 or 64. WINDOW: side of the window, at most 9.
template <int CHUNK, int WINDOW>
struct Patch {
  static constexpr int kTileHeight = 8, kTileWidth = 16, kWarps = 8, kThreads = 32 * kWarps;
  static constexpr int kRadius = WINDOW / 2;
  static constexpr int kHaloHeight = kTileHeight + WINDOW - 1, kHaloWidth = kTileWidth + WINDOW - 1;
  static constexpr int kHaloPixels = kHaloHeight * kHaloWidth;
  static constexpr int kVectors = CHUNK / 8;              // of a pixel's chunk
  static constexpr int kSteps = CHUNK / 16;               // of the inner dimension of multiply_add
  static constexpr int kSpan = WINDOW + 3;                // side of what a patch's windows cover
  static constexpr int kKeys = kSpan * kSpan;             // "keys": the pixels of the other map
  static constexpr int kColumns = (kKeys + 15) / 16 * 2;  // blocks of 8 keys, an even number
  static constexpr int kChunkVectors = kHaloPixels * kVectors;
  static constexpr int kChunkBytes = kChunkVectors * 16;

  // Products of the patch's 16 rows with its keys, as multiply_add leaves them: of column block n, key 8n + 2t and the
  // next with row g ([0], [1]) and row g + 8 ([2], [3]), where g = lane / 4 and t = lane % 4.
  using Products = float[kColumns][4];
  // The same in pairs of T, as multiply_add takes them.
  using Weights = uint32_t[kColumns][2];
  // 16 rows of CHUNK channels: as a left operand, and as a sum.
  using Rows = uint32_t[kSteps][4];
  using Sums = float[kVectors][4];

  // Where vector c of the chunk of halo pixel (y, x) lies. Keys are read eight in a row of the patch's square; those
  // get eight (with four vectors a pixel, four pairs of) different places.
  ARSEG_DEVICE static int place(int y, int x, int c) {
    const int key = y * kSpan + x;
    return (y * kHaloWidth + x) * kVectors + (c ^ (kVectors == 8 ? key & 7 : key >> 1 & 3));
  }
};

// Chunks of a kernel's maps, counted by the host: registers are what these kernels have least of.
struct Chunks {
  int keys, values;

  template <int CHUNK>
  static Chunks of(const AttentionShape& shape) {
    return {(shape.channels + CHUNK - 1) / CHUNK, (shape.value_channels + CHUNK - 1) / CHUNK};
  }
};

// Where this thread's part of a patch is.
template <typename P>
struct PatchPosition {
  int lane, row, pair;   // row: g of the fragments; pair: t
  int patch_y, patch_x;  // of the patch in the tile
  int dy, dx;            // of row g in the patch; row g + 8 is two pixels below
  int tile_y, tile_x;    // of the tile in the image
  int64_t batch;

  ARSEG_DEVICE PatchPosition(int64_t n, int block_y, int block_x) : batch(n) {
    const int thread = opaque(static_cast<int>(threadIdx.x));
    const int warp = thread / 32;
    lane = thread % 32;
    row = lane / 4;
    pair = lane % 4;
    patch_y = warp / (P::kTileWidth / 4) * 4;
    patch_x = warp % (P::kTileWidth / 4) * 4;
    dy = row / 4;
    dx = row % 4;
    tile_y = block_y * P::kTileHeight;
    tile_x = block_x * P::kTileWidth;
  }

  // The pixel of row g (half 0) or g + 8 (half 1).
  ARSEG_DEVICE int y(int half) const { return tile_y + patch_y + dy + 2 * half; }
  ARSEG_DEVICE int x() const { return tile_x + patch_x + dx; }
  ARSEG_DEVICE bool inside(const AttentionShape& shape, int half) const {
    return y(half) < shape.height && x() < shape.width;
  }

  // Whether a key of the patch is in the window of row g (half 0) or g + 8 (half 1).
  template <int WINDOW>
  ARSEG_DEVICE bool in_window(int key, int half) const {
    const int below = key / P::kSpan - dy - 2 * half, right = key % P::kSpan - dx;
    return key < P::kKeys && static_cast<unsigned>(below) < WINDOW && static_cast<unsigned>(right) < WINDOW;
  }

  // A key's place in the image, and in the halo.
  ARSEG_DEVICE int key_y(int key) const { return tile_y + patch_y + key / P::kSpan - P::kRadius; }
  ARSEG_DEVICE int key_x(int key) const { return tile_x + patch_x + key % P::kSpan - P::kRadius; }
  ARSEG_DEVICE int halo(int key) const { return (patch_y + key / P::kSpan) * P::kHaloWidth + patch_x + key % P::kSpan; }
};

// Begins to copy channels [start, start + CHUNK) of the halo to shared memory; 0 outside the image and past `channels`.
template <typename P, typename T>
ARSEG_DEVICE void copy_chunk(const AttentionShape& shape, const T* map, int channels, int start, int64_t n, int tile_y,
                             int tile_x, uint4* to) {
  ARSEG_NO_UNROLL
  for (int i = opaque(static_cast<int>(threadIdx.x)); i < P::kChunkVectors; i += P::kThreads) {
    const int halo = i / P::kVectors, c = i % P::kVectors;
    const int hy = halo / P::kHaloWidth, hx = halo % P::kHaloWidth;
    const int y = tile_y + hy - P::kRadius, x = tile_x + hx - P::kRadius;
    const bool valid = shape.holds(y, x) && start + 8 * c < channels;
    const T* from = valid ? map + shape.pixel(n, y, x) * channels + start + 8 * c : map;
    copy_async16(to + P::place(hy, hx, c), from, valid);
  }
}

// The patch's own rows of a chunk, from global memory.
template <typename P, typename T>
ARSEG_DEVICE void load_rows(const AttentionShape& shape, const PatchPosition<P>& at, const T* map, int channels,
                            int start, typename P::Rows& rows) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    const bool inside = at.inside(shape, half);
    const T* from = inside ? map + shape.pixel(at.batch, at.y(half), at.x()) * channels : map;
    ARSEG_UNROLL
    for (int step = 0; step < P::kSteps; ++step) {
      ARSEG_UNROLL
      for (int right = 0; right < 2; ++right) {
        const int channel = start + 16 * step + 8 * right + 2 * at.pair;
        const bool valid = inside && channel < channels;
        rows[step][2 * right + half] = valid ? *reinterpret_cast<const uint32_t*>(from + channel) : 0u;
      }
    }
  }
}

template <typename P>
ARSEG_DEVICE void clear(typename P::Products& products) {
  ARSEG_UNROLL
  for (int n = 0; n < P::kColumns; ++n) products[n][0] = products[n][1] = products[n][2] = products[n][3] = 0.0f;
}

// products += rows x keys^T over one chunk.
template <typename P, typename T>
ARSEG_DEVICE void add_products(const PatchPosition<P>& at, const typename P::Rows& rows, const uint4* keys,
                               typename P::Products& products) {
  ARSEG_UNROLL
  for (int n = 0; n < (P::kKeys + 7) / 8; ++n) {
    const int lane = opaque(at.lane);  // places of keys are cheaper worked out again than kept
    // Lanes of one matrix give the rows of eight keys; the padding behind the last reads it again, from one place.
    const int key = 8 * n + (8 * n + 8 <= P::kKeys ? lane % 8 : min(lane % 8, P::kKeys - 1 - 8 * n));
    const int y = at.patch_y + key / P::kSpan, x = at.patch_x + key % P::kSpan;
    ARSEG_UNROLL
    for (int two = 0; two < P::kSteps / 2; ++two) {
      uint32_t b[4];
      load_matrices<false>(b, keys + P::place(y, x, 4 * two + lane / 8));
      multiply_add<T>(products[n], rows[2 * two], b[0], b[1]);
      multiply_add<T>(products[n], rows[2 * two + 1], b[2], b[3]);
    }
  }
}

// sums = weights x values over the keys, for the channels of one chunk.
template <typename P, typename T>
ARSEG_DEVICE void weighted_sum(const PatchPosition<P>& at, const typename P::Weights& weights, const uint4* values,
                               typename P::Sums& sums) {
  const int lane = opaque(at.lane);
  ARSEG_UNROLL
  for (int c = 0; c < P::kVectors; ++c) sums[c][0] = sums[c][1] = sums[c][2] = sums[c][3] = 0.0f;
  ARSEG_UNROLL
  for (int n = 0; n < P::kColumns / 2; ++n) {
    const int key = 16 * n + (16 * n + 16 <= P::kKeys ? lane % 16 : min(lane % 16, P::kKeys - 1 - 16 * n));
    const int y = at.patch_y + key / P::kSpan, x = at.patch_x + key % P::kSpan;
    const uint32_t a[4] = {weights[2 * n][0], weights[2 * n][1], weights[2 * n + 1][0], weights[2 * n + 1][1]};
    ARSEG_UNROLL
    for (int two = 0; two < P::kVectors / 2; ++two) {
      uint32_t b[4];
      load_matrices<true>(b, values + P::place(y, x, 2 * two + lane / 16));
      multiply_add<T>(sums[2 * two], a, b[0], b[1]);
      multiply_add<T>(sums[2 * two + 1], a, b[2], b[3]);
    }
  }
}

// The same by a slow, exact loop over the keys in each row's window. A patch multiplies weights of 0 with the values of
// keys outside; where such a value is Inf or NaN, weighted_sum gives NaN to rows that have nothing to do with it.
template <typename P, typename T, int WINDOW>
ARSEG_DEVICE void weighted_sum_in_window(const PatchPosition<P>& at, const typename P::Weights& weights,
                                         const uint4* values, typename P::Sums& sums) {
  ARSEG_UNROLL
  for (int c = 0; c < P::kVectors; ++c) sums[c][0] = sums[c][1] = sums[c][2] = sums[c][3] = 0.0f;
  ARSEG_UNROLL
  for (int n = 0; n < P::kColumns; ++n) {
    ARSEG_NO_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int key = 8 * n + k, holder = at.lane / 4 * 4 + k / 2;
      const float2 upper = unpack<T>(__shfl_sync(kAllLanes, weights[n][0], holder));
      const float2 lower = unpack<T>(__shfl_sync(kAllLanes, weights[n][1], holder));
      const bool in_upper = at.template in_window<WINDOW>(key, 0), in_lower = at.template in_window<WINDOW>(key, 1);
      if (!in_upper && !in_lower) continue;
      const int y = at.patch_y + key / P::kSpan, x = at.patch_x + key % P::kSpan;
      ARSEG_UNROLL
      for (int c = 0; c < P::kVectors; ++c) {
        const uint4* vector = values + P::place(y, x, c);
        const float2 value = unpack<T>(reinterpret_cast<const uint32_t*>(vector)[at.pair]);
        if (in_upper) {
          const float weight = k % 2 ? upper.y : upper.x;
          sums[c][0] += weight * value.x;
          sums[c][1] += weight * value.y;
        }
        if (in_lower) {
          const float weight = k % 2 ? lower.y : lower.x;
          sums[c][2] += weight * value.x;
          sums[c][3] += weight * value.y;
        }
      }
    }
  }
}

template <typename P>
ARSEG_DEVICE bool all_finite(const typename P::Sums& sums, bool upper, bool lower) {
  // Inf - Inf and 0 * NaN are NaN; of a sum of zeros nothing but zero comes.
  float upper_zero = 0.0f, lower_zero = 0.0f;
  ARSEG_UNROLL
  for (int c = 0; c < P::kVectors; ++c) {
    upper_zero += 0.0f * sums[c][0] + 0.0f * sums[c][1];
    lower_zero += 0.0f * sums[c][2] + 0.0f * sums[c][3];
  }
  return (!upper || upper_zero == 0.0f) && (!lower || lower_zero == 0.0f);
}

// Products become logits in base 2, and then weights, not yet divided by their sum.
template <typename P>
struct Softmax {
  float most[2];   // of the logits, in base 2
  float total[2];  // of the weights

  // scale: of the logits, times log2(e).
  template <typename T, int WINDOW>
  ARSEG_DEVICE void run(const AttentionShape& shape, const PatchPosition<P>& at, float scale,
                        typename P::Products& products, typename P::Weights& weights) {
    most[0] = most[1] = -INFINITY;
    ARSEG_UNROLL
    for (int n = 0; n < P::kColumns; ++n) {
      ARSEG_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int key = 8 * n + 2 * opaque(at.pair) + e;
        const bool kept = !shape.masked || shape.holds(at.key_y(key), at.key_x(key));
        ARSEG_UNROLL
        for (int half = 0; half < 2; ++half) {
          float& logit = products[n][2 * half + e];
          logit = kept && at.template in_window<WINDOW>(key, half) ? logit * scale : -INFINITY;
          most[half] = fmaxf(most[half], logit);
        }
      }
    }
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      most[half] = fmaxf(most[half], __shfl_xor_sync(kAllLanes, most[half], 1));
      most[half] = fmaxf(most[half], __shfl_xor_sync(kAllLanes, most[half], 2));
      if (!at.inside(shape, half)) most[half] = 0.0f;  // a row without a pixel may have no key at all
      total[half] = 0.0f;
    }
    ARSEG_UNROLL
    for (int n = 0; n < P::kColumns; ++n) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_fast(products[n][2 * half] - most[half]);
        const float second = exp2_fast(products[n][2 * half + 1] - most[half]);
        total[half] += first + second;
        weights[n][half] = pack<T>(first, second);
      }
    }
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(kAllLanes, total[half], 1);
      total[half] += __shfl_xor_sync(kAllLanes, total[half], 2);
    }
  }

  ARSEG_DEVICE float logsumexp(int half) const { return most[half] * kLn2 + logf(total[half]); }
};

// sums * factor[half] (+ residual) to the patch's own pixels of a map.
template <typename P, typename T>
ARSEG_DEVICE void store_rows(const AttentionShape& shape, const PatchPosition<P>& at, const typename P::Sums& sums,
                             float upper_factor, float lower_factor, const T* residual, T* map, int channels,
                             int start) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (!at.inside(shape, half)) continue;
    const float factor = half ? lower_factor : upper_factor;
    const int64_t pixel = shape.pixel(at.batch, at.y(half), at.x()) * channels;
    ARSEG_UNROLL
    for (int c = 0; c < P::kVectors; ++c) {
      const int channel = start + 8 * c + 2 * at.pair;
      if (channel >= channels) continue;
      float2 value = make_float2(sums[c][2 * half] * factor, sums[c][2 * half + 1] * factor);
      if (residual) {
        const float2 more = unpack<T>(*reinterpret_cast<const uint32_t*>(residual + pixel + channel));
        value.x += more.x;
        value.y += more.y;
      }
      *reinterpret_cast<uint32_t*>(map + pixel + channel) = pack<T>(value.x, value.y);
    }
  }
}

}  // namespace arseg::gpu
