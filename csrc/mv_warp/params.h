#pragma once

#include <cstdint>

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

}  // namespace arseg
