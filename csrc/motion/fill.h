// Holes of a block field, filled from the vectors around them.
#pragma once

#include "field.h"

namespace arseg::motion {

// Gives every cell with known = 0 a vector from its surroundings. Codecs leave out blocks of 8 pixels and more, so
// the work is done on cells twice as large: each the mean of its known cells, or, without any, of its known
// neighbours (of eight), ring by ring from the edge of the hole inwards. A hole is then read from the large cells
// bilinearly. `vectors` is changed in place, `known` is not. A field without any known cell becomes zero.
//
//   scale: what the vector of a cell with known = k counts for, times scale[k] / 256; null where all count as they
//   are. Fields whose cells point to frames at different distances are brought to one distance so.
void fill_holes(Vec* vectors, const uint8_t* known, int64_t rows, int64_t cols, const int32_t* scale = nullptr);

}  // namespace arseg::motion
