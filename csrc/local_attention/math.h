#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../common/host_device.h"
#include "../common/simd.h"

// The arithmetic of the softmax. No torch.
namespace arseg {

// exp for x <= about 88, in a form that compilers vectorise: 2^n * exp(r), |r| <= ln(2) / 2. Relative error
// below 2e-7. Below -87 it gives exactly 0; NaN stays NaN.
ARSEG_INLINE float exp_nonpositive(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float safe = x < -87.0f ? -87.0f : x;
  const float shifted = safe * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  // ln(2) in two parts keeps the remainder exact.
  const float r = (safe - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = static_cast<int32_t>((static_cast<uint32_t>(bits) + 127u) << 23);
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}

ARSEG_INLINE double exp_nonpositive(double x) { return std::exp(x); }

}  // namespace arseg
