#pragma once

#include <cmath>
#include <cstdint>

#include "../common/base.h"
#include "params.h"

// The arithmetic of the warps along one axis, for host and device. No torch.
namespace arseg {

// The block that holds the centre of feature pixel `at`: floor((at + 0.5) * frame / size / block), exactly. I must hold
// 2 * size * frame and 2 * size * block.
template <typename I = int64_t>
ARSEG_HD I block_of(I at, const BlockAxis& axis) {
  const I index = ((2 * at + 1) * static_cast<I>(axis.frame)) / (2 * static_cast<I>(axis.size * axis.block));
  return index < static_cast<I>(axis.blocks) ? index : static_cast<I>(axis.blocks - 1);
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
template <typename T, typename I = int64_t>
struct Taps {
  I lower;
  I upper;
  T fraction;  // the weight of `upper`
};

template <typename T, typename I = int64_t>
ARSEG_HD Taps<T, I> sample_taps(I at, T shift, I size) {
  const T position = static_cast<T>(at) + shift;
  // NaN and huge values fail the comparison, and so never reach the conversion to an integer.
  if (!(position > T(-1) && position < static_cast<T>(size))) return {-1, -1, T(0)};
  const T whole = std::floor(shift);
  const I lower = at + static_cast<I>(whole);
  const I upper = lower + 1;
  return {lower >= 0 && lower < size ? lower : -1, upper >= 0 && upper < size ? upper : -1, shift - whole};
}

}  // namespace arseg
