// Keys, values and queries of the whole fusion: the keyframe's rows are warped, the low-resolution ones resized, and
// both convolved, row by row as the tile rolls down. Nothing of the size of a map is ever written.
//
// Memory that loops read and write side by side is taken apart (Arena::take_apart).
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

  Rows3 from(int64_t offset) const { return {{row[0] + offset, row[1] + offset, row[2] + offset}, step}; }
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

// Two convolutions of the same rows; pixels of the second lie `second_step` apart.
template <typename A>
ARSEG_NOINLINE void convolve_both(Rows3<A> rows, const Depthwise<A>& first, const Depthwise<A>& second, int64_t count,
                                  A* to_first, A* to_second, int64_t second_step) {
  const Depthwise<A> own_first = first, own_second = second;
  for (int64_t i = 0; i < count; ++i, rows.next(), to_first += rows.step, to_second += second_step) {
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

// to [count][to_stride], `classes` of them = from [count][channels] times the classifier.
template <typename A>
void classify(const A* from, int64_t count, int64_t channels, const A* classifier, int64_t classes, A* to,
              int64_t to_stride) {
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
      for (int p = 0; p < pixels && i + p < count; ++p) store(to + (i + p) * to_stride + k, sums[p]);
    }
  }
}

// What the fusion reads, row by row: warped rows of the keyframe, resized rows of the low-resolution maps. A row has a
// pixel more on both sides than what is made of it; what lies outside the image is 0.
template <typename A>
class FusionRows {
 public:
  FusionRows(const FusionParams& params, int64_t pixels, Arena& arena)
      : params_(params),
        pixels_(pixels),
        needed_(pixels + params.window.width - 1),
        channels_(params.padded_channels),
        taps_(needed_ + 2, std::max(channels_, round_up(params.out.channels(), kLanes<A>)), arena) {}

  int64_t height() const { return params_.out.height(); }
  int64_t width() const { return params_.out.width(); }
  int64_t left_key() const { return x_ - params_.window.x_radius(); }
  int64_t needed() const { return needed_; }  // keys of a row
  int64_t warped_size() const { return (needed_ + 2) * channels_; }
  int64_t resized_size() const { return (pixels_ + 2) * channels_; }

  void start(int64_t n, int64_t x) {
    n_ = n;
    x_ = x;
    taps_.clear();
  }

  // The pixels of a row that lie in the image, [first, last).
  struct Span {
    int64_t first, last;
    bool empty() const { return first == last; }
  };
  Span inside(int64_t y, int64_t left, int64_t count) const {
    if (y < 0 || y >= height()) return {count, count};
    const int64_t first = std::clamp<int64_t>(-left, 0, count);
    return {first, std::clamp<int64_t>(width() - left, first, count)};
  }

  void warp(int64_t y, A* to) {
    const Span span = inside(y, left_key() - 1, needed_ + 2);
    clear_around(to, span, needed_ + 2);
    if (span.empty()) return;
    const Map& reference = params_.reference;
    motion_taps(params_.motion, reference, n_, y, left_key() - 1 + span.first, span.last - span.first, taps_);
    sample_row(reference.element, taps_, span.last - span.first, reference.channels(), kRowsAhead * reference.stride[2],
               to + span.first * channels_, channels_);
  }

  void resize(int64_t y, A* to) {
    const Span span = inside(y, x_ - 1, pixels_ + 2);
    clear_around(to, span, pixels_ + 2);
    if (!span.empty()) {
      resize_from(params_.low_res, y, x_ - 1 + span.first, span.last - span.first, to + span.first * channels_,
                  channels_);
    }
  }

  void resize_logits(int64_t y, A* to, int64_t stride) {
    const int64_t count = std::min(pixels_, width() - x_);
    resize_from(params_.low_res_logits, y, x_, count, to, stride);
    const A* bias = static_cast<const A*>(params_.classifier_bias);
    for (int64_t i = 0; i < count; ++i, to += stride) {
      for (int64_t c = 0; c < stride; c += kLanes<A>) store(to + c, load(to + c) + load(bias + c));
    }
  }

  // All pixels but those of the span become 0.
  void clear_around(A* row, const Span& span, int64_t count) const { clear_around(row, span, count, channels_); }
  static void clear_around(A* row, const Span& span, int64_t count, int64_t stride) {
    std::memset(row, 0, span.first * stride * sizeof(A));
    std::memset(row + span.last * stride, 0, (count - span.last) * stride * sizeof(A));
  }

 private:
  void resize_from(const Map& map, int64_t y, int64_t x, int64_t count, A* to, int64_t stride) {
    resize_taps(map, height(), width(), n_, y, x, count, taps_);
    sample_row(map.element, taps_, count, map.channels(), 2 * map.stride[2], to, stride);
  }

