#include "unchain.h"

#include <algorithm>

namespace arseg::motion {
namespace {

// Towards minus infinity, for b > 0.
int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

}  // namespace

void unchain(ConstField now, const Vec* other, int64_t rows, int64_t cols, int64_t cell, Field out) {
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < cols; ++x) {
      const int64_t i = y * cols + x;
      const int64_t goal_x = now.vectors[i].x, goal_y = now.vectors[i].y;
      int64_t step_x = 0, step_y = 0;
      bool settled = false;
      for (int round = 0; round < kUnchainSteps && !settled; ++round) {
        const int64_t from_y = std::clamp<int64_t>(y + floor_divide(cell / 2 + step_y, cell), 0, rows - 1);
        const int64_t from_x = std::clamp<int64_t>(x + floor_divide(cell / 2 + step_x, cell), 0, cols - 1);
        const Vec there = other[from_y * cols + from_x];
        settled = step_x == goal_x - there.x && step_y == goal_y - there.y;
        step_x = goal_x - there.x;
        step_y = goal_y - there.y;
      }
      out.vectors[i] = {saturate(step_x), saturate(step_y)};
      out.valid[i] = static_cast<uint8_t>(settled && now.valid[i] != 0);
    }
  }
}

}  // namespace arseg::motion
