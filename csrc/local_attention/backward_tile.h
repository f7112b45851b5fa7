// The backward of local attention over a tile that rolls down as in tile.h. It runs twice. Around each query: the
// weights P again from logsumexp, dP = <grad, value>, delta = sum(P dP), dS = P (dP - delta), d query = sum(dS key).
// Around each key the same products with the roles changed (the window is symmetric: the queries that see a key are
// the pixels of the window around it): d key = sum(dS query), d value = sum(P grad). Every value is gathered by one
// thread in one order: no atomics, and bits that do not depend on the number of threads.
#pragma once

namespace arseg::ARSEG_TARGET {

enum class Around { Query, Key };

template <typename A, Around around>
class BackwardTile {
 public:
  using Microkernel = PlainMicrokernel<A>;

  BackwardTile(const AttentionBackwardParams& params, int64_t pixels, Arena& arena)
      : params_(params),
        pixels_(pixels),
        height_(static_cast<int>(params.window.height)),
        width_(static_cast<int>(params.window.width)),
        keys_(height_ * width_),
        ring_(kQueryRows + height_ - 1),
        wide_(round_up(pixels + width_ - 1, kLanes)),
        first_(around == Around::Query ? params.query : params.key,
               around == Around::Query ? params.key : params.query),
        second_(around == Around::Query ? params.grad : params.value,
                around == Around::Query ? params.value : params.grad) {
    for (Pair* pair : {&first_, &second_}) {
      const int64_t channels = pair->channels;
      pair->transposed = arena.take<A>(ring_ * channels * wide_);
      if (pair == &first_ || around == Around::Key) pair->rows = arena.take<A>(ring_ * channels * wide_);
      pair->centres = arena.take<A>(kQueryRows * channels * pixels_);
    }
    staged_ = arena.take<A>(wide_ * std::max(first_.channels, second_.channels));
    weights_ = arena.take<A>(kQueryRows * keys_ * kLanes);
    ds_ = arena.take<A>(kQueryRows * keys_ * kLanes);
    logsumexp_ = arena.take<A>(ring_ * wide_);
    delta_ = arena.take<A>(ring_ * wide_);
    block_ = arena.take<A>(kLanes * std::max(first_.channels, second_.channels));
  }

  void run(const Tile& tile) {
    tile_ = tile;
    const int64_t radius = params_.window.y_radius();
    int64_t next = tile.y_begin - radius;
    for (int64_t y = tile.y_begin; y < tile.y_end; y += kQueryRows) {
      const int rows = static_cast<int>(std::min<int64_t>(kQueryRows, tile.y_end - y));
      for (; next < y + rows + radius; ++next) add_neighbours(next);
      for (int j = 0; j < rows; ++j) {
        put_centre(first_, y + j, j, static_cast<A>(params_.scale * kLog2e));
        put_centre(second_, y + j, j, A(1));
      }
      for (int64_t column = 0; column < pixels_ && tile.x + column < width(); column += kLanes) {
        products(first_, y, rows, column, weights_);
        products(second_, y, rows, column, ds_);
        for (int j = 0; j < rows; ++j) finish(y + j, j, column);
      }
    }
  }

 private:
  static constexpr int kSumPixels = kPixelsOfSum<Microkernel>;
  static constexpr int kLanes = ARSEG_TARGET::kLanes<A>;
  static constexpr double kLog2e = 1.4426950408889634;

  // A map at the centres of the windows, and the one around them that it is multiplied with.
  struct Pair {
    Pair(const Map& centre, const Map& neighbour)
        : centre(centre), neighbour(neighbour), channels(round_up(centre.channels(), kLanes)) {}
    const Map& centre;
    const Map& neighbour;
    int64_t channels;
    A *transposed = nullptr, *rows = nullptr;  // rings of neighbours: [channel][x] and [x][channel]
    A* centres = nullptr;                      // [row][block of kLanes x][channel][kLanes]
  };

  int64_t width() const { return params_.query.width(); }
  int64_t height() const { return params_.query.height(); }
  int64_t slot(int64_t y) const { return (y - tile_.y_begin + params_.window.y_radius()) % ring_; }

  void add_neighbours(int64_t y) {
    const int64_t left = tile_.x - params_.window.x_radius();
    for (Pair* pair : {&first_, &second_}) {
      A* row = pair->rows ? pair->rows + slot(y) * wide_ * pair->channels : staged_;
      load_row(pair->neighbour, tile_.n, y, left, wide_, row, pair->channels);
      put_transposed(row, pair->channels, wide_, pair->transposed + slot(y) * pair->channels * wide_, 1, wide_);
    }
    if constexpr (around == Around::Key) {
      // A query outside the image takes nothing: 2^-inf is 0.
      load_scalars(params_.logsumexp, y, left, static_cast<A>(kLog2e), std::numeric_limits<A>::infinity(),
                   logsumexp_ + slot(y) * wide_);
      load_scalars(params_.delta, y, left, A(1), A(0), delta_ + slot(y) * wide_);
    }
  }

  void put_centre(Pair& pair, int64_t y, int j, A scale) {
    load_row(pair.centre, tile_.n, y, tile_.x, pixels_, staged_, pair.channels);
    if (scale != A(1)) {
      for (int64_t i = 0; i < pixels_ * pair.channels; i += kLanes) {
        store(staged_ + i, load(staged_ + i) * broadcast(scale));
      }
    }
    put_transposed(staged_, pair.channels, pixels_, pair.centres + j * pair.channels * pixels_, pair.channels, kLanes);
  }

