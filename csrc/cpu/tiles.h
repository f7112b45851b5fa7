#pragma once

#include <algorithm>
#include <cstdint>

#include "../common/base.h"
#include "kernels.h"
#include "parallel.h"
#include "tensors.h"

namespace arseg {

// The scratch of a tile should stay in a core's second-level cache.
constexpr int64_t kTileBytes = int64_t{1} << 20;
// Rows of a band: the rows above it are made again, so few bands cost least; some are needed to share the work.
constexpr int64_t kMaxBandRows = 180;
constexpr int64_t kMinBandRows = 24;

// Whether a tile may write `out` without another copy. `written`: channels that it writes of a pixel, with padding.
inline void set_direct(AttentionParams& params, const AttentionKernels& kernels, int64_t written) {
  params.direct = params.out.element == kernels.stored && params.out.stride[1] == 1 && params.out.channels() == written;
  params.streaming = params.direct && can_stream(params.out) && params.out.channels() % (2 * kernels.lanes) == 0;
}

// Cuts maps of the given size into tiles and runs them. The cut changes no bit of the result: each pixel is
// computed the same way wherever its tile begins.
template <typename Params>
void run_tiles(const TileKernel<Params>& kernel, const Params& params, const AttentionKernels& kernels, int64_t batch,
               int64_t height, int64_t width) {
  if (batch * height * width == 0) return;
  // As many strips as the scratch asks for, all of about the same width.
  int64_t strips = ceil_div(width, kernels.max_pixels), pixels = 0;
  for (;; ++strips) {
    pixels = round_up(ceil_div(width, strips), kernels.lanes);
    if (pixels <= kernels.lanes || kernel.scratch(params, pixels) <= kTileBytes) break;
  }
  strips = ceil_div(width, pixels);
  const int64_t wanted = ceil_div(2 * static_cast<int64_t>(torch::stable::get_num_threads()), batch * strips);
  const int64_t bands = std::clamp(wanted, ceil_div(height, kMaxBandRows),
                                   std::max(ceil_div(height, kMaxBandRows), height / kMinBandRows));
  // Whole blocks of three rows, and an even number: rows are paired from the top of a band on, and other pairs would
  // add up in another order.
  const int64_t rows = round_up(ceil_div(height, bands), 6);
  const int64_t bands_used = ceil_div(height, rows);
  for_each_task(batch * bands_used * strips, kernel.scratch(params, pixels), [&](int64_t index, void* scratch) {
    const int64_t strip = index % strips, band = index / strips % bands_used;
    const Tile tile{index / (strips * bands_used), strip * pixels, band * rows, std::min(height, (band + 1) * rows)};
    kernel.run(params, pixels, tile, scratch);
  });
}

}  // namespace arseg
