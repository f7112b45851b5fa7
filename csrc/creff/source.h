// Keys, values and queries of the whole fusion: the keyframe's rows are warped, the low-resolution ones resized, and
// both convolved, row by row as the tile rolls down. Nothing of the size of a map is ever written.
#pragma once

namespace arseg::ARSEG_TARGET {

// Weights of a depthwise 3x3 convolution for one vector of channels.
template <typename A>
struct Depthwise {
  Vec<A> tap[9], bias;

  ARSEG_INLINE Depthwise(const void* weights, int64_t channels, int64_t c) {
    const A* from = static_cast<const A*>(weights) + c;
#pragma GCC unroll 9
    for (int i = 0; i < 9; ++i) tap[i] = load(from + i * channels);
    bias = load(from + 9 * channels);
  }
};

// Three rows around a pixel, from the pixel to its left on; `step` to the next pixel.
template <typename A>
struct Rows3 {
  const A* row[3];
  int64_t step;

  ARSEG_INLINE Vec<A> at(int tap) const { return load(row[tap / 3] + tap % 3 * step); }
  ARSEG_INLINE void next() {
    for (const A*& at : row) at += step;
  }
};

// One convolution. Rows and weights come by value: the stores could otherwise change them, for all the compiler knows.
template <typename A>
ARSEG_NOINLINE void convolve(Rows3<A> rows, const Depthwise<A>& weights, int64_t count, A* to) {
  const Depthwise<A> own = weights;
  for (int64_t i = 0; i < count; ++i, rows.next(), to += rows.step) {
    Vec<A> even = own.bias, odd{};
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) {
      Vec<A>& sum = tap % 2 ? odd : even;
      sum = rows.at(tap) * own.tap[tap] + sum;
    }
    store(to, even + odd);
  }
}

// Two convolutions of the same rows.
template <typename A>
ARSEG_NOINLINE void convolve_both(Rows3<A> rows, const Depthwise<A>& first, const Depthwise<A>& second, int64_t count,
                                  A* to_first, A* to_second) {
  const Depthwise<A> own_first = first, own_second = second;
  for (int64_t i = 0; i < count; ++i, rows.next(), to_first += rows.step, to_second += rows.step) {
    Vec<A> a = own_first.bias, b = own_second.bias;
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) {
      Vec<A> value = rows.at(tap);
      keep_in_register(value);
      a = value * own_first.tap[tap] + a;
      b = value * own_second.tap[tap] + b;
    }
    store(to_first, a);
    store(to_second, b);
  }
}

// to [count][classes] = from [count][channels] times the classifier.
template <typename A>
void classify(const A* from, int64_t count, int64_t channels, const A* classifier, int64_t classes, A* to) {
  constexpr int lanes = kLanes<A>;
  constexpr int pixels = 8;
  for (int64_t i = 0; i < count; i += pixels) {
    const A* pixel[pixels];
    for (int p = 0; p < pixels; ++p) pixel[p] = from + std::min(i + p, count - 1) * channels;
    for (int64_t k = 0; k < classes; k += lanes) {
      Vec<A> sums[pixels] = {};
      for (int64_t c = 0; c < channels; ++c) {
        Vec<A> weight = load(classifier + c * classes + k);
        keep_in_register(weight);
#pragma GCC unroll 8
        for (int p = 0; p < pixels; ++p) sums[p] = broadcast(pixel[p][c]) * weight + sums[p];
      }
      for (int p = 0; p < pixels && i + p < count; ++p) store(to + (i + p) * classes + k, sums[p]);
    }
  }
}

template <typename Engine>
class FusionSource {
 public:
  using A = typename Engine::Scalar;
  using Task = FusionTask;

  FusionSource(const FusionTask& task, int64_t pixels, Arena& arena)
      : task_(task),
        pixels_(pixels),
        needed_(pixels + task.window.width - 1),
        wide_(round_up(needed_, Engine::kLanes)),
        channels_(task.padded_channels),
        classes_(task.classifier ? round_up(task.out.channels(), kLanes<A>) : 0),
        taps_(needed_ + 2, channels_, arena) {
    warped_ = arena.take_apart<A>(3 * warped_row(), 0);
    resized_ = arena.take_apart<A>(kResizedRows * resized_row(), 0);
    if (classes_) {
      unclassified_ = arena.take_apart<A>(wide_ * channels_, 2);
      low_res_logits_ = arena.take<A>(kQueryRows * pixels_ * classes_);
    }
    if (Engine::kRowsPerSlot > 1) value_row_ = arena.take_apart<A>(wide_ * value_channels(), 2);
  }

  int64_t wide() const { return wide_; }
  int64_t channels() const { return channels_; }
  int64_t value_channels() const { return classes_ ? classes_ : channels_; }
  A* value_row() const { return value_row_; }

  void start(int64_t n, int64_t x, int64_t y_begin, int64_t) {
    n_ = n;
    x_ = x;
    next_warped_ = y_begin - task_.window.y_radius() - 1;
    next_resized_ = y_begin - 1;
    taps_.clear();
  }

