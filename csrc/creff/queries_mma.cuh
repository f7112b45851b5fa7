// Queries of the fusion and the upsampled map, of any number of channels, for float16 and bfloat16: the low-resolution
// map upsampled to shared memory, and a depthwise convolution of it on tensor cores.
#pragma once

#include "depthwise.cuh"
#include "depthwise_mma.cuh"
#include "params.h"
#include "upsample_tile.cuh"

namespace arseg::gpu {

// upsampled: may be null.
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
      const LowResPatch<P::kHalo, P::kHalo> patch(a, y0 - 1, x0 - 1);
      const bool fits = patch.vectors() <= P::kTile * P::kTile * P::kVectors;
      for (int start = 0; start < a.channels; start += P::kVectors * 8) {
        if (fits) {
          patch.template copy<P::kThreads>(a, n, start, queries);  // where the queries come later
          cp_async_commit();
          cp_async_wait<0>();
          __syncthreads();
          patch.template upsample<P::kThreads>(a, y0 - 1, x0 - 1, queries, tile);
        } else {  // upsampled little, or not at all
          sample_tile<UpsampledLowRes<T>, P::kThreads>(a, n, y0 - 1, x0 - 1, P::kHalo, P::kHalo, start, tile,
                                                       tile_place<P::kHalo>);
        }
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
        constexpr int kRows = P::kThreads / P::kVectors / P::kTile;  // that all threads write at a time
        const int c = thread % P::kVectors, x = thread / P::kVectors % P::kTile;
        const int first_y = thread / P::kVectors / P::kTile;
        if (x0 + x < a.width && start + 8 * c < a.channels) {
          const int64_t line = static_cast<int64_t>(a.width) * a.channels;
          const int64_t to = a.pixel(n, y0 + first_y, x0 + x) * a.channels + start + 8 * c;
          ARSEG_UNROLL
          for (int y = 0; y < P::kTile; y += kRows) {
            if (y0 + first_y + y >= a.height) break;
            *reinterpret_cast<uint4*>(query + to + y * line) = queries[tile_place<P::kTile>(first_y + y, x, c)];
            if (upsampled) {
              *reinterpret_cast<uint4*>(upsampled + to + y * line) =
                  tile[tile_place<P::kHalo>(first_y + y + 1, x + 1, c)];
            }
          }
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
