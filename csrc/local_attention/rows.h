#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "math.h"

// The inner loops, over a strip of kStrip pixels of one row. The trip count is a constant and every operand
// is contiguous, so that the compiler vectorises over pixels and no sum runs across lanes. No torch.
namespace arseg {

constexpr int64_t kStrip = 64;
constexpr int64_t kMaxRadius = 7;
constexpr int64_t kHalo = kStrip + 2 * kMaxRadius;  // length of a row with the keys on both sides
constexpr int64_t kLanes = 4;                       // channels handled together

// sums[x] += a[0][x] * b[0][x] + ... over kLanes channels; a: [kLanes][kStrip], b: [kLanes][kHalo]
template <typename A>
ARSEG_INLINE void add_products_body(A* __restrict sums, const A* __restrict a, const A* __restrict b) {
  for (int64_t x = 0; x < kStrip; ++x) {
    sums[x] += (a[x] * b[x] + a[kStrip + x] * b[kHalo + x]) +
               (a[2 * kStrip + x] * b[2 * kHalo + x] + a[3 * kStrip + x] * b[3 * kHalo + x]);
  }
}

// sums[x] += weights[0][x] * values[x] + weights[1][x] * values[x + 1] + ...; weights: [count][kStrip]
template <typename A>
ARSEG_INLINE void add_weighted_body(A* __restrict sums, const A* __restrict weights, const A* __restrict values,
                                    int64_t count) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const A* w = weights + i * kStrip;
    const A* v = values + i;
    for (int64_t x = 0; x < kStrip; ++x) {
      sums[x] +=
          (w[x] * v[x] + w[kStrip + x] * v[x + 1]) + (w[2 * kStrip + x] * v[x + 2] + w[3 * kStrip + x] * v[x + 3]);
    }
  }
  for (; i < count; ++i) {
    const A* w = weights + i * kStrip;
    for (int64_t x = 0; x < kStrip; ++x) sums[x] += w[x] * values[x + i];
  }
}

// logits [keys][kStrip] become exp(logit - max); total and logsumexp per pixel.
template <typename A>
ARSEG_INLINE void softmax_body(A* __restrict logits, int64_t keys, A* __restrict total, A* __restrict logsumexp) {
  A most[kStrip];
  for (int64_t x = 0; x < kStrip; ++x) {
    most[x] = -std::numeric_limits<A>::infinity();
    total[x] = A(0);
  }
  for (int64_t k = 0; k < keys; ++k) {
    const A* row = logits + k * kStrip;
    for (int64_t x = 0; x < kStrip; ++x) most[x] = row[x] > most[x] ? row[x] : most[x];
  }
  for (int64_t k = 0; k < keys; ++k) {
    A* row = logits + k * kStrip;
    for (int64_t x = 0; x < kStrip; ++x) {
      row[x] = exp_nonpositive(row[x] - most[x]);
      total[x] += row[x];
    }
  }
  for (int64_t x = 0; x < kStrip; ++x) logsumexp[x] = most[x] + std::log(total[x]);
}

// logits become probabilities; `logsumexp` holds one value a pixel.
template <typename A>
ARSEG_INLINE void probabilities_body(A* __restrict logits, const A* __restrict logsumexp) {
  for (int64_t x = 0; x < kStrip; ++x) logits[x] = exp_nonpositive(logits[x] - logsumexp[x]);
}

ARSEG_SIMD_CLONES static void add_products(float* sums, const float* a, const float* b) {
  add_products_body(sums, a, b);
}
ARSEG_SIMD_CLONES static void add_products(double* sums, const double* a, const double* b) {
  add_products_body(sums, a, b);
}
ARSEG_SIMD_CLONES static void add_weighted(float* sums, const float* weights, const float* values, int64_t count) {
  add_weighted_body(sums, weights, values, count);
}
ARSEG_SIMD_CLONES static void add_weighted(double* sums, const double* weights, const double* values, int64_t count) {
  add_weighted_body(sums, weights, values, count);
}
ARSEG_SIMD_CLONES static void softmax(float* logits, int64_t keys, float* total, float* logsumexp) {
  softmax_body(logits, keys, total, logsumexp);
}
ARSEG_SIMD_CLONES static void softmax(double* logits, int64_t keys, double* total, double* logsumexp) {
  softmax_body(logits, keys, total, logsumexp);
}
ARSEG_SIMD_CLONES static void probabilities(float* logits, const float* logsumexp) {
  probabilities_body(logits, logsumexp);
}
ARSEG_SIMD_CLONES static void probabilities(double* logits, const double* logsumexp) {
  probabilities_body(logits, logsumexp);
}

}  // namespace arseg
