// Attention of a window on tensor cores: the pieces that forward, backward and the fusion are made of.
//
// A block works on a tile of 8 x 16 pixels, a warp on a patch of 2 x 8 of them. The windows of a patch cover window + 1
// rows of window + 7 pixels of the other map, taken as 16, so a warp multiplies the 16 rows of its patch with all of
// those, and then looks at the pairs that are in a window: 38 % of the products at window 7, in exchange for tensor
// cores. All products of a patch stay in registers; there is no running softmax. Rows of 16 make every place of a key a
// constant beside one place of the lane, and which keys are in a window four booleans of the lane: instructions, not
// products, are what these kernels wait for.
//
// Channels come in chunks. A chunk of the other map's tile lies in shared memory as vectors of 16 bytes, placed so that
// the eight rows of one ldmatrix never meet in a bank: 8 values of 16 bits, or 4 of float32 for TF32 (tf32.cuh), of
// which one product takes half as many.
#pragma once

#include "../common/device.cuh"
#include "params.h"

namespace arseg::gpu {

// CHUNK: channels a chunk, of 16-bit types; half of them of float32. WINDOW: side of the window, at most
// kMaxTiledWindow.
template <int CHUNK, int WINDOW>
struct Patch : AttentionTraits::Mma {
  static constexpr int kRadius = WINDOW / 2;
  static constexpr int kHaloHeight = kTileHeight + WINDOW - 1, kHaloWidth = kTileWidth + WINDOW - 1;
  static constexpr int kHaloPixels = kHaloHeight * kHaloWidth;
  static constexpr int kVectors = CHUNK / 8;     // of a pixel's chunk
  static constexpr int kSteps = CHUNK / 16;      // of the inner dimension of mma_m16n8k16
  static constexpr int kKeyRows = WINDOW + 1;    // "keys": the pixels of the other map
  static constexpr int kSpan = WINDOW + 7;       // keys of a row that are in a window; those behind repeat the last
  static constexpr int kColumns = 2 * kKeyRows;  // blocks of 8 keys, two a row
  static constexpr int kChunkVectors = kHaloPixels * kVectors;
  static constexpr int kChunkBytes = kChunkVectors * 16;

  // Products of the patch's 16 rows with its keys, as mma_m16n8k16 leaves them: of column block n, in row n / 2 of the
  // keys, key 8 * (n % 2) + 2t and the next with row g ([0], [1]) and row g + 8 ([2], [3]), where g = lane / 4 and
  // t = lane % 4.
  using Products = float[kColumns][4];
  // The same in pairs of T, as mma_m16n8k16 takes them.
  using Weights = uint32_t[kColumns][2];
  // 16 rows of CHUNK channels: as a left operand, and as a sum.
  using Rows = uint32_t[kSteps][4];
  using Sums = float[kVectors][4];

  // Channels of T in a chunk.
  template <typename T>
  static constexpr int kChannels = kVectors * kVector<T>;

  // Where vector c of the chunk of halo pixel (y, x) lies. Eight pixels of a row meet in no bank.
  ARSEG_DEVICE static int swizzled(int x, int c) {
    static_assert(kVectors == 8 || kVectors == 4 || kVectors == 2);
    return c ^ (kVectors == 8 ? x & 7 : kVectors == 4 ? x >> 1 & 3 : x >> 2 & 1);
  }
  ARSEG_DEVICE static int place(int y, int x, int c) { return (y * kHaloWidth + x) * kVectors + swizzled(x, c); }

  // Whether row r of the keys is in the window of row g (half 0) or g + 8 (half 1).
  ARSEG_DEVICE static constexpr bool row_in_window(int r, int half) { return r >= half && r - half < WINDOW; }
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
  int lane, row, quad_lane;  // row: g of the fragments, its pixel's column in the patch; quad_lane: t
  int patch_y, patch_x;      // of the patch in the tile
  int tile_y, tile_x;        // of the tile in the image
  int64_t batch;

