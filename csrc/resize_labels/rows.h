// Bilinear resizing and argmax, a row of labels at a time: the resized logits are never written.
#pragma once

namespace arseg::ARSEG_TARGET {

constexpr int64_t kLabelPixels = 64;

template <typename A>
void label_rows(const ResizeLabelsTask& task, int64_t first, int64_t last, Arena& arena) {
  const int64_t classes = task.logits.channels(), stride = round_up(classes, kLanes<A>);
  Taps<A> taps(kLabelPixels, classes, arena);
  A* block = arena.take<A>(kLabelPixels * stride);
  taps.clear();
  std::memset(block, 0, kLabelPixels * stride * sizeof(A));
  for (int64_t row = first; row < last; ++row) {
    const int64_t n = row / task.height, y = row % task.height;
    for (int64_t x = 0; x < task.width; x += kLabelPixels) {
      const int64_t count = std::min(kLabelPixels, task.width - x);
      resize_taps(task.logits, task.height, task.width, n, y, x, count, taps, task.align_corners);
      sample_row(task.logits.element, taps, count, classes, 0, block, stride);
      for (int64_t i = 0; i < count; i += kLanes<A>) {
        choose_classes(block + i * stride, stride, classes, std::min<int64_t>(kLanes<A>, count - i),
                       task.labels + row * task.width + x + i);
      }
    }
  }
}

inline int64_t resize_labels_scratch(const ResizeLabelsTask& task) {
  Arena measure;
  Taps<double> taps(kLabelPixels, task.logits.channels(), measure);
  measure.take<double>(kLabelPixels * round_up(task.logits.channels(), 16));
  return measure.used();
}

inline void resize_labels_task(const ResizeLabelsTask& task, int64_t first, int64_t last, void* scratch) {
  Arena arena(scratch);
  if (task.logits.element == Element::Double) {
    label_rows<double>(task, first, last, arena);
  } else {
    label_rows<float>(task, first, last, arena);
  }
}

}  // namespace arseg::ARSEG_TARGET
