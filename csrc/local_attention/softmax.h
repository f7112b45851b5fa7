// The softmax over the buffered logits of kLanes pixels: [keys][kLanes].
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename A>
ARSEG_INLINE Vec<A> largest(const A* logits, int keys) {
  constexpr int lanes = kLanes<A>;
  Vec<A> most[4] = {load(logits), load(logits), load(logits), load(logits)};
  int k = 0;
  for (; k + 4 <= keys; k += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) most[i] = larger(load(logits + (k + i) * lanes), most[i]);
  }
  for (; k < keys; ++k) most[0] = larger(load(logits + k * lanes), most[0]);
  return larger(larger(most[0], most[1]), larger(most[2], most[3]));
}

template <typename A>
struct SoftmaxSums {
  Vec<A> most;   // the largest of scale * logit
  Vec<A> total;  // sum of 2^(scale * logit - most)
};

// Logits become 2^(scale * logit - most), scale > 0.
template <typename A>
ARSEG_INLINE SoftmaxSums<A> exponentials(A* logits, int keys, A scale_of_logits) {
  constexpr int lanes = kLanes<A>;
  const Vec<A> scale = broadcast(scale_of_logits);
  const Vec<A> most = largest(logits, keys) * scale;
  Vec<A> total[4] = {};
  int k = 0;
  for (; k + 4 <= keys; k += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      A* at = logits + (k + i) * lanes;
      const Vec<A> weight = exp2_nonpositive<A>(load(at) * scale - most);
      store(at, weight);
      total[i] += weight;
    }
  }
  for (; k < keys; ++k) {
    const Vec<A> weight = exp2_nonpositive<A>(load(logits + k * lanes) * scale - most);
    store(logits + k * lanes, weight);
    total[0] += weight;
  }
  return {most, (total[0] + total[1]) + (total[2] + total[3])};
}

// Weights as an engine's weighted sum takes them, one unit for each slot of value rows: [slots][width][kLanes].
// `skipped` rows of the first slot lie before the window. Where a slot is a row, they are so already.
template <typename Engine>
ARSEG_INLINE void pack_weights(const typename Engine::Scalar* weights, int height, int width, int skipped,
                               typename Engine::Unit* packed) {
  if constexpr (Engine::kRowsPerSlot == 2) {
    constexpr int lanes = Engine::kLanes;
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
