// Which of several decoded frames a block was predicted from: the codec's records do not say.
#pragma once

#include <cstddef>
#include <vector>

#include "field.h"

namespace arseg::motion {

// A block in frame coordinates (its corner may lie outside) and where its content was, whole pixels away.
struct Block {
  int64_t left, top, width, height;
  int64_t dx, dy;
};

// Sum of absolute differences, as 64 pixels would have it, between the block in `current` and the block displaced by
// (dx, dy) in `reference`, whose border pixels go on outwards; over the pixels of the block that lie in the frame.
// 0 where there is none, or where either luma is not known.
int64_t block_difference(const Frame& current, const Luma& reference, const Block& block);

// The frame of `list` (not empty) that the block, displaced by `vec`, resembles most, in that frame and where the way
// from there leads to in the keyframe. The keyframe counts because flat and repeating texture looks alike in several
// frames, and the wrong one of them leads astray. Codecs take the first frame of a list unless another is clearly
// better, so this does, too.
struct Choice {
  size_t index = 0;
  int64_t difference = 0;
};
Choice choose(const std::vector<Reference>& list, const Luma& key, const Frame& frame, const Block& block, Vec vec);

}  // namespace arseg::motion
