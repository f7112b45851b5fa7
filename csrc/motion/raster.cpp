#include "raster.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "select.h"

namespace arseg::motion {
namespace {

[[noreturn]] void refuse(int64_t index, const std::string& expected, const std::string& came) {
  throw std::invalid_argument("motion record " + std::to_string(index) + ": expected " + expected + ", got " + came);
}

void check(const Record& r, int64_t index) {
  if (r.source == 0) {
    refuse(index, "source < 0 (past) or > 0 (future)", "source = 0");
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

// First of `count` cells of 2^shift pixels whose centre is at or after `edge` pixels.
int64_t first_cell(int64_t edge, int shift, int64_t count) {
  const int64_t half = int64_t{1} << shift >> 1;
  return edge <= half ? 0 : std::min((edge - half + 2 * half - 1) >> shift, count);
}

// v / scale pixels in quarter pixels. The divisions would cost as much as all the rest: FFmpeg's scale for H.264 is 4.
int16_t quarter_pixels(int32_t v, uint16_t scale) {
  return saturate(scale == 4 ? v : divide_round(int64_t{v} * 4, scale));
}

}  // namespace

void draw(const void* records, int64_t count, const Frame& frame, const References& references, int cell_shift,
          Hop out) {
  const int64_t rows = cells(frame.height, int64_t{1} << cell_shift);
  const int64_t cols = cells(frame.width, int64_t{1} << cell_shift);
  std::fill_n(out.vectors, rows * cols, Vec{0, 0});
  std::fill_n(out.reference, rows * cols, uint8_t{0});
  // Blocks predicted from both sides have a record each.
  const bool contested = !references.past.empty() && !references.future.empty();
  thread_local std::vector<int32_t> kept;  // fresh pages would cost more than filling
  if (contested) {
    kept.assign(static_cast<size_t>(rows * cols), std::numeric_limits<int32_t>::max());
  }
  int32_t* const differences = kept.data();  // of what a cell has

  const auto* bytes = static_cast<const unsigned char*>(records);
  for (int64_t i = 0; i < count; ++i) {
    Record r;
    std::memcpy(&r, bytes + i * static_cast<int64_t>(sizeof(Record)), sizeof(Record));
    check(r, i);
    const std::vector<Reference>& list = r.source < 0 ? references.past : references.future;
    if (list.empty()) {
      continue;
    }
    const Vec vec{quarter_pixels(r.motion_x, r.motion_scale), quarter_pixels(r.motion_y, r.motion_scale)};
    const Block block{r.dst_x - r.w / 2 - frame.crop_left,
                      r.dst_y - r.h / 2 - frame.crop_top,
                      r.w,
                      r.h,
                      divide_round(vec.x, 4),
                      divide_round(vec.y, 4)};
    Choice choice;
    if (r.flags >= 1 && r.flags <= list.size()) {
      choice.index = static_cast<size_t>(r.flags - 1);
      if (contested) {
        choice.difference = 2 * block_difference(frame, list[choice.index].luma, block);
      }
    } else if (list.size() > 1 || contested) {
      choice = choose(list, references.key, frame, block, vec);
    }
    if (list[choice.index].reach == Reference::Reach::Nothing) {
      continue;
    }
    const auto reference = static_cast<uint8_t>(1 + choice.index + (r.source < 0 ? 0 : references.past.size()));
    const int64_t x0 = first_cell(block.left, cell_shift, cols),
                  x1 = first_cell(block.left + block.width, cell_shift, cols);
    const int64_t y0 = first_cell(block.top, cell_shift, rows),
                  y1 = first_cell(block.top + block.height, cell_shift, rows);
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t at = y * cols + x0; at < y * cols + x1; ++at) {
        if (contested) {
          if (choice.difference >= differences[at]) {
            continue;
          }
          differences[at] = static_cast<int32_t>(choice.difference);
        }
        out.vectors[at] = vec;
        out.reference[at] = reference;
      }
    }
  }
}

}  // namespace arseg::motion
