#include "select.h"

#include <algorithm>
#include <cstdlib>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace arseg::motion {
namespace {

// Sum over `rows` rows of kWidth samples; at most 255 x 255 samples of 16 bits, which 32 bits hold.
template <typename Sample, int kWidth>
uint32_t difference_inside(const Sample* a, int64_t pitch_a, const Sample* b, int64_t pitch_b, int64_t rows) {
  uint32_t sum = 0;
  for (int64_t y = 0; y < rows; ++y, a += pitch_a, b += pitch_b) {
    for (int x = 0; x < kWidth; ++x) {
      sum += static_cast<uint32_t>(std::abs(int32_t{a[x]} - int32_t{b[x]}));
    }
  }
  return sum;
}

#if defined(__SSE2__)
// One instruction sums eight samples; compilers find it, but add up after every row.
template <>
uint32_t difference_inside<uint8_t, 16>(const uint8_t* a, int64_t pitch_a, const uint8_t* b, int64_t pitch_b,
                                        int64_t rows) {
  __m128i sum = _mm_setzero_si128();
  for (int64_t y = 0; y < rows; ++y, a += pitch_a, b += pitch_b) {
    sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)),
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(b))));
  }
  return static_cast<uint32_t>(_mm_cvtsi128_si32(sum) + _mm_cvtsi128_si32(_mm_srli_si128(sum, 8)));
}

template <>
uint32_t difference_inside<uint8_t, 8>(const uint8_t* a, int64_t pitch_a, const uint8_t* b, int64_t pitch_b,
                                       int64_t rows) {
  __m128i sum = _mm_setzero_si128();
  for (int64_t y = 0; y < rows; ++y, a += pitch_a, b += pitch_b) {
    sum = _mm_add_epi32(sum, _mm_sad_epu8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                                          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b))));
  }
  return static_cast<uint32_t>(_mm_cvtsi128_si32(sum));
}
#endif

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
  const int64_t area = columns * rows;
  return area == 256 ? sum / 4 : area == 64 ? sum : sum * 64 / area;  // a division costs as much as the sum
}

// How much better another frame than the first must be, found by trying on clips: at least 2 of 256 a pixel, and a
// sixth.
constexpr int64_t kBetter = 128;
bool clearly_less(int64_t difference, int64_t best) { return difference + difference / 5 + kBetter < best; }

// Cell that a quarter-pel coordinate lies in, clamped to [0, count).
int64_t cell_at(int64_t quarter, int64_t count) {
  return quarter <= 0 ? 0 : std::min(quarter / (4 * kCell), count - 1);
}

// The block in the keyframe, on from where `vec` leads to in `reference`.
int64_t difference_to_key(const Reference& reference, const Luma& key, const Frame& frame, Block block, Vec vec) {
  const int64_t x = cell_at(4 * block.left + 2 * block.width + vec.x, cells(frame.width, kCell));
  const int64_t y = cell_at(4 * block.top + 2 * block.height + vec.y, cells(frame.height, kCell));
  const Vec rest = reference.to_key.vectors[y * cells(frame.width, kCell) + x];
  block.dx = divide_round(int64_t{vec.x} + rest.x, 4);
  block.dy = divide_round(int64_t{vec.y} + rest.y, 4);
  return block_difference(frame, key, block);
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

Choice choose(const std::vector<Reference>& list, const Luma& key, const Frame& frame, const Block& block, Vec vec) {
  Choice best;
  for (size_t i = 0; i < list.size(); ++i) {
    int64_t difference = block_difference(frame, list[i].luma, block);
    if (i > 0 && !clearly_less(difference, best.difference)) {
      continue;  // and would not become less
    }
    difference +=
        list[i].reach == Reference::Reach::Field ? difference_to_key(list[i], key, frame, block, vec) : difference;
    if (i == 0 || clearly_less(difference, best.difference)) {
      best = {i, difference};
    }
    if (best.difference <= kBetter) {
      break;  // none can be clearly less
    }
  }
  return best;
}

}  // namespace arseg::motion
