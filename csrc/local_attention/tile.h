// Attention over one tile: a strip of columns that rolls down a band of rows. The last rows of keys and values stay
// in two rings, so each is made once a strip; `Loader` makes them (from maps, or from the warped keyframe), and the
// queries. The scratch of a tile stays in the second-level cache.
#pragma once

namespace arseg::ARSEG_TARGET {

// Puts the block's `width` pixels in place: [kLanes][stride] -> row y from column x on.
template <typename A>
void finish_features(const AttentionParams& params, int64_t n, int64_t y, int64_t x, int64_t width, const A* block,
                     int64_t stride) {
  store_row(params.out, n, y, x, width, block, stride);
}

template <typename A>
void finish_labels(const AttentionParams& params, int64_t n, int64_t y, int64_t x, int64_t width, const A* block,
                   int64_t stride) {
  choose_classes(block, stride, params.out.channels(), width,
                 params.labels + (n * params.out.height() + y) * params.out.width() + x);
}

template <typename Microkernel, typename Loader>
class AttentionTile {
 public:
  using A = typename Microkernel::Scalar;
  using Unit = typename Microkernel::Unit;

  // Takes its scratch from `arena`; with an arena that only measures, nothing may be run.
  AttentionTile(const typename Loader::Params& params, int64_t pixels, Arena& arena)
      : params_(params),
        loader_(params, pixels, arena),
        pixels_(pixels),
        height_(static_cast<int>(params.window.height)),
        width_(static_cast<int>(params.window.width)),
        keys_(height_ * width_),
        slots_(Microkernel::slots(kQueryRows + height_ - 1)),
        ring_(slots_ * Microkernel::kRowsPerSlot),
        wide_(loader_.wide()),
        channels_(loader_.channels()),
        units_(channels_ / Microkernel::kPerUnit),
        value_channels_(loader_.value_channels()),
        value_stride_(loader_.value_stride()),
        value_row_(spread(wide_ * value_stride_)) {
    key_ring_ = arena.take<Unit>(ring_ * units_ * wide_);
    value_ring_ = arena.take_apart<Unit>(slots_ * value_row_, 3);
    queries_ = arena.take<Unit>(kQueryRows * units_ * pixels_);
    staged_ = arena.take_apart<A>(Microkernel::kRowsPerSlot * wide_ * channels_, 1);
    logits_ = arena.take<A>(kQueryRows * keys_ * kLanes);
    if (Microkernel::kRowsPerSlot > 1) {
      packed_ = arena.take<Unit>(kQueryRows * packed_row());
      edges_ = arena.take<Unit>(2 * (width_ + kSumPixels) * value_channels_);
    }
    factor_ = arena.take<A>(kQueryRows * kLanes);
    block_ = arena.take<A>(kQueryRows * kLanes * value_channels_);
  }

  void run(int64_t n, int64_t x, int64_t y_begin, int64_t y_end) {
    n_ = n;
    x_ = x;
    y_begin_ = y_begin;
    suspect_ = false;
    loader_.start(n, x, y_begin, y_end);
    const int64_t radius = params_.window.y_radius();
    int64_t next = y_begin - radius;
    for (int64_t y = y_begin; y < y_end; y += kQueryRows) {
      const int rows = static_cast<int>(std::min<int64_t>(kQueryRows, y_end - y));
      for (; next < y + rows + radius; next += Microkernel::kRowsPerSlot) add_keys_and_values(next);
      for (int j = 0; j < rows; ++j) {
        put_transposed(loader_.queries(y + j, staged_), pixels_, queries_ + j * units_ * pixels_, units_, kLanes);
      }
      for (int64_t column = 0; column < pixels_ && x + column < params_.out.width(); column += kLanes) {
        attend(y, rows, column);
      }
    }
  }

 private:
  static constexpr int kSumPixels = kPixelsOfSum<Microkernel>;
  static constexpr int kLanes = Microkernel::kLanes;

  // Rows of values at distances that are no multiple of a page: the rows of a window would share the few places that
  // the first-level cache has for their addresses.
  static constexpr int64_t spread(int64_t units) {
    return (round_up(units * static_cast<int64_t>(sizeof(Unit)), 4096) + 512) / static_cast<int64_t>(sizeof(Unit));
  }

