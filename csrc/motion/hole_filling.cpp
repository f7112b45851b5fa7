#include "hole_filling.h"

#include <algorithm>

namespace arseg::motion {

HoleGrid::HoleGrid(int64_t rows, int64_t cols) : rows(rows), cols(cols), pitch_(cols + 2) {
  thread_local std::vector<Cell> kept;
  kept.resize(static_cast<size_t>((rows + 2) * pitch_));
  cells_ = kept.data();
  const Cell border{0, 0, 0, 1};
  std::fill_n(cells_, pitch_, border);
  std::fill_n(cells_ + (rows + 1) * pitch_, pitch_, border);
  for (int64_t y = 0; y < rows; ++y) {
    row(y)[-1] = row(y)[cols] = border;
  }
}

HoleGrid::Cell HoleGrid::sum_around(int64_t at) const {
  Cell sum{0, 0, 0, 0};
  for (const int64_t offset : around()) {
    const Cell& cell = cells_[at + offset];
    sum = {sum.x + cell.x, sum.y + cell.y, sum.known + cell.known, sum.queued + cell.queued};
  }
  return sum;
}

bool HoleGrid::fill() {
  std::vector<Found> ring, next;
  bool any = false;
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < cols; ++x) {
      const int64_t at = (y + 1) * pitch_ + x + 1;
      if (cells_[at].known) {
        any = true;
      } else if (sum_around(at).known > 0) {
        cells_[at].queued = 1;
        ring.push_back({at, {}});
      }
    }
  }
  while (!ring.empty()) {
    // Computed whole before it is written: the cells of one ring do not feed each other, and order does not matter.
    for (Found& found : ring) {
      const Cell sum = sum_around(found.at);
      found.cell = known(mean(sum.x, sum.known), mean(sum.y, sum.known));
    }
    for (const Found& found : ring) {
      cells_[found.at] = found.cell;
    }
    next.clear();
    for (const Found& found : ring) {
      for (const int64_t offset : around()) {
        Cell& cell = cells_[found.at + offset];
        if (!cell.queued) {
          cell.queued = 1;
          next.push_back({found.at + offset, {}});
        }
      }
    }
    ring.swap(next);
  }
  return any;
}

namespace {

// Mean of the known cells of a large one.
HoleGrid::Cell average(const Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols, int64_t y, int64_t x) {
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
  return count == 0 ? HoleGrid::unknown() : HoleGrid::known(mean(sum_x, count), mean(sum_y, count));
}

}  // namespace

void fill_holes(Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols) {
  HoleGrid grid(cells(rows, 2), cells(cols, 2));
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
