// Fields of single hops -> field to the keyframe; coarser fields.
#pragma once

#include "field.h"
#include "raster.h"

namespace arseg::motion {

// out(p) = hop(p) + field(p + hop(p)), with the field that leads from the frame which the hop points to to the
// keyframe. That field is read in the cell that the centre of p lands in, clamped to the frame. Sub-pel is kept, sums
// are saturated to int16, and a cell is valid where both links are. Holes of the hop (whose vectors are filled) go
// through `through`, an index into `references`. `out` must not overlap the inputs.
void chain(ConstHop hop, const References& references, int64_t through, int64_t rows, int64_t cols, Field out);

// Means of factor x factor cells (fewer at the right and bottom edge): kCell cells -> kCell * factor cells.
// Valid cells alone are averaged where there are any; the result is valid where at least half of its cells are.
//   out: [cells(rows, factor), cells(cols, factor)].
void pool(ConstField in, int64_t rows, int64_t cols, int factor, Field out);

}  // namespace arseg::motion
