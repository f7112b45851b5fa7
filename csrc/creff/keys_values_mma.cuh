// Keys and values of the fusion for float16 and bfloat16: the reference, warped to shared memory, and two depthwise
// convolutions of it on tensor cores.
#pragma once

#include "../mv_warp/sampling.cuh"
#include "classifier_mma.cuh"
#include "depthwise_mma.cuh"
#include "params.h"

namespace arseg::gpu {

// What comes out for values: channels, channels in the order of value_channel, or what a classifier makes of them, of
// CreffTraits::Mma::kChannels at most or of any number, in transposed order.
enum class Values { Plain, Permuted, Classes, ClassesOfChunks };

struct WarpedTile : CreffTraits::Depthwise {
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kPixels = kHalo * kHalo, kTileVectors = kPixels * kVectors;
  static constexpr int kSharedBytes = (kTileVectors + kTile * kTile * kVectors) * 16;  // the tile, and values

  // Where two channels of vector c, those of a lane of convolve_rows, go among a tile's values, in words.
  template <Values VALUES>
  ARSEG_DEVICE static int value_place(int y, int x, int c, int quad_lane) {
    constexpr bool kPermuted = VALUES == Values::Permuted;
    const int vector = kPermuted ? c / 4 * 4 + quad_lane : c, word = kPermuted ? c % 4 : quad_lane;
    return tile_place<kTile>(y, x, vector) * 4 + word;
  }
};

// Where a pixel of a warped map comes from. A tap that does not count has weight 0 and is one that counts, so that no
// Inf or NaN leaks in from where nothing is to be read.
struct alignas(16) WarpedPixel {
  int pixel = -1;  // the upper left tap; -1: none counts, the pixel is 0
  int right = 0;   // from it to the right taps, in pixels
  int down = 0;    // and to the lower ones
  int place = 0;   // of the pixel's first vector in the tile
  float weight[4] = {};

  WarpedPixel() = default;
  ARSEG_DEVICE WarpedPixel(const PixelTaps<float>& taps, int width) {
    const float fractions[2] = {taps.y_fraction, taps.x_fraction};
    int first[2];
    float weights[2][2];
    bool both[2], some = true;
    ARSEG_UNROLL
    for (int axis = 0; axis < 2; ++axis) {
      const int (&at)[2] = axis ? taps.column : taps.row;
      const float fraction = fractions[axis];
      const bool lower = at[0] >= 0 && fraction != 1.0f, upper = at[1] >= 0 && fraction != 0.0f;
      some = some && (lower || upper);
      both[axis] = lower && upper;
      first[axis] = lower ? at[0] : at[1];
      weights[axis][0] = lower ? 1.0f - fraction : fraction;
      weights[axis][1] = both[axis] ? fraction : 0.0f;
    }
    if (some) pixel = first[0] * width + first[1];
    down = both[0] ? width : 0;
    right = both[1] ? 1 : 0;
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) weight[i] = weights[0][i / 2] * weights[1][i % 2];
  }

  // Whether the pixel is 0, or that of the first tap.
  ARSEG_DEVICE bool is_copy() const { return pixel < 0 || weight[0] == 1.0f; }
};