  int64_t ring_row(int64_t y) const { return y - (y_begin_ - params_.window.y_radius()); }  // 0 for the first
  Unit* keys(int64_t ring_row) { return key_ring_ + ring_row % ring_ * units_ * wide_; }
  Unit* values(int64_t ring_row) { return value_ring_ + ring_row / Microkernel::kRowsPerSlot % slots_ * value_row_; }

  // row [pixels][channels_] -> unit u of pixel x at to[x * pixel_step + u * unit_step], kLanes pixels side by side.
  void put_transposed(const A* row, int64_t pixels, Unit* to, int64_t pixel_step, int64_t unit_step) {
    for (int64_t x = 0; x < pixels; x += kLanes, to += kLanes * pixel_step) {
      for (int64_t c = 0; c < channels_; c += Microkernel::kBlockChannels) {
        Microkernel::put_block(row + x * channels_ + c, channels_, to + c / Microkernel::kPerUnit * unit_step,
                               unit_step);
      }
    }
  }

  // The rows of one slot, from y on.
  void add_keys_and_values(int64_t y) {
    const int64_t row = ring_row(y);
    const bool finite = loader_.keys_and_values(y, staged_, values(row));
    suspect_ = suspect_ || !finite;
    for (int i = 0; i < Microkernel::kRowsPerSlot; ++i) {
      put_transposed(staged_ + i * wide_ * channels_, wide_, keys(row + i), 1, wide_);
    }
  }

  // `rows` rows of queries from y on, kLanes pixels from `column` of the strip on.
  void attend(int64_t y, int rows, int64_t column) {
    const int64_t first = y - y_begin_;  // ring row of the topmost key of row y
    const int64_t calls = (kQueryRows + height_ - 1) * offset_groups(width_) +
                          kLanes / kSumPixels * kQueryRows * ceil_div(value_channels_, kSumVectors * kLanes);
    fetcher_.clear();
    loader_.plan(fetcher_, y + kQueryRows, kQueryRows, column, kLanes);
    fetcher_.divide(calls);  // a few lines at a time: those of the rings need their places, too
    for (int t = 0; t < rows + height_ - 1; ++t) {
      const int top = std::max(0, t - height_ + 1), bottom = std::min(rows - 1, t);  // queries that see this key row
      logits_of_window_row<Microkernel>(width_, bottom - top + 1, keys(first + t) + column, wide_,
                                        queries_ + (top * pixels_ + column) * units_, units_ * pixels_, kLanes, units_,
                                        logits_ + (top * keys_ + (t - top) * width_) * kLanes,
                                        (keys_ - width_) * kLanes, &fetcher_);
    }
    const int64_t x = x_ + column;
    const int64_t width = std::min<int64_t>(kLanes, params_.out.width() - x);
    for (int j = 0; j < rows; ++j) {
      A* logits = logits_ + j * keys_ * kLanes;
      if (params_.outside == Outside::Masked) mask_outside(logits, y + j, x);
      const SoftmaxSums<A> sums = exponentials(logits, keys_, loader_.logit_scale());
      if (params_.logsumexp) store_logsumexp(sums, y + j, x, width);
      store(factor_ + j * kLanes, broadcast(A(1)) / sums.row_sum);
      pack_weights<Microkernel>(logits, height_, width_, skipped(y + j), packed_ + j * packed_row());
    }
    // All rows of a few pixels, while their values are in the first-level cache.
    for (int64_t p = 0; p < width; p += kSumPixels) {
      for (int j = 0; j < rows; ++j) sum_values(y + j, j, column, p, width);
    }
    if (params_.direct) return;
    for (int j = 0; j < rows; ++j) {
      const A* block = block_ + j * kLanes * value_channels_;
      if (params_.labels) {
        finish_labels(params_, n_, y + j, x, width, block, value_channels_);
      } else {
        finish_features(params_, n_, y + j, x, width, block, value_channels_);
      }
    }
  }

  void store_logsumexp(const SoftmaxSums<A>& sums, int64_t y, int64_t x, int64_t width) {
    A* to = static_cast<A*>(params_.logsumexp) + (n_ * params_.out.height() + y) * params_.out.width() + x;
    for (int64_t i = 0; i < width; ++i) {
      to[i] = sums.row_max[i] * static_cast<A>(0.69314718055994530942) + std::log(sums.row_sum[i]);
    }
  }

