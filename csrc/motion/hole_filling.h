// Holes of a block field, filled from the vectors around them.
#pragma once

#include <vector>

#include "field.h"

namespace arseg::motion {

// Mean to the nearest, halves away from zero, for |sum| <= 8 * 2^15 and count 1..8; a multiplication instead of a
// division, which would cost most of the time. Exact: the reciprocal is less than 8 / 2^32 too large.
inline int32_t mean(int32_t sum, int32_t count) {
  constexpr auto up = [](uint64_t n) { return ((uint64_t{1} << 32) + n - 1) / n; };
  constexpr uint64_t reciprocal[9] = {0, up(1), up(2), up(3), up(4), up(5), up(6), up(7), up(8)};
  const auto size = static_cast<uint64_t>((sum < 0 ? -sum : sum) + count / 2);
  const auto quotient = static_cast<int32_t>((size * reciprocal[count]) >> 32);
  return sum < 0 ? -quotient : quotient;
}

// A grid of vectors whose unknown cells are filled ring by ring from the known ones.
class HoleGrid {
 public:
  // What a cell adds to the sums of its neighbours, all zero while unknown. Sixteen bytes, so that the compiler sums
  // the eight neighbours with one vector addition each.
  struct Cell {
    int32_t x, y;
    int32_t known;
    int32_t queued;  // in a ring, or known, or border: not to be queued again
  };

  // Cells are undefined until written. One grid at a time in a thread: its memory is kept from frame to frame, since
  // fresh pages would cost as much as the filling.
  HoleGrid(int64_t rows, int64_t cols);

  const int64_t rows, cols;

  Cell* row(int64_t y) { return cells_ + (y + 1) * pitch_ + 1; }
  const Cell* row(int64_t y) const { return cells_ + (y + 1) * pitch_ + 1; }
  static Cell known(int32_t x, int32_t y) { return {x, y, 1, 1}; }
  static Cell unknown() { return {0, 0, 0, 0}; }

  // Gives the unknown cells the mean of their known neighbours, ring by ring; false where no cell is known.
  bool fill();

  // The vector of a cell, after fill().
  Vec at(int64_t y, int64_t x) const {
    const Cell& cell = row(y)[x];
    return {static_cast<int16_t>(cell.x), static_cast<int16_t>(cell.y)};
  }

 private:
  struct Found {
    int64_t at;
    Cell cell;
  };
  struct Offsets {
    int64_t values[8];
    const int64_t* begin() const { return values; }
    const int64_t* end() const { return values + 8; }
  };

  Offsets around() const { return {{-pitch_ - 1, -pitch_, -pitch_ + 1, -1, 1, pitch_ - 1, pitch_, pitch_ + 1}}; }
  Cell sum_around(int64_t at) const;

  int64_t pitch_;
  Cell* cells_;
};

// Gives every cell with valid = 0 a vector from its surroundings. Codecs leave out blocks of 8 pixels and more, so
// the work is done on cells twice as large, whose vector a hole takes: the mean of its known cells, or, without any, of
// its known neighbours (of eight), ring by ring from the edge of the hole inwards. `vectors` is changed in place,
// `valid` is not. A field without any valid cell becomes zero.
void fill_holes(Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols);

}  // namespace arseg::motion
