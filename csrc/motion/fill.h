// Holes of a block field, filled from the vectors around them.
#pragma once

#include "field.h"

namespace arseg::motion {

// Gives every cell with valid = 0 a vector from its surroundings. Codecs leave out blocks of 8 pixels and more, so
// the work is done on cells twice as large, whose vector a hole takes: the mean of its known cells, or, without any, of
// its known neighbours (of eight), ring by ring from the edge of the hole inwards. `vectors` is changed in place,
// `valid` is not. A field without any valid cell becomes zero.
void fill_holes(Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols);

}  // namespace arseg::motion
