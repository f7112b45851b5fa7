// One frame's records -> its field to the keyframe: draw, fill, chain.
#pragma once

#include "field.h"
#include "raster.h"

namespace arseg::motion {

// The field of `frame` to the keyframe, from its records and the fields of the frames they point to.
//
//   out: [cells(frame.height, kCell), cells(frame.width, kCell)], overwritten; the fields in `references` have the
//   same size.
//
// Hops are drawn at 8 x 8 pixels, the smallest block that FFmpeg exports. Holes take the vectors around them, brought
// to the distance of the first reference that leads to the keyframe, and go on through that one. Without any such
// reference the field is zero and invalid everywhere. Returns the number of 8 x 8 cells without a vector of their own.
// Throws as draw() does.
int64_t step(const void* records, int64_t count, const Frame& frame, const References& references, Field out);

}  // namespace arseg::motion
