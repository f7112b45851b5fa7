// Codec records -> a field of one hop, each cell with the frame it points to.
#pragma once

#include <cstddef>
#include <vector>

#include "field.h"

namespace arseg::motion {

// The frames that a frame's vectors may point to, in the order of the codec's lists.
struct References {
  std::vector<Reference> past;    // list 0
  std::vector<Reference> future;  // list 1
  Luma key;                       // of the keyframe that all ways lead to

  // All of them in one row: past, then future; what `Hop::reference` counts in.
  const Reference& at(int64_t index) const {
    const auto first = static_cast<int64_t>(past.size());
    return index < first ? past[static_cast<std::size_t>(index)] : future[static_cast<std::size_t>(index - first)];
  }
  int64_t size() const { return static_cast<int64_t>(past.size() + future.size()); }
};

// A field of one hop, both [rows, cols].
struct Hop {
  Vec* vectors;
  uint8_t* reference;  // 0: no vector (a hole); else 1 + index into References
};
constexpr int64_t kMaxReferences = 64;  // 1 + index fits a byte by far

// Draws `count` records (40 bytes each, any alignment) into a field of cells of 2^cell_shift pixels.
//
//   out: rows = cells(frame.height, 2^cell_shift), cols = cells(frame.width, 2^cell_shift); overwritten.
//
// A cell takes the vector of the block its centre lies in. Where several frames come into question for a block, the
// one that it resembles most; where blocks of both directions overlap, likewise; else the last one. Records whose
// side has no reference leave a hole. Blocks beyond the edges (the codec's padding, the cropped part) are clipped.
// Throws std::invalid_argument, naming the record, for values no decoder writes.
void draw(const void* records, int64_t count, const Frame& frame, const References& references, int cell_shift,
          Hop out);

}  // namespace arseg::motion
