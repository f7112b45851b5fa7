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

// First cell whose centre is at or after `edge` pixels.
int64_t first_cell(int64_t edge) { return edge <= 0 ? 0 : (edge - kCell / 2 + kCell - 1) / kCell; }

// Of the frames in `list`, the one the block resembles most; ties go to the first.
struct Choice {
  size_t index = 0;
  int64_t difference = 0;
};

Choice choose(const std::vector<Reference>& list, const Frame& frame, const Block& block) {
  Choice best{0, block_difference(frame, list[0].luma, block)};
  for (size_t i = 1; i < list.size() && best.difference > 0; ++i) {
    const int64_t difference = block_difference(frame, list[i].luma, block);
    if (difference < best.difference) {
      best = {i, difference};
    }
  }
  return best;
}

}  // namespace

void draw(const void* records, int64_t count, const Frame& frame, const References& references, Hop out) {
  const int64_t rows = cells(frame.height, kCell);
  const int64_t cols = cells(frame.width, kCell);
  std::fill_n(out.vectors, rows * cols, Vec{0, 0});
  std::fill_n(out.reference, rows * cols, uint8_t{0});
  // Blocks predicted from both sides have a record each.
  const bool contested = !references.past.empty() && !references.future.empty();
  thread_local std::vector<int32_t> differences;  // of what a cell has; kept, since fresh pages cost more than filling
  if (contested) {
    differences.assign(static_cast<size_t>(rows * cols), std::numeric_limits<int32_t>::max());
  }

  const auto* bytes = static_cast<const unsigned char*>(records);
  for (int64_t i = 0; i < count; ++i) {
    Record r;
    std::memcpy(&r, bytes + i * static_cast<int64_t>(sizeof(Record)), sizeof(Record));
    check(r, i);
    const std::vector<Reference>& list = r.source < 0 ? references.past : references.future;
    if (list.empty()) {
      continue;
    }
    const Vec vec{saturate(divide_round(int64_t{r.motion_x} * 4, r.motion_scale)),
                  saturate(divide_round(int64_t{r.motion_y} * 4, r.motion_scale))};
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
        choice.difference = block_difference(frame, list[choice.index].luma, block);
      }
    } else if (list.size() > 1 || contested) {
      choice = choose(list, frame, block);
    }
    if (list[choice.index].reach == Reference::Reach::Nothing) {
      continue;
    }
    const auto reference = static_cast<uint8_t>(1 + choice.index + (r.source < 0 ? 0 : references.past.size()));
    const int64_t x0 = std::min(first_cell(block.left), cols);
    const int64_t x1 = std::min(first_cell(block.left + block.width), cols);
    const int64_t y0 = std::min(first_cell(block.top), rows);
    const int64_t y1 = std::min(first_cell(block.top + block.height), rows);
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t at = y * cols + x0; at < y * cols + x1; ++at) {
        if (contested) {
          if (choice.difference >= differences[static_cast<size_t>(at)]) {
            continue;
          }
          differences[static_cast<size_t>(at)] = static_cast<int32_t>(choice.difference);
        }
        out.vectors[at] = vec;
        out.reference[at] = reference;
      }
    }
  }
}

}  // namespace arseg::motion
