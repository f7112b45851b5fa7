// kv_loader.h for pairs of bfloat16: two rows of a map lie in the halves of 32-bit words, and one instruction
// multiplies and adds both. A 3x3 convolution of two rows takes two pairs of rows above each other:
//
//   pair 0: rows y - 1, y        the upper result takes taps (0, 1) of pair 0 and (2, -) of pair 1,
//   pair 1: rows y + 1, y + 2    the lower one (-, 0) of pair 0 and (1, 2) of pair 1.
#pragma once

#if ARSEG_BFLOAT16
namespace arseg::ARSEG_TARGET {

// Weights of a depthwise convolution for one vector of channels, as pairs: [result][pair of rows][tap in x].
struct PairedDepthwise {
  WordBits tap[2][2][3];
  Vec<float> bias;

  ARSEG_INLINE PairedDepthwise(const void* weights, int64_t channels, int64_t c) {
    const Depthwise<float> plain(weights, channels, c);
    const Vec<float> none{};
#pragma GCC unroll 3
    for (int x = 0; x < 3; ++x) {
      const Vec<float> top = plain.tap[x], middle = plain.tap[3 + x], bottom = plain.tap[6 + x];
      tap[0][0][x] = pairs_of(top, middle);
      tap[0][1][x] = pairs_of(bottom, none);
      tap[1][0][x] = pairs_of(none, top);
      tap[1][1][x] = pairs_of(middle, bottom);
    }
    bias = plain.bias;
  }
};

// Two pairs of rows, at the pixel to the left.
struct PairRows {
  const uint32_t* row[2];
  int64_t step;

  PairRows from(int64_t offset) const { return {{row[0] + offset, row[1] + offset}, step}; }
  ARSEG_INLINE void next() {
    row[0] += step;
    row[1] += step;
  }
};

// Both results at one pixel. `careful` leaves out the rows that have no weight, where 0 times Inf would be NaN.
template <bool careful>
ARSEG_INLINE void convolve_pair(const PairRows& rows, const PairedDepthwise& weights, Vec<float>& upper,
                                Vec<float>& lower) {
  upper = lower = weights.bias;
#pragma GCC unroll 3
  for (int x = 0; x < 3; ++x) {
    WordBits above = load(rows.row[0] + x * rows.step), below = load(rows.row[1] + x * rows.step);
    keep_in_register(above);
    keep_in_register(below);
    upper = Bf16Microkernel::multiply_add(above, weights.tap[0][0][x], upper);
    lower = Bf16Microkernel::multiply_add(careful ? above & 0xffff0000u : above, weights.tap[1][0][x], lower);
    upper = Bf16Microkernel::multiply_add(careful ? below & 0xffffu : below, weights.tap[0][1][x], upper);
    lower = Bf16Microkernel::multiply_add(below, weights.tap[1][1][x], lower);
  }
}

template <bool careful>
ARSEG_NOINLINE void convolve_queries(PairRows rows, const PairedDepthwise& weights, int64_t count, float* upper,
                                     float* lower) {
  const PairedDepthwise own = weights;
  for (int64_t i = 0; i < count; ++i, rows.next(), upper += rows.step, lower += rows.step) {
    Vec<float> a, b;
    convolve_pair<careful>(rows, own, a, b);
    store(upper, a);
    store(lower, b);
  }
}

// Keys of two rows, and their values as pairs; `low` and `high` are 0 for a row outside the image, all bits else.
struct PairTargets {
  float *upper_key, *lower_key;
  uint32_t* values;
  uint32_t low, high;
};

template <bool careful>
ARSEG_NOINLINE void convolve_keys_and_values(PairRows rows, const PairedDepthwise& key, const PairedDepthwise& value,
                                             int64_t count, PairTargets to) {
  const PairedDepthwise own_key = key, own_value = value;
  const WordBits low = WordBits{} + to.low, high = WordBits{} + to.high, both = (low & 0xffffu) | (high << 16);
  for (int64_t i = 0; i < count; ++i, rows.next()) {
    Vec<float> a, b;
    convolve_pair<careful>(rows, own_key, a, b);
    store(to.upper_key, bit_cast<Vec<float>>(bit_cast<WordBits>(a) & low));
    store(to.lower_key, bit_cast<Vec<float>>(bit_cast<WordBits>(b) & high));
    convolve_pair<careful>(rows, own_value, a, b);
    store(to.values, pairs_of(a, b) & both);
    to.upper_key += rows.step;
    to.lower_key += rows.step;
    to.values += rows.step;
  }
}

// Values of a map below 2^40 and weights below 2^16 keep every sum of the fusion finite, whatever the channels: the
// fast loops, which multiply rows that have no weight with 0, may then be used. Others take the careful ones.
constexpr float kMapFactor = 0x1p88f, kWeightFactor = 0x1p112f;

// Whether all of `count` weights (a multiple of a vector) are so small.
inline bool are_small(const void* weights, int64_t count) {
  const float* from = static_cast<const float*>(weights);
  Vec<float> check{};
  for (int64_t i = 0; i < count; i += kLanes<float>) {
    check = load(from + i) * broadcast(kWeightFactor) * Vec<float>{} + check;
  }
  bool small = true;
  for (int i = 0; i < kLanes<float>; ++i) small = small && check[i] == 0;
  return small;
}

template <>
class FusionKvLoader<Bf16Microkernel> {
 public:
  using A = float;
  using Params = FusionParams;

