// Codec records -> block field and mask.
#pragma once

#include "field.h"

namespace arseg::motion {

// Draws `count` records (40 bytes each, any alignment) into a field of kCell x kCell cells.
//
//   vectors, valid: [rows, cols] with rows = cells(height, kCell), cols = cells(width, kCell); overwritten.
//
// A cell takes the vector of the block its centre lies in, the last one where blocks overlap. Blocks beyond the
// right and bottom edge (the codec's padding to whole macroblocks) are clipped. Cells without a block get a zero
// vector and valid = 0. Throws std::invalid_argument, naming the record, for values no decoder writes.
void rasterize(const void* records, int64_t count, int width, int height, Vec* vectors, uint8_t* valid);

}  // namespace arseg::motion
