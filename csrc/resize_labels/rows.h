// Bilinear resizing and argmax, a row of labels at a time: the resized logits are never written.
#pragma once

namespace arseg::ARSEG_TARGET {

// The class of the largest logit, as torch.argmax chooses it.
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

constexpr int64_t kLabelPixels = 64;

template <typename A>
void label_rows(const ResizeLabelsParams& params, int64_t first, int64_t last, Arena& arena) {
  const int64_t classes = params.logits.channels(), stride = round_up(classes, kLanes<A>);
  Taps<A> taps(kLabelPixels, classes, arena);
  A* block = arena.take<A>(kLabelPixels * stride);
  taps.clear();
  std::memset(block, 0, kLabelPixels * stride * sizeof(A));
  for (int64_t row = first; row < last; ++row) {
    const int64_t n = row / params.height, y = row % params.height;
    for (int64_t x = 0; x < params.width; x += kLabelPixels) {
      const int64_t count = std::min(kLabelPixels, params.width - x);
      resize_taps(params.logits, params.height, params.width, n, y, x, count, taps, params.align_corners);
      sample_row(params.logits.element, taps, count, classes, 0, block, stride);
      for (int64_t i = 0; i < count; i += kLanes<A>) {
        choose_classes(block + i * stride, stride, classes, std::min<int64_t>(kLanes<A>, count - i),
                       params.labels + row * params.width + x + i);
      }
    }
  }
}

inline int64_t resize_labels_scratch(const ResizeLabelsParams& params) {
  Arena measure;
  Taps<double> taps(kLabelPixels, params.logits.channels(), measure);
  measure.take<double>(kLabelPixels * round_up(params.logits.channels(), 16));
  return measure.used();
}

inline void resize_labels_task(const ResizeLabelsParams& params, int64_t first, int64_t last, void* scratch) {
  Arena arena(scratch);
  if (params.logits.element == Element::Double) {
    label_rows<double>(params, first, last, arena);
  } else {
    label_rows<float>(params, first, last, arena);
  }
}

}  // namespace arseg::ARSEG_TARGET