  FusionKvLoader(const FusionParams& params, int64_t pixels, Arena& arena)
      : params_(params),
        rows_(params, pixels, arena),
        pixels_(pixels),
        wide_(round_up(rows_.needed(), Bf16Microkernel::kLanes)),
        channels_(params.padded_channels),
        classes_(params.classifier ? round_up(params.out.channels(), kLanes<float>) : 0) {
    staged_ = arena.take_apart<float>(2 * rows_.warped_size(), 2);
    warped_ = arena.take_apart<uint32_t>(2 * rows_.warped_size(), 0);
    resized_ = arena.take_apart<float>(kResizedRows * rows_.resized_size(), 0);
    resized_pairs_ = arena.take_apart<uint32_t>(2 * rows_.resized_size(), 0);
    queries_ = arena.take_apart<float>(2 * pixels_ * channels_, 1);
    if (classes_) {
      unclassified_ = arena.take<uint32_t>(wide_ * channels_);
      unpacked_ = arena.take<float>(wide_ * channels_);
      logits_ = arena.take<float>(2 * wide_ * classes_);
      low_res_logits_ = arena.take<float>(kQueryRows * pixels_ * classes_);
    }
    for (const void* weights : {params.query_weights, params.key_weights, params.value_weights}) {
      small_weights_ = small_weights_ && (!weights || are_small(weights, 10 * channels_));
    }
    small_weights_ = small_weights_ && (!classes_ || are_small(params.classifier, channels_ * classes_));
  }

  int64_t wide() const { return wide_; }
  int64_t channels() const { return channels_; }
  int64_t value_channels() const { return classes_ ? classes_ : channels_; }
  int64_t value_stride() const { return value_channels(); }

  void start(int64_t n, int64_t x, int64_t y_begin, int64_t) {
    rows_.start(n, x);
    first_key_ = y_begin - params_.window.y_radius();
    first_query_ = y_begin;
    packed_keys_ = packed_queries_ = 0;
    made_queries_ = -1;
    small_ = small_weights_;
  }

  // Keys [2][wide][channels] and values of rows y and y + 1, y - first_key_ even. Whether all values are finite for
  // sure.
  bool keys_and_values(int64_t y, float* keys, uint32_t* values) {
    const int64_t pair = (y - first_key_) / 2;
    for (; packed_keys_ <= pair + 1; ++packed_keys_) {
      const int64_t row = first_key_ - 1 + 2 * packed_keys_;
      rows_.warp(row, staged_);
      rows_.warp(row + 1, staged_ + rows_.warped_size());
      small_ &=
          pack_rows(staged_, staged_ + rows_.warped_size(), rows_.warped_size(), warped(packed_keys_), kMapFactor);
    }
    const auto upper = rows_.inside(y, rows_.left_key(), rows_.needed());
    const auto lower = rows_.inside(y + 1, rows_.left_key(), rows_.needed());
    const auto span = upper.empty() ? lower : upper;
    uint32_t* targets = classes_ ? unclassified_ : values;
    for (float* row : {keys, keys + wide_ * channels_, reinterpret_cast<float*>(targets)}) {
      rows_.clear_around(row, span, wide_);
    }
    const PairRows rows{{warped(pair), warped(pair + 1)}, channels_};
    for (int64_t c = 0; c < channels_ && !span.empty(); c += kLanes<float>) {
      const int64_t at = span.first * channels_ + c;
      const PairedDepthwise key(params_.key_weights, channels_, c), value(params_.value_weights, channels_, c);
      const PairTargets to{keys + at, keys + wide_ * channels_ + at, targets + at, upper.empty() ? 0 : ~0u,
                           lower.empty() ? 0 : ~0u};
      const int64_t count = span.last - span.first;
      if (small_) {
        convolve_keys_and_values<false>(rows.from(at), key, value, count, to);
      } else {
        convolve_keys_and_values<true>(rows.from(at), key, value, count, to);
      }
    }
    if (classes_) classify_pairs(values);
    return small_;
  }

