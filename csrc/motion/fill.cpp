#include "fill.h"

#include <algorithm>
#include <vector>

namespace arseg::motion {
namespace {

// A cell in a grid with a border of one: what it adds to the sums of its neighbours, all zero while unknown. Sixteen
// bytes, so that the compiler sums the eight neighbours with one vector addition each.
struct Cell {
  int32_t x, y;
  int32_t known;
  int32_t queued;  // in a ring, or known, or border: not to be queued again
};

// Mean to the nearest, halves away from zero, for |sum| <= 8 * 2^15 and count 1..8; a multiplication instead of a
// division, which would cost most of the time here. Exact: the reciprocal is less than 8 / 2^32 too large.
int32_t mean(int32_t sum, int32_t count) {
  static constexpr auto up = [](uint64_t n) { return ((uint64_t{1} << 32) + n - 1) / n; };
  static constexpr uint64_t reciprocal[9] = {0, up(1), up(2), up(3), up(4), up(5), up(6), up(7), up(8)};
  const auto size = static_cast<uint64_t>((sum < 0 ? -sum : sum) + count / 2);
  const auto quotient = static_cast<int32_t>((size * reciprocal[count]) >> 32);
  return sum < 0 ? -quotient : quotient;
}

}  // namespace

void fill_holes(Vec* vectors, const uint8_t* valid, int64_t rows, int64_t cols) {
  const int64_t holes = std::count(valid, valid + rows * cols, uint8_t{0});
  if (holes == 0) {
    return;
  }
  if (holes == rows * cols) {
    std::fill_n(vectors, rows * cols, Vec{0, 0});
    return;
  }

  const int64_t pitch = cols + 2;
  thread_local std::vector<Cell> storage;  // kept: fresh pages for every frame would cost as much as the filling
  storage.assign(static_cast<size_t>((rows + 2) * pitch), Cell{0, 0, 0, 1});
  Cell* const grid = storage.data();
  for (int64_t y = 0; y < rows; ++y) {
    Cell* row = grid + (y + 1) * pitch + 1;
    for (int64_t x = 0; x < cols; ++x) {
      const int64_t i = y * cols + x;
      row[x] = valid[i] ? Cell{vectors[i].x, vectors[i].y, 1, 1} : Cell{0, 0, 0, 0};
    }
  }
  const int64_t around[8] = {-pitch - 1, -pitch, -pitch + 1, -1, 1, pitch - 1, pitch, pitch + 1};
  const auto sum_around = [&](int64_t at) {
    Cell sum{0, 0, 0, 0};
    for (const int64_t offset : around) {
      const Cell& cell = grid[at + offset];
      sum = {sum.x + cell.x, sum.y + cell.y, sum.known + cell.known, sum.queued + cell.queued};
    }
    return sum;
  };

  // Index in the grid, and the vector found for it: a ring is computed whole before it is written, so that the cells
  // of one ring do not feed each other and the order does not matter.
  struct Found {
    int64_t at;
    Cell cell;
  };
  std::vector<Found> ring, next;
  for (int64_t y = 1; y <= rows; ++y) {
    for (int64_t at = y * pitch + 1; at <= y * pitch + cols; ++at) {
      if (!grid[at].known && sum_around(at).known > 0) {
        ring.push_back({at, {}});
      }
    }
  }
  while (!ring.empty()) {
    for (Found& found : ring) {
      const Cell sum = sum_around(found.at);
      found.cell = {mean(sum.x, sum.known), mean(sum.y, sum.known), 1, 1};
    }
    for (const Found& found : ring) {
      grid[found.at] = found.cell;
    }
    next.clear();
    for (const Found& found : ring) {
      for (const int64_t offset : around) {
        Cell& cell = grid[found.at + offset];
        if (!cell.queued) {
          cell.queued = 1;
          next.push_back({found.at + offset, {}});
        }
      }
    }
    ring.swap(next);
  }
  for (int64_t y = 0; y < rows; ++y) {
    const Cell* row = grid + (y + 1) * pitch + 1;
    for (int64_t x = 0; x < cols; ++x) {
      vectors[y * cols + x] = {static_cast<int16_t>(row[x].x), static_cast<int16_t>(row[x].y)};
    }
  }
}

}  // namespace arseg::motion
