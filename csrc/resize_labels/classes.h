// The class of the largest logit, as torch.argmax chooses it.
#pragma once

namespace arseg::ARSEG_TARGET {

// block [kLanes pixels][stride] of logits -> the class of each of the first `width` pixels; the first of equals,
// and the first NaN before any number.
template <typename A>
ARSEG_INLINE void choose_classes(const A* block, int64_t stride, int64_t classes, int64_t width, uint8_t* to) {
  constexpr int lanes = kLanes<A>;
  Vec<A> best{}, best_class{};
  for (int64_t c = 0; c < classes; c += lanes) {
    Vec<A> logits[lanes];
    for (int i = 0; i < lanes; ++i) logits[i] = load(block + i * stride + c);
    transpose<A>(logits);
    const int count = static_cast<int>(std::min<int64_t>(lanes, classes - c));
    for (int i = 0; i < count; ++i) {
      const Vec<A> number = broadcast(static_cast<A>(c + i));
      if (c + i == 0) {
        best = logits[0];
      } else {
        // "Not lower or equal" holds for a NaN, too; a NaN that was chosen stays.
        const auto higher = ~(logits[i] <= best) & (best == best);
        best = higher ? logits[i] : best;
        best_class = higher ? number : best_class;
      }
    }
  }
  for (int64_t i = 0; i < width; ++i) to[i] = static_cast<uint8_t>(best_class[i]);
}

}  // namespace arseg::ARSEG_TARGET