  const FusionParams& params_;
  int64_t pixels_, needed_, channels_;
  Taps<A> taps_;
  int64_t n_ = 0, x_ = 0;
};

template <typename Microkernel>
class FusionKvLoader {
 public:
  using A = typename Microkernel::Scalar;
  using Params = FusionParams;

  FusionKvLoader(const FusionParams& params, int64_t pixels, Arena& arena)
      : params_(params),
        rows_(params, pixels, arena),
        pixels_(pixels),
        wide_(round_up(rows_.needed(), Microkernel::kLanes)),
        channels_(params.padded_channels),
        classes_(params.classifier ? round_up(params.out.channels(), kLanes<A>) : 0) {
    warped_ = arena.take_apart<A>(3 * rows_.warped_size(), 0);
    resized_ = arena.take_apart<A>(kResizedRows * rows_.resized_size(), 0);
    if (classes_) {
      unclassified_ = arena.take_apart<A>(wide_ * channels_, 2);
      low_res_logits_ = arena.take<A>(kQueryRows * pixels_ * classes_);
    }
  }

  int64_t wide() const { return wide_; }
  int64_t channels() const { return channels_; }
  int64_t value_channels() const { return classes_ ? classes_ : channels_; }
  int64_t value_stride() const { return spread_pixels<A>(value_channels()); }

  void start(int64_t n, int64_t x, int64_t y_begin, int64_t) {
    rows_.start(n, x);
    next_warped_ = y_begin - params_.window.y_radius() - 1;
    next_resized_ = y_begin - 1;
  }

  bool keys_and_values(int64_t y, A* keys, A* values) {
    for (; next_warped_ <= y + 1; ++next_warped_) rows_.warp(next_warped_, warped(next_warped_));
    const auto span = rows_.inside(y, rows_.left_key(), rows_.needed());
    A* unclassified = classes_ ? unclassified_ : values;
    const int64_t step = classes_ ? channels_ : value_stride();
    rows_.clear_around(keys, span, wide_);
    rows_.clear_around(unclassified, span, wide_, step);
    const Rows3<A> rows{{warped(y - 1), warped(y), warped(y + 1)}, channels_};
    for (int64_t c = 0; c < channels_ && !span.empty(); c += kLanes<A>) {
      const int64_t at = span.first * channels_ + c;
      convolve_both(rows.from(at), Depthwise<A>(params_.key_weights, channels_, c),
                    Depthwise<A>(params_.value_weights, channels_, c), span.last - span.first, keys + at,
                    unclassified + span.first * step + c, step);
    }
    if (classes_) {
      classify(unclassified, rows_.needed(), channels_, static_cast<const A*>(params_.classifier), classes_, values,
               value_stride());
    }
    return true;
  }

  const A* queries(int64_t y, A* scratch) {
    for (; next_resized_ <= y + 1; ++next_resized_) rows_.resize(next_resized_, resized(next_resized_));
    const Rows3<A> rows{{resized(y - 1), resized(y), resized(y + 1)}, channels_};
    for (int64_t c = 0; c < channels_; c += kLanes<A>) {
      convolve(rows.from(c), Depthwise<A>(params_.query_weights, channels_, c), pixels_, scratch + c);
    }
    if (classes_) rows_.resize_logits(y, logit_row(y), classes_);
    return scratch;
  }

  A logit_scale() const { return static_cast<A>(1.4426950408889634); }

  void plan(Fetcher&, int64_t, int, int64_t, int64_t) {}  // where vectors point is known when they are read

  // What is added to the attended values of row y, from a column of the strip on.
  const A* residual(int64_t y, int64_t column) {
    return classes_ ? logit_row(y) + column * classes_ : resized(y) + (column + 1) * channels_;
  }
  int64_t residual_stride() const { return value_channels(); }

 private:
  static constexpr int64_t kResizedRows = kQueryRows + 2;

  // Rows from -8 on: the window's radius is at most 7.
  A* warped(int64_t y) { return warped_ + (y + 9) % 3 * rows_.warped_size(); }
  A* resized(int64_t y) { return resized_ + (y + kResizedRows) % kResizedRows * rows_.resized_size(); }
  A* logit_row(int64_t y) { return low_res_logits_ + y % kQueryRows * pixels_ * classes_; }

  const FusionParams& params_;
  FusionRows<A> rows_;
  int64_t pixels_, wide_, channels_, classes_;
  A *warped_, *resized_, *unclassified_ = nullptr, *low_res_logits_ = nullptr;
  int64_t next_warped_ = 0, next_resized_ = 0;
};

}  // namespace arseg::ARSEG_TARGET