  ARSEG_DEVICE PatchPosition(int64_t n, int block_y, int block_x) : batch(n) {
    const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
    const int warp = thread / 32;
    lane = thread % 32;
    row = lane / 4;
    quad_lane = lane % 4;
    patch_y = warp / (P::kTileWidth / P::kPatchWidth) * P::kPatchHeight;
    patch_x = warp % (P::kTileWidth / P::kPatchWidth) * P::kPatchWidth;
    tile_y = block_y * P::kTileHeight;
    tile_x = block_x * P::kTileWidth;
  }

  // The pixel of row g (half 0) or, below it, g + 8 (half 1).
  ARSEG_DEVICE int y(int half) const { return tile_y + patch_y + half; }
  ARSEG_DEVICE int x() const { return tile_x + patch_x + row; }
  ARSEG_DEVICE bool inside(const AttentionShape& shape, int half) const {
    return y(half) < shape.height && x() < shape.width;
  }

  // This thread's keys: of column block n the column 8 * (n % 2) + 2t + e of row n / 2.
  ARSEG_DEVICE int column(int block, int e) const { return block % 2 * 8 + 2 * quad_lane + e; }
  ARSEG_DEVICE int key_y(int r) const { return tile_y + patch_y + r - P::kRadius; }
  ARSEG_DEVICE int key_x(int column) const { return tile_x + patch_x + column - P::kRadius; }
  ARSEG_DEVICE int halo(int r, int column) const {
    return (patch_y + r) * P::kHaloWidth + patch_x + min(column, P::kSpan - 1);
  }
};

// Which columns of this thread's keys are in the windows of its rows; `in_image`: and in the image.
template <typename P, int WINDOW>
struct KeyColumns {
  bool in[2][2];  // [block % 2][e]

  ARSEG_DEVICE KeyColumns(const AttentionShape& shape, const PatchPosition<P>& at, bool in_image) {
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int column = at.column(i / 2, i % 2);
      in[i / 2][i % 2] = static_cast<unsigned>(column - at.row) < WINDOW &&
                         (!in_image || static_cast<unsigned>(at.key_x(column)) < static_cast<unsigned>(shape.width));
    }
  }
};

// Begins to copy the channels of a chunk, from `start` on, of the halo to shared memory; 0 outside the image and past
// `channels`.
template <typename P, typename T>
ARSEG_DEVICE void copy_chunk(const AttentionShape& shape, const T* map, int channels, int start, int64_t n, int tile_y,
                             int tile_x, uint4* to) {
  // A warp copies every eighth row, a lane one vector of every fourth (or eighth) pixel of it.
  constexpr int kStep = 32 / P::kVectors, kTimes = (P::kHaloWidth + kStep - 1) / kStep;
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  const int lane = thread % 32, c = lane % P::kVectors, first = lane / P::kVectors;
  const int top = tile_y - P::kRadius, left = tile_x - P::kRadius + first;
  const bool own = start + kVector<T> * c < channels;
  ARSEG_NO_UNROLL
  for (int y = thread / 32; y < P::kHaloHeight; y += P::kWarps) {
    const bool row = own && static_cast<unsigned>(top + y) < static_cast<unsigned>(shape.height);
    // Where it is outside of the map it is not read.
    const T* from = map + (shape.pixel(n, top + y, left) * channels + start + kVector<T> * c);
    uint4* line = to + y * P::kHaloWidth * P::kVectors;
    ARSEG_UNROLL
    for (int j = 0; j < kTimes; ++j) {
      const int x = first + kStep * j;
      if (j == kTimes - 1 && P::kHaloWidth % kStep != 0 && x >= P::kHaloWidth) break;
      const bool valid = row && static_cast<unsigned>(left + kStep * j) < static_cast<unsigned>(shape.width);
      cp_async16(line + x * P::kVectors + P::swizzled(x, c), from, valid);
      from += static_cast<int64_t>(kStep) * channels;
    }
  }
}