  const float* queries(int64_t y, float*) {
    const int64_t pair = (y - first_query_) / 2;
    for (; packed_queries_ <= pair + 1; ++packed_queries_) {
      const int64_t row = first_query_ - 1 + 2 * packed_queries_;
      rows_.resize(row, resized(row));
      rows_.resize(row + 1, resized(row + 1));
      small_ &=
          pack_rows(resized(row), resized(row + 1), rows_.resized_size(), resized_pair(packed_queries_), kMapFactor);
    }
    if (made_queries_ < pair) {
      made_queries_ = pair;
      const PairRows rows{{resized_pair(pair), resized_pair(pair + 1)}, channels_};
      for (int64_t c = 0; c < channels_; c += kLanes<float>) {
        const PairedDepthwise weights(params_.query_weights, channels_, c);
        float *upper = queries_ + c, *lower = upper + pixels_ * channels_;
        if (small_) {
          convolve_queries<false>(rows.from(c), weights, pixels_, upper, lower);
        } else {
          convolve_queries<true>(rows.from(c), weights, pixels_, upper, lower);
        }
      }
    }
    if (classes_) rows_.resize_logits(y, logit_row(y), classes_);
    return queries_ + (y - first_query_) % 2 * pixels_ * channels_;
  }

  float logit_scale() const { return 1.44269504f; }

  void plan(Fetcher&, int64_t, int, int64_t, int64_t) {}

  const float* residual(int64_t y, int64_t column) {
    return classes_ ? logit_row(y) + column * classes_ : resized(y) + (column + 1) * channels_;
  }
  int64_t residual_stride() const { return value_channels(); }

 private:
  // The rows of a block, the one above, and up to two that the last pair needs ahead.
  static constexpr int64_t kResizedRows = kQueryRows + 4;

  uint32_t* warped(int64_t pair) { return warped_ + pair % 2 * rows_.warped_size(); }
  uint32_t* resized_pair(int64_t pair) { return resized_pairs_ + pair % 2 * rows_.resized_size(); }
  float* resized(int64_t y) { return resized_ + (y + kResizedRows) % kResizedRows * rows_.resized_size(); }
  float* logit_row(int64_t y) { return low_res_logits_ + y % kQueryRows * pixels_ * classes_; }

  void classify_pairs(uint32_t* values) {
    const float* classifier = static_cast<const float*>(params_.classifier);
    for (int half = 0; half < 2; ++half) {
      for (int64_t i = 0; i < wide_ * channels_; i += kLanes<float>) {
        const WordBits pairs = load(unclassified_ + i);
        store(unpacked_ + i, half ? high_of(pairs) : low_of(pairs));
      }
      classify(unpacked_, wide_, channels_, classifier, classes_, logits_ + half * wide_ * classes_, classes_);
    }
    pack_rows(logits_, logits_ + wide_ * classes_, wide_ * classes_, values);
  }

  const FusionParams& params_;
  FusionRows<float> rows_;
  int64_t pixels_, wide_, channels_, classes_;
  float *staged_, *resized_, *queries_, *unpacked_ = nullptr, *logits_ = nullptr, *low_res_logits_ = nullptr;
  uint32_t *warped_, *resized_pairs_, *unclassified_ = nullptr;
  int64_t first_key_ = 0, first_query_ = 0;
  int64_t packed_keys_ = 0, packed_queries_ = 0, made_queries_ = -1;
  bool small_weights_ = true, small_ = true;
};

}  // namespace arseg::ARSEG_TARGET
#endif
