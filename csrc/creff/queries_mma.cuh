// Queries of the fusion and the upsampled map, of any number of channels, for float16 and bfloat16: the low-resolution
// map upsampled to shared memory, and a depthwise convolution of it on tensor cores.
#pragma once

#include "depthwise.cuh"
#include "depthwise_mma.cuh"
#include "params.h"

namespace arseg::gpu {

template <typename T>
__global__ void __launch_bounds__(CreffTraits::Depthwise::kThreads, CreffTraits::Depthwise::kBlocksOfMultiprocessor)
    queries_and_upsampled(FusionParams<T> a, T* query, T* upsampled) {
  using P = CreffTraits::Depthwise;
  ARSEG_SHARED(shared);
  uint4* tile = reinterpret_cast<uint4*>(shared);
  uint4* queries = tile + P::kHalo * P::kHalo * P::kVectors;
  const int x0 = static_cast<int>(blockIdx.x) * P::kTile;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    for (int y0 = static_cast<int>(blockIdx.y) * P::kTile; y0 < a.height;
         y0 += static_cast<int>(gridDim.y) * P::kTile) {
      for (int start = 0; start < a.channels; start += P::kVectors * 8) {
        sample_tile<UpsampledLowRes<T>, P::kThreads>(a, n, y0 - 1, x0 - 1, P::kHalo, P::kHalo, start, tile,
                                                     tile_place<P::kHalo>);
        const DiagonalFilter<T> filter[1] = {{a.query_weights, a.channels, start + 8 * warp}};
        __syncthreads();
        convolve_rows<P::kHalo, P::kTile>(tile, warp, filter, [&](int y, int, const float (&sums)[4]) {
          ARSEG_UNROLL
          for (int half = 0; half < 2; ++half) {
            uint4* vector = queries + tile_place<P::kTile>(y, lane / 4 + 8 * half, warp);
            reinterpret_cast<uint32_t*>(vector)[lane % 4] = pack<T>(sums[2 * half], sums[2 * half + 1]);
          }
        });
        __syncthreads();
        const int c = thread % P::kVectors;
        ARSEG_NO_UNROLL
        for (int i = thread / P::kVectors; i < P::kTile * P::kTile; i += P::kThreads / P::kVectors) {
          const int y = i / P::kTile, x = i % P::kTile;
          if (!a.in_bounds(y0 + y, x0 + x) || start + 8 * c >= a.channels) continue;
          const int64_t to = a.pixel(n, y0 + y, x0 + x) * a.channels + start + 8 * c;
          *reinterpret_cast<uint4*>(query + to) = queries[tile_place<P::kTile>(y, x, c)];
          *reinterpret_cast<uint4*>(upsampled + to) = tile[tile_place<P::kHalo>(y + 1, x + 1, c)];
        }
        __syncthreads();  // the next pass overwrites both
      }
    }
  }
}

template <typename T>
void launch_queries_mma(const FusionParams<T>& a, T* query, T* upsampled, void* stream) {
  using P = CreffTraits::Depthwise;
  const dim3 grid(static_cast<unsigned>(ceil_div(a.width, P::kTile)), blocks_for(a.height, P::kTile, kMaxGridRows),
                  blocks_for(a.batch, 1, kMaxGridRows));
  constexpr int kSharedBytes = (P::kHalo * P::kHalo + P::kTile * P::kTile) * P::kVectors * 16;
  const auto kernel = queries_and_upsampled<T>;
  ARSEG_LAUNCH(kernel, grid, dim3(P::kThreads), kSharedBytes, stream, a, query, upsampled);
}

}  // namespace arseg::gpu
