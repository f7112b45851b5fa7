#include "pool.h"

#include <algorithm>

namespace arseg::motion {

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