  void keys_and_values(int64_t y, A* keys, A* values) {
    const int64_t left = x_ - task_.window.x_radius();
    while (next_warped_ <= y + 1) warp(next_warped_++);
    int64_t first = std::clamp<int64_t>(-left, 0, needed_);
    int64_t last = std::clamp<int64_t>(width() - left, first, needed_);
    if (y < 0 || y >= height()) first = last = wide_;
    A* unclassified = classes_ ? unclassified_ : values;
    clear_pixels(keys, first, last);
    clear_pixels(unclassified, first, last);
    if (first == last) {
      if (classes_) std::memset(values, 0, wide_ * classes_ * sizeof(A));
      return;
    }
    const Rows3<A> rows{{warped(y - 1), warped(y), warped(y + 1)}, channels_};
    for (int64_t c = 0; c < channels_; c += kLanes<A>) {
      Rows3<A> from = rows;
      for (const A*& row : from.row) row += first * channels_ + c;
      convolve_both(from, Depthwise<A>(task_.key_weights, channels_, c),
                    Depthwise<A>(task_.value_weights, channels_, c), last - first, keys + first * channels_ + c,
                    unclassified + first * channels_ + c);
    }
    if (classes_) {
      classify(unclassified, wide_, channels_, static_cast<const A*>(task_.classifier), classes_, values);
    }
  }

  void queries(int64_t y, A* to) {
    while (next_resized_ <= y + 1) resize(next_resized_++);
    const Rows3<A> rows{{resized(y - 1), resized(y), resized(y + 1)}, channels_};
    for (int64_t c = 0; c < channels_; c += kLanes<A>) {
      Rows3<A> from = rows;
      for (const A*& row : from.row) row += c;
      convolve(from, Depthwise<A>(task_.query_weights, channels_, c), pixels_, to + c);
    }
    if (classes_) {
      const int64_t count = std::min(pixels_, width() - x_);
      resize_taps(task_.low_res_logits, height(), width(), n_, y, x_, count, taps_);
      sample_row(task_.low_res_logits.element, taps_, count, task_.low_res_logits.channels(), 0, logit_row(y),
                 classes_);
    }
  }

  A logit_scale() const { return static_cast<A>(1.4426950408889634); }

  // What is added to the attended values of row y, from a column of the strip on.
  const A* residual(int64_t y, int64_t column) {
    return classes_ ? logit_row(y) + column * classes_ : resized(y) + (column + 1) * channels_;
  }
  int64_t residual_stride() const { return value_channels(); }

 private:
  static constexpr int64_t kResizedRows = kQueryRows + 2;

  int64_t width() const { return task_.out.width(); }
  int64_t height() const { return task_.out.height(); }
  int64_t warped_row() const { return (needed_ + 2) * channels_; }
  int64_t resized_row() const { return (pixels_ + 2) * channels_; }
  // Rows from -(16) on: the window's radius is at most 7.
  A* warped(int64_t y) { return warped_ + (y + 48) % 3 * warped_row(); }
  A* resized(int64_t y) { return resized_ + (y + kResizedRows) % kResizedRows * resized_row(); }
  A* logit_row(int64_t y) { return low_res_logits_ + y % kQueryRows * pixels_ * classes_; }

  // All pixels of a row but those from `first` to `last`.
  void clear_pixels(A* row, int64_t first, int64_t last) {
    std::memset(row, 0, first * channels_ * sizeof(A));
    std::memset(row + last * channels_, 0, (wide_ - last) * channels_ * sizeof(A));
  }

  // One row with a pixel more on both sides; what lies outside the image is 0.
  struct Span {
    int64_t first, last;
  };
  Span inside(int64_t y, int64_t left, int64_t count) const {
    if (y < 0 || y >= height()) return {count, count};
    const int64_t first = std::clamp<int64_t>(-left, 0, count);
    return {first, std::clamp<int64_t>(width() - left, first, count)};
  }

  void warp(int64_t y) {
    const int64_t left = x_ - task_.window.x_radius() - 1, count = needed_ + 2;
    const Span span = inside(y, left, count);
    A* to = warped(y);
    clear_around(to, span, count);
    if (span.first == span.last) return;
    motion_taps(task_.motion, task_.reference, n_, y, left + span.first, span.last - span.first, taps_);
    sample_row(task_.reference.element, taps_, span.last - span.first, task_.reference.channels(),
               kRowsAhead * task_.reference.stride[2], to + span.first * channels_, channels_);
  }

  void resize(int64_t y) {
    const int64_t left = x_ - 1, count = pixels_ + 2;
    const Span span = inside(y, left, count);
    A* to = resized(y);
    clear_around(to, span, count);
    if (span.first == span.last) return;
    resize_taps(task_.low_res, height(), width(), n_, y, left + span.first, span.last - span.first, taps_);
    sample_row(task_.low_res.element, taps_, span.last - span.first, task_.low_res.channels(), 0,
               to + span.first * channels_, channels_);
  }

  void clear_around(A* row, const Span& span, int64_t count) {
    std::memset(row, 0, span.first * channels_ * sizeof(A));
    std::memset(row + span.last * channels_, 0, (count - span.last) * channels_ * sizeof(A));
  }

  const FusionTask& task_;
  int64_t pixels_, needed_, wide_, channels_, classes_;
  Taps<A> taps_;
  A *warped_, *resized_, *unclassified_ = nullptr, *low_res_logits_ = nullptr, *value_row_ = nullptr;
  int64_t n_ = 0, x_ = 0, next_warped_ = 0, next_resized_ = 0;
};

}  // namespace arseg::ARSEG_TARGET
