#pragma once

#include <cmath>
#include <cstdint>

#include "../common/host_device.h"
#include "params.h"

// The arithmetic of the warps along one axis, for host and device. No torch.
namespace arseg {

// The block that holds the centre of feature pixel `at`: floor((at + 0.5) * frame / size / block), exactly.
ARSEG_HD inline int64_t block_of(int64_t at, const BlockAxis& axis) {
  const int64_t index = ((2 * at + 1) * axis.frame) / (2 * axis.size * axis.block);
  return index < axis.blocks ? index : axis.blocks - 1;
}

// Feature pixels for one quarter of a video pixel.
template <typename T>
ARSEG_HD T quarter_pel(const BlockAxis& axis) {
  return static_cast<T>(axis.size) / (T(4) * static_cast<T>(axis.frame));
}

// The sampling position of pixel `at` is at + sample_shift(...). Position and shift are kept apart so that
// the fraction does not lose bits to a large `at`.
template <typename T>
ARSEG_HD T sample_shift(int64_t at, T displacement, int64_t size, Grid grid) {
  if (grid == Grid::Aligned) return displacement;
  const T stretch = size > 1 ? T(1) / static_cast<T>(size - 1) : T(0);
  return displacement + (static_cast<T>(at) + displacement) * stretch - T(0.5);
}

// d position / d displacement.
template <typename T>
ARSEG_HD T sample_slope(int64_t size, Grid grid) {
  return grid == Grid::Legacy && size > 1 ? static_cast<T>(size) / static_cast<T>(size - 1) : T(1);
}

// The two pixels between which a position lies. A pixel outside the image is -1.
template <typename T>
struct Taps {
  int64_t lower;
  int64_t upper;
  T fraction;  // the weight of `upper`
};

template <typename T>
ARSEG_HD Taps<T> sample_taps(int64_t at, T shift, int64_t size) {
  const T position = static_cast<T>(at) + shift;
  // NaN and huge values fail the comparison, and so never reach the conversion to an integer.
  if (!(position > T(-1) && position < static_cast<T>(size))) return {-1, -1, T(0)};
  const T whole = std::floor(shift);
  const int64_t lower = at + static_cast<int64_t>(whole);
  const int64_t upper = lower + 1;
  return {lower >= 0 && lower < size ? lower : -1, upper >= 0 && upper < size ? upper : -1, shift - whole};
}

}  // namespace arseg
