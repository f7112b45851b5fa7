// From two fields to one keyframe: the field between their frames. What chain() does is undone.
#pragma once

#include "field.h"

namespace arseg::motion {

// How often the vector of the last time is looked for; two or three settle what moves smoothly.
constexpr int kUnchainSteps = 8;

// out(p) = now(p) - other(p + out(p)), found by repetition from 0 on; `other` is read in the cell that the centre of p
// lands in, clamped to the frame. A cell is valid where `now` is and the repetition has settled.
//   cell: side of the cells in quarter pixels; all fields [rows, cols].
void unchain(ConstField now, const Vec* other, int64_t rows, int64_t cols, int64_t cell, Field out);

}  // namespace arseg::motion
