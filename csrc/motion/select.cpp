#include "select.h"

#include <algorithm>
#include <cstdlib>

namespace arseg::motion {
namespace {

// The width is known to the compiler, which makes one instruction of sixteen pixels.
template <typename Sample, int kWidth>
int64_t difference_inside(const Sample* a, int64_t pitch_a, const Sample* b, int64_t pitch_b, int64_t rows) {
  int64_t sum = 0;
  for (int64_t y = 0; y < rows; ++y) {
    int32_t row = 0;
    for (int x = 0; x < kWidth; ++x) {
      row += std::abs(int32_t{a[x]} - int32_t{b[x]});
    }
    sum += row;
    a += pitch_a;
    b += pitch_b;
  }
  return sum;
}

template <typename Sample>
int64_t difference(const Frame& frame, const Luma& reference, const Block& block) {
  const int64_t x0 = std::max<int64_t>(block.left, 0), x1 = std::min<int64_t>(block.left + block.width, frame.width);
  const int64_t y0 = std::max<int64_t>(block.top, 0), y1 = std::min<int64_t>(block.top + block.height, frame.height);
  if (x0 >= x1 || y0 >= y1) {
    return 0;
  }
  const auto* a = reinterpret_cast<const Sample*>(frame.luma.data + y0 * frame.luma.pitch) + x0;
  const int64_t pitch_a = frame.luma.pitch / static_cast<int64_t>(sizeof(Sample));
  const int64_t pitch_b = reference.pitch / static_cast<int64_t>(sizeof(Sample));
  const auto* whole = reinterpret_cast<const Sample*>(reference.data);
  const int64_t from_x = x0 + block.dx, from_y = y0 + block.dy;
  const int64_t columns = x1 - x0, rows = y1 - y0;
  int64_t sum = 0;
  if (from_x >= 0 && from_y >= 0 && from_x + columns <= frame.width && from_y + rows <= frame.height) {
    const Sample* b = whole + from_y * pitch_b + from_x;
    if (columns == 16) {
      sum = difference_inside<Sample, 16>(a, pitch_a, b, pitch_b, rows);
    } else if (columns == 8) {
      sum = difference_inside<Sample, 8>(a, pitch_a, b, pitch_b, rows);
    } else {
      for (int64_t x = 0; x < columns; ++x) {
        sum += difference_inside<Sample, 1>(a + x, pitch_a, b + x, pitch_b, rows);
      }
    }
  } else {
    for (int64_t y = 0; y < rows; ++y) {
      const Sample* line = whole + std::clamp<int64_t>(from_y + y, 0, frame.height - 1) * pitch_b;
      for (int64_t x = 0; x < columns; ++x) {
        sum +=
            std::abs(int32_t{a[y * pitch_a + x]} - int32_t{line[std::clamp<int64_t>(from_x + x, 0, frame.width - 1)]});
      }
    }
  }
  return sum * 64 / (columns * rows);
}

}  // namespace

int64_t block_difference(const Frame& current, const Luma& reference, const Block& block) {
  if (current.luma.data == nullptr || reference.data == nullptr ||
      current.luma.sample_bytes != reference.sample_bytes) {
    return 0;
  }
  return reference.sample_bytes == 1 ? difference<uint8_t>(current, reference, block)
                                     : difference<uint16_t>(current, reference, block);
}

}  // namespace arseg::motion
