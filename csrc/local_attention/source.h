// Keys, values and queries from maps: local attention on its own.
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename Engine>
class MapSource {
 public:
  using A = typename Engine::Scalar;
  using Task = MapAttentionTask;

  MapSource(const MapAttentionTask& task, int64_t pixels, Arena& arena)
      : task_(task),
        pixels_(pixels),
        wide_(round_up(pixels + task.window.width - 1, Engine::kLanes)),
        channels_(round_up(task.query.channels(), Engine::kBlockChannels)),
        value_channels_(round_up(task.value.channels(), Engine::kLanes)) {
    if (Engine::kRowsPerSlot > 1) value_rows_ = arena.take<A>(2 * wide_ * value_channels_);
  }

  int64_t wide() const { return wide_; }  // pixels of a row of keys, with the neighbours on both sides
  int64_t channels() const { return channels_; }
  int64_t value_channels() const { return value_channels_; }

  void start(int64_t n, int64_t x, int64_t, int64_t) {
    n_ = n;
    x_ = x;
  }

  // Keys [rows][wide][channels] of the rows of a slot from y on, and their values as the engine takes them. Whether
  // all values are finite, where that matters (Engine::kRowsPerSlot > 1).
  bool keys_and_values(int64_t y, A* keys, typename Engine::Unit* values) {
    const int64_t left = x_ - task_.window.x_radius();
    for (int row = 0; row < Engine::kRowsPerSlot; ++row) {
      load_row(task_.key, n_, y + row, left, wide_, keys + row * wide_ * channels_, channels_);
    }
    if constexpr (Engine::kRowsPerSlot == 1) {
      load_row(task_.value, n_, y, left, wide_, values, value_channels_);
      return true;
    } else {
      A* second = value_rows_ + wide_ * value_channels_;
      load_row(task_.value, n_, y, left, wide_, value_rows_, value_channels_);
      load_row(task_.value, n_, y + 1, left, wide_, second, value_channels_);
      return pack_rows(value_rows_, second, wide_ * value_channels_, values);
    }
  }

  // [pixels][channels], in `scratch` or elsewhere.
  const A* queries(int64_t y, A* scratch) {
    load_row(task_.query, n_, y, x_, pixels_, scratch, channels_);
    if (task_.scale > 0) return scratch;
    const Vec<A> sign = broadcast(task_.scale < 0 ? A(-1) : A(0));
    for (int64_t i = 0; i < pixels_ * channels_; i += kLanes<A>) store(scratch + i, load(scratch + i) * sign);
    return scratch;
  }

  // What the block of queries below this one, `rows` rows from y on, will want: its queries and their last keys.
  void plan(Fetcher& fetcher, int64_t y, int rows, int64_t column, int64_t pixels) {
    // Beside the strip lie keys too; the first and last block take them along.
    const int64_t left = x_ + column - (column == 0 ? task_.window.x_radius() : 0);
    const int64_t right = x_ + column + pixels + (column + pixels >= pixels_ ? task_.window.x_radius() : 0);
    for (int j = 0; j < rows; ++j) {
      const int64_t key_row = y + j + task_.window.y_radius();
      fetcher.add(task_.query, n_, y + j, x_ + column, pixels);
      fetcher.add(task_.key, n_, key_row, left, right - left);
      fetcher.add(task_.value, n_, key_row, left, right - left);
    }
  }

  // What turns a logit into an exponent of 2, positive: the sign of the scale is in the queries.
  A logit_scale() const {
    const double size = task_.scale == 0 ? 1 : std::abs(task_.scale);
    return static_cast<A>(size * 1.4426950408889634);
  }

  const A* residual(int64_t, int64_t) const { return nullptr; }
  int64_t residual_stride() const { return 0; }

 private:
  const MapAttentionTask& task_;
  int64_t pixels_, wide_, channels_, value_channels_;
  A* value_rows_ = nullptr;
  int64_t n_ = 0, x_ = 0;
};

}  // namespace arseg::ARSEG_TARGET
