// Fields of single frames -> field to the keyframe; coarser fields.
#pragma once

#include "field.h"

namespace arseg::motion {

// A field and its mask, both [rows, cols].
struct ConstField {
  const Vec* vectors;
  const uint8_t* valid;
};
struct Field {
  Vec* vectors;
  uint8_t* valid;
};

// out(p) = step(p) + reference(p + step(p)): `step` points one frame back, `reference` from there to the keyframe.
// The reference is read in the cell that the centre of p lands in, clamped to the frame. Sub-pel is kept, sums are
// saturated to int16, and a cell is valid where both links are. `out` must not overlap the inputs.
void chain(ConstField step, ConstField reference, int64_t rows, int64_t cols, Field out);

// Means of factor x factor cells (fewer at the right and bottom edge): kCell cells -> kCell * factor cells.
// Valid cells alone are averaged where there are any; the result is valid where at least half of its cells are.
//   out: [cells(rows, factor), cells(cols, factor)].
void pool(ConstField in, int64_t rows, int64_t cols, int factor, Field out);

}  // namespace arseg::motion
