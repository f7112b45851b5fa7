// The softmax over the buffered logits of kLanes pixels: [keys][kLanes].
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename A>
ARSEG_INLINE Vec<A> largest(const A* logits, int keys) {
  constexpr int lanes = kLanes<A>;
  Vec<A> row_max[4] = {load(logits), load(logits), load(logits), load(logits)};
  int k = 0;
  for (; k + 4 <= keys; k += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) row_max[i] = larger(load(logits + (k + i) * lanes), row_max[i]);
  }
  for (; k < keys; ++k) row_max[0] = larger(load(logits + k * lanes), row_max[0]);
  return larger(larger(row_max[0], row_max[1]), larger(row_max[2], row_max[3]));
}

template <typename A>
struct SoftmaxSums {
  Vec<A> row_max;  // the largest of scale * logit
  Vec<A> row_sum;  // sum of 2^(scale * logit - row_max)
};

// Logits become 2^(scale * logit - row_max), scale > 0.
template <typename A>
ARSEG_INLINE SoftmaxSums<A> exponentials(A* logits, int keys, A scale_of_logits) {
  constexpr int lanes = kLanes<A>;
  const Vec<A> scale = broadcast(scale_of_logits);
  const Vec<A> row_max = largest(logits, keys) * scale;
  Vec<A> row_sum[4] = {};
  int k = 0;
  for (; k + 4 <= keys; k += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      A* at = logits + (k + i) * lanes;
      const Vec<A> weight = exp2_nonpositive<A>(load(at) * scale - row_max);
      store(at, weight);
      row_sum[i] += weight;
    }
  }
  for (; k < keys; ++k) {
    const Vec<A> weight = exp2_nonpositive<A>(load(logits + k * lanes) * scale - row_max);
    store(logits + k * lanes, weight);
    row_sum[0] += weight;
  }
  return {row_max, (row_sum[0] + row_sum[1]) + (row_sum[2] + row_sum[3])};
}

// Weights as a microkernel's weighted sum takes them, one unit for each slot of value rows: [slots][width][kLanes].
// `skipped` rows of the first slot lie before the window. Where a slot is a row, they are so already.
template <typename Microkernel>
ARSEG_INLINE void pack_weights(const typename Microkernel::Scalar* weights, int height, int width, int skipped,
                               typename Microkernel::Unit* packed) {
  if constexpr (Microkernel::kRowsPerSlot == 2) {
    constexpr int lanes = Microkernel::kLanes;
    for (int low = -skipped; low < height; low += 2) {
      const int high = low + 1;
      for (int d = 0; d < width; ++d, packed += lanes) {
        Vec<float> a{}, b{};
        if (low >= 0) a = load(weights + (low * width + d) * lanes);
        if (high < height) b = load(weights + (high * width + d) * lanes);
        store(packed, pairs_of(a, b));
      }
    }
  }
}

}  // namespace arseg::ARSEG_TARGET
