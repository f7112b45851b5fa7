#include "chain.h"

#include <algorithm>

namespace arseg::motion {
namespace {

// Cell that a quarter-pel coordinate lies in, clamped to [0, count).
int64_t cell_at(int64_t quarter, int64_t count) {
  return quarter <= 0 ? 0 : std::min(quarter / (4 * kCell), count - 1);
}

}  // namespace

void chain(ConstHop hop, const References& references, int64_t through, int64_t rows, int64_t cols, Field out) {
  for (int64_t y = 0; y < rows; ++y) {
    const int64_t centre_y = 4 * (y * kCell + kCell / 2);
    for (int64_t x = 0; x < cols; ++x) {
      const int64_t i = y * cols + x;
      const int64_t centre_x = 4 * (x * kCell + kCell / 2);
      const Vec mv = hop.vectors[i];
      const uint8_t known = hop.reference[i];
      const Reference& reference = references.at(known ? known - 1 : through);
      if (reference.reach == Reference::Reach::Key) {
        out.vectors[i] = mv;
        out.valid[i] = known != 0;
        continue;
      }
      const int64_t from = cell_at(centre_y + mv.y, rows) * cols + cell_at(centre_x + mv.x, cols);
      const Vec rest = reference.to_key.vectors[from];
      out.vectors[i] = Vec{saturate(int64_t{mv.x} + rest.x), saturate(int64_t{mv.y} + rest.y)};
      out.valid[i] = known != 0 && reference.to_key.valid[from];
    }
  }
}

void pool(ConstField in, int64_t rows, int64_t cols, int factor, Field out) {
  const int64_t out_rows = cells(rows, factor);
  const int64_t out_cols = cells(cols, factor);
  for (int64_t y = 0; y < out_rows; ++y) {
    for (int64_t x = 0; x < out_cols; ++x) {
      // [0]: all cells, [1]: the valid ones
      int64_t sum_x[2] = {}, sum_y[2] = {}, count[2] = {};
      for (int64_t cy = y * factor; cy < std::min(rows, (y + 1) * factor); ++cy) {
        for (int64_t cx = x * factor; cx < std::min(cols, (x + 1) * factor); ++cx) {
          const int64_t i = cy * cols + cx;
          for (int kind = 0; kind <= (in.valid[i] ? 1 : 0); ++kind) {
            sum_x[kind] += in.vectors[i].x;
            sum_y[kind] += in.vectors[i].y;
            ++count[kind];
          }
        }
      }
      const int kind = count[1] > 0 ? 1 : 0;
      const int64_t i = y * out_cols + x;
      out.vectors[i] =
          Vec{saturate(divide_round(sum_x[kind], count[kind])), saturate(divide_round(sum_y[kind], count[kind]))};
      out.valid[i] = 2 * count[1] >= count[0];
    }
  }
}

}  // namespace arseg::motion
