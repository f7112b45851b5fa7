#include "fill.h"

#include <algorithm>
#include <vector>

namespace arseg::motion {
namespace {

// A large cell in a grid with a border of one: what it adds to the sums of its neighbours, all zero while unknown.
// Sixteen bytes, so that the compiler sums the eight neighbours with one vector addition each.
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

// The large cells of a field, with a border of one cell.
class Grid {
 public:
  Grid(int64_t rows, int64_t cols) : rows(rows), cols(cols), pitch_(cols + 2) {
    storage().assign(static_cast<size_t>((rows + 2) * pitch_), Cell{0, 0, 0, 1});
    cells_ = storage().data();
  }

  Cell* row(int64_t y) { return cells_ + (y + 1) * pitch_ + 1; }

  // Gives the unknown cells a vector, ring by ring: a ring is computed whole before it is written, so that the cells
  // of one ring do not feed each other and the order does not matter.
  void fill() {
    std::vector<Found> ring, next;
    for (int64_t y = 1; y <= rows; ++y) {
      for (int64_t at = y * pitch_ + 1; at <= y * pitch_ + cols; ++at) {
        if (!cells_[at].known && sum_around(at).known > 0) {
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
  }

  const int64_t rows, cols;

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

  Cell sum_around(int64_t at) const {
    Cell sum{0, 0, 0, 0};
    for (const int64_t offset : around()) {
      const Cell& cell = cells_[at + offset];
      sum = {sum.x + cell.x, sum.y + cell.y, sum.known + cell.known, sum.queued + cell.queued};
    }
    return sum;
  }

  // Kept from frame to frame: fresh pages would cost as much as the filling.
  static std::vector<Cell>& storage() {
    thread_local std::vector<Cell> kept;
    return kept;
  }

  int64_t pitch_;
  Cell* cells_;
};

// Each large cell the mean of its known cells; returns whether there is any.
bool average(const Vec* vectors, const uint8_t* known, int64_t rows, int64_t cols, const int32_t* scale, Grid& grid) {
  bool any = false;
  for (int64_t y = 0; y < grid.rows; ++y) {
    Cell* line = grid.row(y);
    for (int64_t x = 0; x < grid.cols; ++x) {
      int32_t sum_x = 0, sum_y = 0, count = 0;
      for (int64_t cy = 2 * y; cy < std::min(rows, 2 * y + 2); ++cy) {
        for (int64_t cx = 2 * x; cx < std::min(cols, 2 * x + 2); ++cx) {
          const int64_t i = cy * cols + cx;
          if (known[i] == 0) {
            continue;
          }
          if (scale == nullptr) {
            sum_x += vectors[i].x;
            sum_y += vectors[i].y;
          } else {
            sum_x += saturate(divide_round(int64_t{vectors[i].x} * scale[known[i]], 256));
            sum_y += saturate(divide_round(int64_t{vectors[i].y} * scale[known[i]], 256));
          }
          ++count;
        }
      }
      line[x] = count == 0 ? Cell{0, 0, 0, 0} : Cell{mean(sum_x, count), mean(sum_y, count), 1, 1};
      any |= count > 0;
    }
  }
  return any;
}

}  // namespace

void fill_holes(Vec* vectors, const uint8_t* known, int64_t rows, int64_t cols, const int32_t* scale) {
  if (std::find(known, known + rows * cols, uint8_t{0}) == known + rows * cols) {
    return;
  }
  Grid grid(cells(rows, 2), cells(cols, 2));
  if (!average(vectors, known, rows, cols, scale, grid)) {
    std::fill_n(vectors, rows * cols, Vec{0, 0});
    return;
  }
  grid.fill();
  // The centre of a cell lies a quarter of a large cell beside the centre of the large cell it is in: weights 3/4 of
  // that one and 1/4 of the one beside, which at the edge is itself.
  for (int64_t y = 0; y < rows; ++y) {
    const int64_t own_y = y / 2;
    const Cell* own = grid.row(own_y);
    const Cell* beside = grid.row(std::clamp<int64_t>(own_y + (y % 2 ? 1 : -1), 0, grid.rows - 1));
    for (int64_t x = 0; x < cols; ++x) {
      const int64_t i = y * cols + x;
      if (known[i] != 0) {
        continue;
      }
      const int64_t a = x / 2;
      const int64_t b = std::clamp<int64_t>(a + (x % 2 ? 1 : -1), 0, grid.cols - 1);
      vectors[i] = {static_cast<int16_t>(divide_round(9 * own[a].x + 3 * (own[b].x + beside[a].x) + beside[b].x, 16)),
                    static_cast<int16_t>(divide_round(9 * own[a].y + 3 * (own[b].y + beside[a].y) + beside[b].y, 16))};
    }
  }
}

}  // namespace arseg::motion
