#include "rings.h"

#include <algorithm>

namespace arseg::motion {

Rings::Rings(int64_t rows, int64_t cols) : rows(rows), cols(cols), pitch_(cols + 2) {
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

Rings::Cell Rings::sum_around(int64_t at) const {
  Cell sum{0, 0, 0, 0};
  for (const int64_t offset : around()) {
    const Cell& cell = cells_[at + offset];
    sum = {sum.x + cell.x, sum.y + cell.y, sum.known + cell.known, sum.queued + cell.queued};
  }
  return sum;
}

bool Rings::fill() {
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

}  // namespace arseg::motion
