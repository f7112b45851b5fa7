#include "raster.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

namespace arseg::motion {
namespace {

[[noreturn]] void refuse(int64_t index, const std::string& expected, const std::string& came) {
  throw std::invalid_argument("motion record " + std::to_string(index) + ": expected " + expected + ", got " + came);
}

void check(const Record& r, int64_t index) {
  if (r.source >= 0) {
    refuse(index, "source < 0 (a reference in the past)", "source = " + std::to_string(r.source));
  }
  if (r.w == 0 || r.h == 0) {
    refuse(index, "a block of at least 1x1", std::to_string(r.w) + "x" + std::to_string(r.h));
  }
  if (r.motion_scale == 0) {
    refuse(index, "motion_scale > 0", "0");
  }
  if (r.dst_x < r.w / 2 || r.dst_y < r.h / 2) {
    refuse(index, "a block inside the coded frame",
           "centre (" + std::to_string(r.dst_x) + ", " + std::to_string(r.dst_y) + ") of a " + std::to_string(r.w) +
               "x" + std::to_string(r.h) + " block");
  }
}

// First cell whose centre is at or after `edge` pixels.
int64_t first_cell(int64_t edge) { return std::max<int64_t>(0, (edge - kCell / 2 + kCell - 1) / kCell); }

}  // namespace

void rasterize(const void* records, int64_t count, int width, int height, Vec* vectors, uint8_t* valid) {
  const int64_t rows = cells(height, kCell);
  const int64_t cols = cells(width, kCell);
  std::fill_n(vectors, rows * cols, Vec{0, 0});
  std::fill_n(valid, rows * cols, uint8_t{0});

  const auto* bytes = static_cast<const unsigned char*>(records);
  for (int64_t i = 0; i < count; ++i) {
    Record r;
    std::memcpy(&r, bytes + i * static_cast<int64_t>(sizeof(Record)), sizeof(Record));
    check(r, i);
    const Vec vec{saturate(divide_round(int64_t{r.motion_x} * 4, r.motion_scale)),
                  saturate(divide_round(int64_t{r.motion_y} * 4, r.motion_scale))};
    const int64_t left = r.dst_x - r.w / 2;
    const int64_t top = r.dst_y - r.h / 2;
    const int64_t x0 = std::min(first_cell(left), cols);
    const int64_t x1 = std::min(first_cell(left + r.w), cols);
    const int64_t y0 = std::min(first_cell(top), rows);
    const int64_t y1 = std::min(first_cell(top + r.h), rows);
    for (int64_t y = y0; y < y1; ++y) {
      std::fill(vectors + y * cols + x0, vectors + y * cols + x1, vec);
      std::fill(valid + y * cols + x0, valid + y * cols + x1, uint8_t{1});
    }
  }
}

}  // namespace arseg::motion