  // row [pixels][channels] -> channel c of pixel x at to[x * pixel_step + c * channel_step], kLanes pixels side by
  // side.
  void put_transposed(const A* row, int64_t channels, int64_t pixels, A* to, int64_t pixel_step, int64_t channel_step) {
    for (int64_t x = 0; x < pixels; x += kLanes, to += kLanes * pixel_step) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        Microkernel::put_block(row + x * channels + c, channels, to + c * channel_step, channel_step);
      }
    }
  }

  void load_scalars(const Map& map, int64_t y, int64_t x, A scale, A outside, A* to) {
    for (int64_t i = 0; i < wide_; ++i) {
      const bool inside = y >= 0 && y < height() && x + i >= 0 && x + i < width();
      to[i] = inside ? *map.at<const A>(tile_.n, 0, y, x + i) * scale : outside;
    }
  }

  void products(const Pair& pair, int64_t y, int rows, int64_t column, A* to) {
    for (int t = 0; t < rows + height_ - 1; ++t) {
      const int top = std::max(0, t - height_ + 1), bottom = std::min(rows - 1, t);
      logits_of_window_row<Microkernel>(
          width_, bottom - top + 1,
          pair.transposed + slot(y - params_.window.y_radius() + t) * pair.channels * wide_ + column, wide_,
          pair.centres + (top * pixels_ + column) * pair.channels, pair.channels * pixels_, kLanes, pair.channels,
          to + (top * keys_ + (t - top) * width_) * kLanes, (keys_ - width_) * kLanes);
    }
  }

  void finish(int64_t y, int j, int64_t column) {
    A* weights = weights_ + j * keys_ * kLanes;
    A* ds = ds_ + j * keys_ * kLanes;
    const int64_t count = std::min<int64_t>(kLanes, width() - tile_.x - column);
    if constexpr (around == Around::Query) {
      ds_of_query(weights, ds, y, column, count);
      sum(first_, ds, static_cast<A>(params_.scale), params_.grad_query, y, column, count);
    } else {
      ds_of_key(weights, ds, y, column);
      sum(first_, ds, static_cast<A>(params_.scale), params_.grad_key, y, column, count);
      sum(second_, weights, A(1), params_.grad_value, y, column, count);
    }
  }

  // weights: logits -> P; ds: dP -> dS; delta is kept for the second run.
  void ds_of_query(A* weights, A* ds, int64_t y, int64_t column, int64_t count) {
    A log_total[kLanes] = {}, delta[kLanes];
    for (int64_t i = 0; i < count; ++i) {
      log_total[i] =
          *params_.logsumexp.template at<const A>(tile_.n, 0, y, tile_.x + column + i) * static_cast<A>(kLog2e);
    }
    Vec<A> total{}, sum_of_weights{};
    for (int k = 0; k < keys_; ++k) {
      // A key outside has logit 0, which may be far above all others where it is masked; its dP and key are 0, so any
      // finite weight will do. NaN is not above 0: it stays.
      const Vec<A> exponent = load(weights + k * kLanes) - load(log_total);
      const Vec<A> weight = exp2_nonpositive<A>(exponent > Vec<A>{} ? Vec<A>{} : exponent);
      store(weights + k * kLanes, weight);
      sum_of_weights = sum_of_weights + weight;
      total = weight * load(ds + k * kLanes) + total;
    }
    // logsumexp is rounded to an ulp of its own size, so that the weights sum to 1 + e; with large logits e is as large
    // as the ds of a saturated softmax, unless delta is the mean by the weights as they are. (Those of masked keys
    // have no meaning; a choice by place would depend on the tiles.)
    if (params_.outside == Outside::Zero) total = total / sum_of_weights;
    for (int k = 0; k < keys_; ++k) {
      store(ds + k * kLanes, load(weights + k * kLanes) * (load(ds + k * kLanes) - total));
    }
    store(delta, total);
    for (int64_t i = 0; i < count; ++i) *params_.delta.template at<A>(tile_.n, 0, y, tile_.x + column + i) = delta[i];
  }

  void ds_of_key(A* weights, A* ds, int64_t y, int64_t column) {
    for (int dy = 0; dy < height_; ++dy) {
      const int64_t row = slot(y - params_.window.y_radius() + dy) * wide_ + column;
      for (int dx = 0; dx < width_; ++dx) {
        const int64_t k = (dy * width_ + dx) * kLanes;
        const Vec<A> weight = exp2_nonpositive<A>(load(weights + k) - load(logsumexp_ + row + dx));
        store(weights + k, weight);
        store(ds + k, weight * (load(ds + k) - load(delta_ + row + dx)));
      }
    }
  }

  void sum(const Pair& pair, const A* weights, A scale, const Map& out, int64_t y, int64_t column, int64_t count) {
    A factor[kLanes];
    store(factor, broadcast(scale));
    for (int64_t p = 0; p < count; p += kSumPixels) {
      const A* rows[16];
      for (int dy = 0; dy < height_; ++dy) {
        rows[dy] = pair.rows + (slot(y - params_.window.y_radius() + dy) * wide_ + column + p) * pair.channels;
      }
      const SumTarget<A, A> target{factor + p, nullptr, 0, block_ + p * pair.channels, pair.channels, false};
      weighted_sum_of_window<Microkernel>(width_, rows, height_, pair.channels, pair.channels, weights + p, target);
    }
    store_row(out, tile_.n, y, tile_.x + column, count, block_, pair.channels);
  }

  const AttentionBackwardParams& params_;
  int64_t pixels_;
  int height_, width_, keys_;
  int64_t ring_, wide_;
  Pair first_, second_;
  A *staged_, *weights_, *ds_, *logsumexp_, *delta_, *block_;
  Tile tile_{};
};

}  // namespace arseg::ARSEG_TARGET
