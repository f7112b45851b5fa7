// Keys, values and queries from maps: local attention on its own.
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename Microkernel>
class MapKvLoader {
 public:
  using A = typename Microkernel::Scalar;
  using Params = MapAttentionParams;

  MapKvLoader(const MapAttentionParams& params, int64_t pixels, Arena& arena)
      : params_(params),
        pixels_(pixels),
        wide_(round_up(pixels + params.window.width - 1, Microkernel::kLanes)),
        channels_(round_up(params.query.channels(), Microkernel::kBlockChannels)),
        value_channels_(round_up(params.value.channels(), Microkernel::kLanes)),
        value_stride_(spread_pixels<typename Microkernel::Unit>(value_channels_)) {
    if (Microkernel::kRowsPerSlot > 1) value_rows_ = arena.take<A>(2 * wide_ * value_channels_);
  }

  int64_t wide() const { return wide_; }  // pixels of a row of keys, with the neighbours on both sides
  int64_t channels() const { return channels_; }
  int64_t value_channels() const { return value_channels_; }
  int64_t value_stride() const { return value_stride_; }  // from a pixel's values to the next one's

  void start(int64_t n, int64_t x, int64_t, int64_t) {
    n_ = n;
    x_ = x;
  }

  // Keys [rows][wide][channels] of the rows of a slot from y on, and their values as the microkernel takes them.
  // Whether all values are finite, where that matters (Microkernel::kRowsPerSlot > 1).
  bool keys_and_values(int64_t y, A* keys, typename Microkernel::Unit* values) {
    const int64_t left = x_ - params_.window.x_radius();
    for (int row = 0; row < Microkernel::kRowsPerSlot; ++row) {
      load_row(params_.key, n_, y + row, left, wide_, keys + row * wide_ * channels_, channels_);
    }
    if constexpr (Microkernel::kRowsPerSlot == 1) {
      load_row(params_.value, n_, y, left, wide_, values, value_stride_);
      return true;
    } else {
      A* second = value_rows_ + wide_ * value_channels_;
      load_row(params_.value, n_, y, left, wide_, value_rows_, value_channels_);
      load_row(params_.value, n_, y + 1, left, wide_, second, value_channels_);
      return pack_rows(value_rows_, second, wide_ * value_channels_, values);
    }
  }

  // [pixels][channels], in `scratch` or elsewhere.
  const A* queries(int64_t y, A* scratch) {
    load_row(params_.query, n_, y, x_, pixels_, scratch, channels_);
    if (params_.scale > 0) return scratch;
    const Vec<A> sign = broadcast(params_.scale < 0 ? A(-1) : A(0));
    for (int64_t i = 0; i < pixels_ * channels_; i += kLanes<A>) store(scratch + i, load(scratch + i) * sign);
    return scratch;
  }

  // What the block of queries below this one, `rows` rows from y on, will want: its queries and their last keys.
  void plan(Fetcher& fetcher, int64_t y, int rows, int64_t column, int64_t pixels) {
    // Beside the strip lie keys too; the first and last block take them along.
    const int64_t left = x_ + column - (column == 0 ? params_.window.x_radius() : 0);
    const int64_t right = x_ + column + pixels + (column + pixels >= pixels_ ? params_.window.x_radius() : 0);
    for (int j = 0; j < rows; ++j) {
      const int64_t key_row = y + j + params_.window.y_radius();
      fetcher.add(params_.query, n_, y + j, x_ + column, pixels);
      fetcher.add(params_.key, n_, key_row, left, right - left);
      fetcher.add(params_.value, n_, key_row, left, right - left);
    }
  }

  // What turns a logit into an exponent of 2, positive: the sign of the scale is in the queries.
  A logit_scale() const {
    const double size = params_.scale == 0 ? 1 : std::abs(params_.scale);
    return static_cast<A>(size * 1.4426950408889634);
  }

  const A* residual(int64_t, int64_t) const { return nullptr; }
  int64_t residual_stride() const { return 0; }

 private:
  const MapAttentionParams& params_;
  int64_t pixels_, wide_, channels_, value_channels_, value_stride_;
  A* value_rows_ = nullptr;
  int64_t n_ = 0, x_ = 0;
};

}  // namespace arseg::ARSEG_TARGET