// Begins to warp the tile whose first pixel is (y0, x0): channels [start, start + 64) of it; 0 outside the image, which
// is the convolutions' padding, and past the channels. A thread finds out where one pixel comes from; then eight
// threads bring the vectors of a pixel, without arithmetic where motion is by whole pixels. froms: scratch.
template <typename T>
ARSEG_DEVICE void warp_tile(const FusionParams<T>& a, int64_t n, int y0, int x0, int start, WarpedPixel* froms,
                            uint4* tile) {
  using P = WarpedTile;
  const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
  ARSEG_NO_UNROLL
  for (int i = thread; i < P::kPixels; i += P::kThreads) {
    const int y = i / P::kHalo, x = i % P::kHalo;
    WarpedPixel from;
    if (a.in_bounds(y0 + y, x0 + x)) {
      from = WarpedPixel(taps_of<float>(a.motion, n, y0 + y, x0 + x), a.width);
    }
    from.place = tile_place<P::kHalo>(y, x, 0);
    froms[i] = from;
  }
  __syncthreads();
  const int c = thread % P::kVectors;
  const bool own = start + 8 * c < a.channels;
  const char* image = reinterpret_cast<const char*>(a.reference + n * a.reference_stride + (own ? start + 8 * c : 0));
  const int pixel_bytes = a.channels * static_cast<int>(sizeof(T));
  ARSEG_NO_UNROLL
  for (int i = thread / P::kVectors; i < P::kPixels; i += P::kThreads / P::kVectors) {
    const WarpedPixel from = froms[i];
    uint4* vector = tile + (from.place ^ c);
    const bool read = own && from.pixel >= 0;
    const char* upper = image + static_cast<int64_t>(read ? from.pixel : 0) * pixel_bytes;
    if (from.is_copy()) {
      cp_async16(vector, upper, read);
      continue;
    }
    const int64_t right = from.right * pixel_bytes;
    const char* lower = upper + static_cast<int64_t>(from.down) * pixel_bytes;
    const char* places[4] = {upper, upper + right, lower, lower + right};
    uint4 bits[4];
    ARSEG_UNROLL
    for (int tap = 0; tap < 4; ++tap) bits[tap] = *reinterpret_cast<const uint4*>(places[tap]);
    float sums[8] = {};
    ARSEG_UNROLL
    for (int tap = 0; tap < 4; ++tap) {
      float values[8];
      load_vector(reinterpret_cast<const T*>(&bits[tap]), values);
      ARSEG_UNROLL
      for (int e = 0; e < 8; ++e) sums[e] += from.weight[tap] * values[e];
    }
    uint4 packed;
    store_vector(reinterpret_cast<T*>(&packed), sums);
    *vector = own ? packed : make_uint4(0, 0, 0, 0);
  }
  cp_async_commit();
}

// Adds to the logits of ROWS rows of a tile, from row `first` on and kWarps apart, what a chunk of their values gives.
template <typename T, int CLASSES, int ROWS>
ARSEG_DEVICE void add_row_logits(const FusedClassifier<T>& classifier, int chunk, int first, const uint4* values,
                                 ClassLogits<CLASSES> (&logits)[ROWS]) {
  using P = WarpedTile;
  const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32;
  const auto load = [&](int row, int part, uint32_t (&pixels)[2][4]) {
    const int place = tile_place<P::kTile>(first + row * P::kWarps, lane % 16, lane / 16);
    ldmatrix_x4<false>(pixels[0], values + (place ^ 4 * part));
    ldmatrix_x4<false>(pixels[1], values + (place ^ (4 * part + 2)));
  };
  add_class_logits<T, CLASSES, ClassOrder::Straight>(classifier, chunk, logits, load);
}

// Writes them as values: a lane has a vector of each of its pixels.
template <int CLASSES, int ROWS, typename T>
ARSEG_DEVICE void store_row_logits(const FusionParams<T>& a, int64_t n, int y0, int x0,
                                   const ClassLogits<CLASSES> (&logits)[ROWS], T* to) {
  using P = WarpedTile;
  constexpr int kBlocks = CLASSES / 8;
  struct alignas(4 * kBlocks) Vector {
    uint32_t words[kBlocks];
  };
  const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32;
  ARSEG_UNROLL
  for (int i = 0; i < ROWS; ++i) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int y = y0 + i * P::kWarps, x = x0 + lane / 4 + 8 * half;
      if (!a.in_bounds(y, x)) continue;
      Vector vector;
      ARSEG_UNROLL
      for (int block = 0; block < kBlocks; ++block) {
        vector.words[block] = pack<T>(logits[i][block][2 * half], logits[i][block][2 * half + 1]);
      }
      reinterpret_cast<Vector*>(to + a.pixel(n, y, x) * CLASSES)[lane % 4] = vector;
    }
  }
}

ARSEG_HD constexpr int blocks_of_keys_and_values(Values values) {
  using Traits = CreffTraits::Depthwise;
  return values == Values::ClassesOfChunks ? Traits::kBlocksWithSums : Traits::kBlocksOfMultiprocessor;
}