  void mask_outside(A* logits, int64_t y, int64_t x) {
    const int64_t y_radius = params_.window.y_radius(), x_radius = params_.window.x_radius();
    const int64_t height = params_.out.height(), image_width = params_.out.width();
    if (y >= y_radius && y + y_radius < height && x >= x_radius && x + kLanes + x_radius <= image_width) return;
    for (int k = 0; k < keys_; ++k) {
      const int64_t key_y = y + k / width_ - y_radius;
      for (int i = 0; i < kLanes; ++i) {
        const int64_t key_x = x + i + k % width_ - x_radius;
        if (key_y < 0 || key_y >= height || key_x < 0 || key_x >= image_width) {
          logits[k * kLanes + i] = -std::numeric_limits<A>::infinity();
        }
      }
    }
  }

  // Rows of the first slot of the window of row y that lie before it.
  int skipped(int64_t y) const { return static_cast<int>((y - y_begin_) % Microkernel::kRowsPerSlot); }
  int64_t packed_row() const {
    return Microkernel::kRowsPerSlot > 1 ? Microkernel::slots(height_ + 1) * width_ * kLanes : 0;
  }

  // The weighted sums of kSumPixels pixels of row y (row j of the block), from pixel p of the block on.
  void sum_values(int64_t y, int j, int64_t column, int64_t p, int64_t width) {
    const int before = skipped(y);
    const int slots = (height_ + before + Microkernel::kRowsPerSlot - 1) / Microkernel::kRowsPerSlot;
    const Unit* weights = packed_ + j * packed_row();
    if constexpr (Microkernel::kRowsPerSlot == 1) weights = logits_ + j * keys_ * kLanes;
    const Unit* rows[16];
    for (int s = 0; s < slots; ++s) {
      rows[s] = values(y - y_begin_ - before + s * Microkernel::kRowsPerSlot) + (column + p) * value_stride_;
    }
    if (suspect_) leave_out_rows_beside(slots, before, rows);

    const A* add = loader_.residual(y, column);
    if (add) add += p * loader_.residual_stride();
    const A* factor = factor_ + j * kLanes + p;
    if (params_.direct && p + kSumPixels <= width) {
      using Stored = typename Microkernel::Stored;
      const SumTarget<A, Stored> target{factor,
                                        add,
                                        loader_.residual_stride(),
                                        params_.out.template at<Stored>(n_, 0, y, x_ + column + p),
                                        params_.out.stride[3],
                                        params_.streaming,
                                        &fetcher_};
      weighted_sum_of_window<Microkernel>(width_, rows, slots, value_stride_, value_channels_, weights + p, target);
    } else {
      A* block = block_ + (j * kLanes + p) * value_channels_;
      const SumTarget<A, A> target{factor, add, loader_.residual_stride(), block, value_channels_, false, &fetcher_};
      weighted_sum_of_window<Microkernel>(width_, rows, slots, value_stride_, value_channels_, weights + p, target);
      if (params_.direct) finish_features(params_, n_, y, x_ + column + p, width - p, block, value_channels_);
    }
  }

  // A slot of two rows may hold one that is outside the window. Its weight is 0, but 0 * NaN is NaN: where a value
  // is not finite, the sum takes a copy without that row.
  void leave_out_rows_beside(int slots, int skipped, const Unit** rows) {
    if constexpr (Microkernel::kRowsPerSlot == 2) {
      const int64_t count = (width_ + kSumPixels - 1) * value_channels_;
      const bool after = (height_ + skipped) % 2 != 0;
      if (skipped) rows[0] = copy_half(rows[0], count, 0xffff0000u, edges_);
      if (after) rows[slots - 1] = copy_half(rows[slots - 1], count, 0xffffu, edges_ + count);
    }
  }

  static const Unit* copy_half(const Unit* from, int64_t count, uint32_t half, Unit* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i] & half;
    return to;
  }

  const AttentionParams& params_;
  Loader loader_;
  int64_t pixels_;
  int height_, width_, keys_;
  int64_t slots_, ring_, wide_;
  int64_t channels_, units_, value_channels_, value_stride_, value_row_;
  Unit *key_ring_, *value_ring_;
  Unit* queries_;  // [row][block of kLanes pixels][unit][kLanes]: a block lies in one piece of the first-level cache
  Unit *packed_ = nullptr, *edges_ = nullptr;
  A *staged_, *logits_, *factor_, *block_;
  int64_t n_ = 0, x_ = 0, y_begin_ = 0;
  Fetcher fetcher_;
  bool suspect_ = false;  // a value was not finite
};

}  // namespace arseg::ARSEG_TARGET
