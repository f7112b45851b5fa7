#include "fill.h"

#include <algorithm>

#include "rings.h"

namespace arseg::motion {
namespace {

// Mean of the known cells of a large one.
Rings::Cell average(const Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols, int64_t y, int64_t x) {
  int32_t sum_x = 0, sum_y = 0, count = 0;
  for (int64_t cy = 2 * y; cy < std::min(rows, 2 * y + 2); ++cy) {
    for (int64_t cx = 2 * x; cx < std::min(cols, 2 * x + 2); ++cx) {
      const int64_t i = cy * cols + cx;
      if (valid[i] != 0) {
        sum_x += vectors[i].x;
        sum_y += vectors[i].y;
        ++count;
      }
    }
  }
  return count == 0 ? Rings::unknown() : Rings::known(mean(sum_x, count), mean(sum_y, count));
}

}  // namespace

void fill_holes(Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols) {
  Rings grid(cells(rows, 2), cells(cols, 2));
  for (int64_t y = 0; y < grid.rows; ++y) {
    for (int64_t x = 0; x < grid.cols; ++x) {
      grid.row(y)[x] = average(vectors, valid, rows, cols, y, x);
    }
  }
  if (!grid.fill()) {
    std::fill_n(vectors, rows * cols, Vec{0, 0});
    return;
  }
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < cols; ++x) {
      if (valid[y * cols + x] == 0) {
        vectors[y * cols + x] = grid.at(y / 2, x / 2);
      }
    }
  }
}

}  // namespace arseg::motion