// The same in twice the instructions and fewer registers, for the backward, which has none left.
template <typename P, typename T>
ARSEG_DEVICE void copy_chunk_by_pixels(const AttentionShape& shape, const T* map, int channels, int start, int64_t n,
                                       int tile_y, int tile_x, uint4* to) {
  // A thread stays with one vector of a pixel, and goes on by a fixed number of pixels, its pointers with it.
  constexpr int kStep = P::kThreads / P::kVectors, kDown = kStep / P::kHaloWidth, kRight = kStep % P::kHaloWidth;
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  const int c = thread % P::kVectors;
  int y = thread / P::kVectors / P::kHaloWidth, x = thread / P::kVectors % P::kHaloWidth;
  to += thread / P::kVectors * P::kVectors;
  const int top = tile_y - P::kRadius, left = tile_x - P::kRadius;
  const bool own = start + 8 * c < channels;
  const int64_t row = static_cast<int64_t>(shape.width) * channels;
  const T* from = map + shape.pixel(n, top + y, left + x) * channels + start + 8 * c;
  const int64_t step = kDown * row + static_cast<int64_t>(kRight) * channels;
  const int64_t wrap = row - static_cast<int64_t>(P::kHaloWidth) * channels;
  ARSEG_NO_UNROLL
  while (y < P::kHaloHeight) {
    const bool valid = own && shape.in_bounds(top + y, left + x);
    cp_async16(to + P::swizzled(x, c), valid ? from : map, valid);
    const bool over = x + kRight >= P::kHaloWidth;
    from += over ? step + wrap : step;
    to += kStep * P::kVectors;
    x += over ? kRight - P::kHaloWidth : kRight;
    y += over ? kDown + 1 : kDown;
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
        const int vector = start + kVector<T> * (2 * step + right);
        const int channel = vector + at.quad_lane * (4 / static_cast<int>(sizeof(T)));
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
  // Of the four matrices, two vectors of the first eight keys of a row, and of the next eight.
  const int x = at.patch_x + min(at.lane / 16 * 8 + at.lane % 8, P::kSpan - 1);
  const int first = P::place(at.patch_y, x, at.lane / 8 % 2);
  ARSEG_UNROLL
  for (int step = 0; step < P::kSteps; ++step) {
    const uint4* column = keys + (first ^ 2 * step);
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      uint32_t b[4];
      ldmatrix_x4<false>(b, column + r * P::kHaloWidth * P::kVectors);
      if constexpr (is_half_type<T>) {
        mma_m16n8k16<T>(products[2 * r], rows[step], b[0], b[1]);
        mma_m16n8k16<T>(products[2 * r + 1], rows[step], b[2], b[3]);
      } else {
        mma_m16n8k8_tf32(products[2 * r], rows[step], b[0], b[1]);
        mma_m16n8k8_tf32(products[2 * r + 1], rows[step], b[2], b[3]);
      }
    }
  }
}

// sums = weights x values over the keys, for N vectors of channels of a chunk, from vector `first` on. operand(r, a):
// the weights of row r of the keys, as a left operand.
template <typename P, typename T, int N, typename Operand>
ARSEG_DEVICE void weighted_sum_of(const PatchPosition<P>& at, Operand&& operand, const uint4* values, int first,
                                  float (&sums)[N][4]) {
  const int x = at.patch_x + min(at.lane % 16, P::kSpan - 1);
  const int place = P::place(at.patch_y, x, at.lane / 16);
  ARSEG_UNROLL
  for (int c = 0; c < N; ++c) sums[c][0] = sums[c][1] = sums[c][2] = sums[c][3] = 0.0f;
  ARSEG_UNROLL
  for (int r = 0; r < P::kKeyRows; ++r) {
    uint32_t a[4];
    operand(r, a);
    ARSEG_UNROLL
    for (int c = 0; c < N; c += 2) {
      uint32_t b[4];
      ldmatrix_x4<true>(b, values + (place ^ (first + c)) + r * P::kHaloWidth * P::kVectors);
      mma_m16n8k16<T>(sums[c], a, b[0], b[1]);
      mma_m16n8k16<T>(sums[c + 1], a, b[2], b[3]);
    }
  }
}

template <typename P>
ARSEG_DEVICE void row_operand(const typename P::Weights& weights, int r, uint32_t (&a)[4]) {
  a[0] = weights[2 * r][0];
  a[1] = weights[2 * r][1];
  a[2] = weights[2 * r + 1][0];
  a[3] = weights[2 * r + 1][1];
}

