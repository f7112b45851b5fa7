// Which of several decoded frames a block was predicted from: the codec's records do not say.
#pragma once

#include <vector>

#include "field.h"

namespace arseg::motion {

// A block in frame coordinates (its corner may lie outside) and where its content was, whole pixels away.
struct Block {
  int64_t left, top, width, height;
  int64_t dx, dy;
};

// Sum of absolute differences, as 64 pixels of 8 bits would have it, between the block in `current` and the block
// displaced by (dx, dy) in `reference`, whose border pixels go on outwards; over the pixels of the block that lie in
// the frame. 0 where there is none, or where either luma is not known.
int64_t block_difference(const Frame& current, const Luma& reference, const Block& block);

}  // namespace arseg::motion
