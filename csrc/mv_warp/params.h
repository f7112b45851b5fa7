#pragma once

#include <cstdint>

#include "../cpu/map.h"

namespace arseg {

// Aligned: a displacement of 0 is the identity.
// Legacy: the grid of the published checkpoints, normalised as align_corners=True and sampled as
// align_corners=False, which stretches the map by size / (size - 1) and shifts it by half a pixel.
enum class Grid { Aligned, Legacy };

// The geometry of a block field along one axis.
struct BlockAxis {
  int64_t size;    // feature pixels
  int64_t frame;   // video pixels
  int64_t block;   // video pixels a block
  int64_t blocks;  // blocks in the field
};

// A block field (int16 [N, Hb, Wb, 2] in quarter video pixels) or, with no block tables, a dense flow
// ([N, H, W, 2] in feature pixels). Strides in elements.
struct MotionField {
  const void* data = nullptr;
  Element element = Element::Float;  // of a dense flow
  int64_t stride[4] = {0, 0, 0, 0};
  const int32_t* block_row = nullptr;     // [H]: the block of each feature row
  const int32_t* block_column = nullptr;  // [W]
  double x_scale = 0, y_scale = 0;        // feature pixels for one unit of a vector
  Grid grid = Grid::Aligned;
};

// Warps rows [first, last) of the N * H rows of `out`. The channels of `feature` lie together.
struct WarpTask {
  Map feature, out;
  MotionField motion;
  bool past_caches = false;
};

}  // namespace arseg