// pitch: channels of the keys, and of the values but classes; those past the reference's are 0. CLASSES: of the values;
// 0 where they are channels.
template <typename T, Values VALUES, int CLASSES>
__global__ void __launch_bounds__(CreffTraits::Depthwise::kThreads, blocks_of_keys_and_values(VALUES))
    keys_and_values(FusionParams<T> a, T* key, T* value, int pitch, FusedClassifier<T> classifier) {
  using P = WarpedTile;
  constexpr bool kClasses = VALUES == Values::Classes || VALUES == Values::ClassesOfChunks;
  ARSEG_SHARED(shared);
  uint4* tile = reinterpret_cast<uint4*>(shared);
  uint4* values = tile + P::kTileVectors;
  const int x0 = static_cast<int>(blockIdx.x) * P::kTile;
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    for (int y0 = static_cast<int>(blockIdx.y) * P::kTile; y0 < a.height;
         y0 += static_cast<int>(gridDim.y) * P::kTile) {
      // Of the warp's rows, summed up over chunks.
      [[maybe_unused]] ClassLogits<CLASSES ? CLASSES : 8> logits[P::kTile / P::kWarps] = {};
      for (int start = 0; start < pitch; start += P::kVectors * 8) {
        // Where pixels come from is not needed any more when there are values.
        warp_tile(a, n, y0 - 1, x0 - 1, start, reinterpret_cast<WarpedPixel*>(values), tile);
        const int thread = optimization_barrier(static_cast<int>(threadIdx.x));
        const int warp = thread / 32, row = thread % 32 / 4, quad_lane = thread % 4, channel = start + 8 * warp;
        const DiagonalFilter<T> filters[2] = {{a.key_weights, a.channels, channel},
                                              {a.value_weights, a.channels, channel}};
        cp_async_wait<0>();
        __syncthreads();
        // Keys take the place of the pixels that they were made of: only this warp reads them.
        convolve_rows<P::kHalo, P::kTile>(tile, warp, filters, [&](int y, int filter, const float (&sums)[4]) {
          if (filter == 0 && y % 2 == 0) __syncwarp();  // all lanes are through with this row and the next
          ARSEG_UNROLL
          for (int half = 0; half < 2; ++half) {
            const int x = row + 8 * half;
            uint32_t* to =
                filter == 0
                    ? reinterpret_cast<uint32_t*>(tile + tile_place<P::kHalo>(y, x, warp)) + quad_lane
                    : reinterpret_cast<uint32_t*>(values) + P::template value_place<VALUES>(y, x, warp, quad_lane);
            *to = pack<T>(sums[2 * half], sums[2 * half + 1]);
          }
        });
        __syncthreads();
        constexpr int kRows = P::kThreads / P::kVectors / P::kTile;  // that all threads write at a time
        const int c = thread % P::kVectors, x = thread / P::kVectors % P::kTile;
        const int first_y = thread / P::kVectors / P::kTile;
        if (x0 + x < a.width && start + 8 * c < pitch) {
          const int64_t line = static_cast<int64_t>(a.width) * pitch;
          const int64_t to = a.pixel(n, y0 + first_y, x0 + x) * pitch + start + 8 * c;
          ARSEG_UNROLL
          for (int y = 0; y < P::kTile; y += kRows) {
            if (y0 + first_y + y >= a.height) break;
            *reinterpret_cast<uint4*>(key + to + y * line) = tile[tile_place<P::kHalo>(first_y + y, x, c)];
            if constexpr (!kClasses) {
              *reinterpret_cast<uint4*>(value + to + y * line) = values[tile_place<P::kTile>(first_y + y, x, c)];
            }
          }
        }
        if constexpr (VALUES == Values::Classes) {
          ARSEG_NO_UNROLL
          for (int y = warp; y < P::kTile; y += P::kWarps) {  // one after the other: both take too many registers
            ClassLogits<CLASSES> of_row[1] = {};
            add_row_logits<T, CLASSES>(classifier, 0, y, values, of_row);
            store_row_logits<CLASSES>(a, n, y0 + y, x0, of_row, value);
          }
        }
        if constexpr (VALUES == Values::ClassesOfChunks) {
          add_row_logits<T, CLASSES>(classifier, start / (P::kVectors * 8), warp, values, logits);
          if (start + P::kVectors * 8 >= pitch) store_row_logits<CLASSES>(a, n, y0 + warp, x0, logits, value);
        }
        __syncthreads();  // the next pass overwrites the tile
      }
    }
  }
}

template <Values VALUES, int CLASSES = 0, typename T>
void launch_keys_and_values_mma(const FusionParams<T>& a, T* key, T* value, int pitch,
                                const FusedClassifier<T>& classifier, void* stream) {
  using P = WarpedTile;
  const dim3 grid(static_cast<unsigned>(ceil_div(a.width, P::kTile)), blocks_for(a.height, P::kTile, kMaxGridRows),
                  blocks_for(a.batch, 1, kMaxGridRows));
  const auto kernel = keys_and_values<T, VALUES, CLASSES>;
  ARSEG_LAUNCH(kernel, grid, dim3(P::kThreads), P::kSharedBytes, stream, a, key, value, pitch, classifier);
}

}  // namespace arseg::gpu
