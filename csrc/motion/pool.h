// Coarser fields.
#pragma once

#include "field.h"

namespace arseg::motion {

// Means of factor x factor cells (fewer at the right and bottom edge): kCell cells -> kCell * factor cells.
// Valid cells alone are averaged where there are any; the result is valid where at least half of its cells are.
//   out: [cells(rows, factor), cells(cols, factor)].
void pool(ConstField in, int64_t rows, int64_t cols, int factor, Field out);

}  // namespace arseg::motion
