// Lengthening a field by a hop: out(p) = hop(p) + field(p + hop(p)), with the field that leads from the frame which the
// hop points to to the keyframe. That field is read in the cell that the centre of p lands in, clamped to the frame.
// Sub-pel is kept, sums are saturated to int16, and a cell is valid where the hop is known and the field's cell valid.
// In a header, since calls would cost as much as the work.
#pragma once

#include <algorithm>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "field.h"

namespace arseg::motion {

// The field that is made, [rows, cols].
struct ChainTarget {
  int64_t rows, cols;
  Field out;
};

// Cells that the centre of a cell moves by, for a hop in quarter pixels.
inline int64_t whole_cells(int16_t quarter) { return (quarter + 2 * kCell) >> 4; }
static_assert(4 * kCell == 16, "the shift above");

// One cell. `reference` must lead to the keyframe.
inline void chain_cell(const ChainTarget& target, int64_t y, int64_t x, Vec hop, bool known,
                       const Reference& reference) {
  const int64_t i = y * target.cols + x;
  if (reference.reach == Reference::Reach::Key) {
    target.out.vectors[i] = hop;
    target.out.valid[i] = static_cast<uint8_t>(known);
    return;
  }
  const int64_t from_y = std::clamp<int64_t>(y + whole_cells(hop.y), 0, target.rows - 1);
  const int64_t from_x = std::clamp<int64_t>(x + whole_cells(hop.x), 0, target.cols - 1);
  const int64_t from = from_y * target.cols + from_x;
  const Vec rest = reference.to_key.vectors[from];
  target.out.vectors[i] = {saturate(int64_t{hop.x} + rest.x), saturate(int64_t{hop.y} + rest.y)};
  target.out.valid[i] = static_cast<uint8_t>(known && reference.to_key.valid[from]);
}

// Two cells side by side, all within the field.
inline void chain_pair(const Vec* from, const uint8_t* from_valid, Vec hop, bool known, Vec* to, uint8_t* to_valid) {
#if defined(__SSE2__)
  // Compilers do not find the saturating addition.
  int32_t bits;
  std::memcpy(&bits, &hop, sizeof(bits));
  const __m128i rest = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_adds_epi16(rest, _mm_set1_epi32(bits)));
#else
  for (int i = 0; i < 2; ++i) {
    to[i] = {saturate(int64_t{hop.x} + from[i].x), saturate(int64_t{hop.y} + from[i].y)};
  }
#endif
  const auto mask = static_cast<uint8_t>(known);  // masks are 0 or 1
  to_valid[0] = from_valid[0] & mask;
  to_valid[1] = from_valid[1] & mask;
}

// The 2 x 2 cells from (y, x) on, fewer at the edges of the field, all with the same hop.
inline void chain_block(const ChainTarget& target, int64_t y, int64_t x, Vec hop, bool known,
                        const Reference& reference) {
  const int64_t from_x = x + whole_cells(hop.x), from_y = y + whole_cells(hop.y);
  const bool inside = x + 2 <= target.cols && y + 2 <= target.rows && from_x >= 0 && from_x + 2 <= target.cols &&
                      from_y >= 0 && from_y + 2 <= target.rows;
  if (inside && reference.reach == Reference::Reach::Field) {
    const int64_t to = y * target.cols + x, from = from_y * target.cols + from_x;
    for (const int64_t line : {int64_t{0}, target.cols}) {
      chain_pair(reference.to_key.vectors + from + line, reference.to_key.valid + from + line, hop, known,
                 target.out.vectors + to + line, target.out.valid + to + line);
    }
    return;
  }
  for (int64_t cy = y; cy < std::min(y + 2, target.rows); ++cy) {
    for (int64_t cx = x; cx < std::min(x + 2, target.cols); ++cx) {
      chain_cell(target, cy, cx, hop, known, reference);
    }
  }
}

}  // namespace arseg::motion