template <typename P, typename T, int N>
ARSEG_DEVICE void weighted_sum(const PatchPosition<P>& at, const typename P::Weights& weights, const uint4* values,
                               int first, float (&sums)[N][4]) {
  weighted_sum_of<P, T>(at, [&](int r, uint32_t (&a)[4]) { row_operand<P>(weights, r, a); }, values, first, sums);
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
    const int r = n / 2;
    ARSEG_NO_UNROLL
    for (int k = 0; k < 8; ++k) {
      const int column = n % 2 * 8 + k, holder = at.lane / 4 * 4 + k / 2;
      const float2 upper = unpack<T>(__shfl_sync(kAllLanes, weights[n][0], holder));
      const float2 lower = unpack<T>(__shfl_sync(kAllLanes, weights[n][1], holder));
      if (static_cast<unsigned>(column - at.row) >= WINDOW) continue;
      ARSEG_UNROLL
      for (int c = 0; c < P::kVectors; ++c) {
        const uint4* vector = values + P::place(at.patch_y + r, at.patch_x + column, c);
        const float2 value = unpack<T>(reinterpret_cast<const uint32_t*>(vector)[at.quad_lane]);
        if (P::row_in_window(r, 0)) {
          const float weight = k % 2 ? upper.y : upper.x;
          sums[c][0] += weight * value.x;
          sums[c][1] += weight * value.y;
        }
        if (P::row_in_window(r, 1)) {
          const float weight = k % 2 ? lower.y : lower.x;
          sums[c][2] += weight * value.x;
          sums[c][3] += weight * value.y;
        }
      }
    }
  }
}

template <int N>
ARSEG_DEVICE bool all_finite(const float (&sums)[N][4], bool upper, bool lower) {
  // Inf - Inf and 0 * NaN are NaN; of a sum of zeros nothing but zero comes.
  float upper_zero = 0.0f, lower_zero = 0.0f;
  ARSEG_UNROLL
  for (int c = 0; c < N; ++c) {
    upper_zero += 0.0f * sums[c][0] + 0.0f * sums[c][1];
    lower_zero += 0.0f * sums[c][2] + 0.0f * sums[c][3];
  }
  return (!upper || upper_zero == 0.0f) && (!lower || lower_zero == 0.0f);
}

// sums = weights x values of a chunk; where one is not finite, of the keys in each row's window alone.
template <typename P, typename T, int WINDOW, typename Weights, int N>
ARSEG_DEVICE void sum_values(const AttentionShape& shape, const PatchPosition<P>& at, const Weights& weights,
                             const uint4* values, float (&sums)[N][4]) {
  weighted_sum<P, T>(at, weights, values, 0, sums);
  if (__any_sync(kAllLanes, !all_finite(sums, at.inside(shape, 0), at.inside(shape, 1)))) {
    weighted_sum_in_window<P, T, WINDOW>(at, weights, values, sums);
  }
}

// sums * factor[half] (+ residual) to the patch's own pixels of a map, channels [start, start + 8 * N).
template <typename P, typename T, int N>
ARSEG_DEVICE void store_rows(const AttentionShape& shape, const PatchPosition<P>& at, const float (&sums)[N][4],
                             float upper_factor, float lower_factor, const T* residual, T* map, int channels,
                             int start) {
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (!at.inside(shape, half)) continue;
    const float factor = half ? lower_factor : upper_factor;
    const int64_t pixel = shape.pixel(at.batch, at.y(half), at.x()) * channels;
    ARSEG_UNROLL
    for (int c = 0; c < N; ++c) {
      const int channel = start + 8 * c + 2 * at.quad_lane;
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

template <typename P>
dim3 patch_grid(const AttentionShape& shape) {
  return dim3(static_cast<unsigned>((shape.width + P::kTileWidth - 1) / P::kTileWidth),
              static_cast<unsigned>((shape.height + P::kTileHeight - 1) / P::kTileHeight),
              static_cast<unsigned>(shape.batch));
}

}  // namespace arseg::gpu
