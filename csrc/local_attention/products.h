// The two products of attention, over blocks that fill the registers. Everything else prepares their operands.
#pragma once

namespace arseg::ARSEG_TARGET {

// Rows of queries that share each key they load.
constexpr int kQueryRows = 3;
// Offsets in x that are summed at once: kQueryRows * kMaxOffsets sums, their queries and a key fill the registers. With
// fewer than nine sums a product would wait for the one before it.
constexpr int kMaxOffsets = kRegisters >= 32 ? 9 : 4;

// logits[j][d][lane] = sum over units of query(row j, x) * key(x + d), for kLanes pixels, Rows rows of queries and
// Offsets offsets. keys: [units][key_stride], queries: [Rows][query_row], each [units][query_stride].
template <typename Microkernel, int Rows, int Offsets>
ARSEG_NOINLINE void logits_of(const typename Microkernel::Unit* keys, int64_t key_stride,
                              const typename Microkernel::Unit* queries, int64_t query_row, int64_t query_stride,
                              int64_t units, typename Microkernel::Scalar* logits, int64_t logits_row) {
  using A = typename Microkernel::Scalar;
  using Units = Vec<typename Microkernel::Unit>;
  Vec<A> sums[Rows][Offsets];
#pragma GCC unroll 16
  for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 16
    for (int d = 0; d < Offsets; ++d) sums[j][d] = Vec<A>{};
  }
  for (int64_t u = 0; u < units; ++u, keys += key_stride, queries += query_stride) {
    Units query[Rows];
#pragma GCC unroll 16
    for (int j = 0; j < Rows; ++j) query[j] = load(queries + j * query_row);
#pragma GCC unroll 16
    for (int d = 0; d < Offsets; ++d) {
      Units key = load(keys + d);
      if constexpr (Rows > 1) keep_in_register(key);
#pragma GCC unroll 16
      for (int j = 0; j < Rows; ++j) sums[j][d] = Microkernel::multiply_add(query[j], key, sums[j][d]);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 16
    for (int d = 0; d < Offsets; ++d) store(logits + j * logits_row + d * Microkernel::kLanes, sums[j][d]);
  }
}

// The same for one row of queries. Loads that straddle cache lines would be the limit, so two loads and shuffles
// make all the neighbours.
template <typename Microkernel, int... D>
ARSEG_INLINE void add_neighbours(Vec<typename Microkernel::Unit> query, Vec<typename Microkernel::Unit> left,
                                 Vec<typename Microkernel::Unit> right, Vec<typename Microkernel::Scalar>* sums,
                                 std::integer_sequence<int, D...>) {
  using Lanes = std::make_integer_sequence<int, Microkernel::kLanes>;
  ((sums[D] = Microkernel::multiply_add(query, neighbours<D>(left, right, Lanes{}), sums[D])), ...);
}

template <typename Microkernel, int Offsets>
ARSEG_NOINLINE void logits_of_one_row(const typename Microkernel::Unit* keys, int64_t key_stride,
                                      const typename Microkernel::Unit* queries, int64_t query_stride, int64_t units,
                                      typename Microkernel::Scalar* logits) {
  using A = typename Microkernel::Scalar;
  Vec<A> sums[Offsets];
#pragma GCC unroll 16
  for (int d = 0; d < Offsets; ++d) sums[d] = Vec<A>{};
  for (int64_t u = 0; u < units; ++u, keys += key_stride, queries += query_stride) {
    add_neighbours<Microkernel>(load(queries), load(keys), load(keys + Microkernel::kLanes), sums,
                                std::make_integer_sequence<int, Offsets>{});
  }
#pragma GCC unroll 16
  for (int d = 0; d < Offsets; ++d) store(logits + d * Microkernel::kLanes, sums[d]);
}

template <typename Microkernel, int Offsets>
void logits_of_rows(int rows, const typename Microkernel::Unit* keys, int64_t key_stride,
                    const typename Microkernel::Unit* queries, int64_t query_row, int64_t query_stride, int64_t units,
                    typename Microkernel::Scalar* logits, int64_t logits_row) {
  if (rows == 1) {
    if constexpr (Microkernel::kLanes >= 8 && Offsets < Microkernel::kLanes) {
      logits_of_one_row<Microkernel, Offsets>(keys, key_stride, queries, query_stride, units, logits);
    } else {
      logits_of<Microkernel, 1, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
    }
  } else if (rows == 2) {
    logits_of<Microkernel, 2, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
  } else if constexpr (kQueryRows >= 3) {
    logits_of<Microkernel, 3, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
  }
}

constexpr int offset_groups(int width) { return (width + kMaxOffsets - 1) / kMaxOffsets; }

// All `width` offsets of a row of keys, in as few groups of at most kMaxOffsets as will do; `fetcher` may be null.
template <typename Microkernel>
void logits_of_window_row(int width, int rows, const typename Microkernel::Unit* keys, int64_t key_stride,
                          const typename Microkernel::Unit* queries, int64_t query_row, int64_t query_stride,
                          int64_t units, typename Microkernel::Scalar* logits, int64_t logits_row,
                          Fetcher* fetcher = nullptr) {
  const int groups = offset_groups(width);
  for (int g = 0, first = 0; g < groups; ++g) {
    const int offsets = (width - first + groups - g - 1) / (groups - g);
    const auto* from = keys + first;
    auto* to = logits + first * Microkernel::kLanes;
    if (fetcher) fetcher->step();
    switch (offsets) {
#define ARSEG_OFFSETS(n)                                                                                               \
  case n:                                                                                                              \
    if constexpr (n <= kMaxOffsets) {                                                                                  \
      logits_of_rows<Microkernel, n>(rows, from, key_stride, queries, query_row, query_stride, units, to, logits_row); \
    }                                                                                                                  \
    break;
      ARSEG_OFFSETS(2)
      ARSEG_OFFSETS(3)
      ARSEG_OFFSETS(4)
      ARSEG_OFFSETS(5)
      ARSEG_OFFSETS(6)
      ARSEG_OFFSETS(7)
      ARSEG_OFFSETS(8)
      ARSEG_OFFSETS(9)
#undef ARSEG_OFFSETS
    }
    first += offsets;
  }
}

// Pixels and vectors of channels that are summed at once.
template <typename Microkernel>
constexpr int kPixelsOfSum = Microkernel::kLanes < 4 ? Microkernel::kLanes : 4;
constexpr int kSumVectors = kRegisters >= 32 ? 4 : 2;

// From a pixel's values to the next one's. A sum takes a line or so of each pixel of its window: of many channels all
// those would share a few sets of the first-level cache, unless the distance is an odd number of lines.
template <typename Unit>
constexpr int64_t spread_pixels(int64_t channels) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(Unit));
  if (kRegisters >= 32 || channels < 128) return channels;
  return (round_up(channels, line) / line | 1) * line;
}

// Where a weighted sum goes: out[i] = factor[i] * sum[i] + add[i], `add` may be null.
template <typename A, typename Out>
struct SumTarget {
  const A* factor;
  const A* add;
  int64_t add_stride;
  Out* out;
  int64_t out_stride;
  bool streaming;
  Fetcher* fetcher = nullptr;
};

template <typename A, int Vectors, typename Out>
ARSEG_INLINE void put_results(const Vec<A> (&results)[Vectors], Out* to, bool streaming) {
  constexpr int lanes = kLanes<A>;
  if constexpr (sizeof(Out) < sizeof(A) && Vectors % 2 == 0) {  // half types: two vectors make one
    if (streaming) {
#pragma GCC unroll 16
      for (int g = 0; g < Vectors; g += 2) {
        store_streaming(reinterpret_cast<uint16_t*>(to + g * lanes),
                        join(narrow(Out{}, results[g]), narrow(Out{}, results[g + 1])));
      }
      return;
    }
  }
#pragma GCC unroll 16
  for (int g = 0; g < Vectors; ++g) {
    if constexpr (sizeof(Out) == sizeof(A)) {
      if (streaming) {
        store_streaming(to + g * lanes, results[g]);
        continue;
      }
    }
    store_as(to + g * lanes, results[g]);
  }
}

// out(x) = factor(x) * sum over the window of weight(x, key) * value(key) + add(x), for kPixelsOfSum pixels and
// Vectors vectors of channels. rows: one pointer for each slot of value rows, at the first key of the first pixel;
// weights: [slots][Width][kLanes], the lane is the pixel.
template <typename Microkernel, int Width, int Vectors, typename Out>
ARSEG_NOINLINE void weighted_sum_of(const typename Microkernel::Unit* const* rows, int slots, int64_t pixel_stride,
                                    int64_t channel, const typename Microkernel::Unit* weights,
                                    const SumTarget<typename Microkernel::Scalar, Out>& target) {
  using A = typename Microkernel::Scalar;
  using Unit = typename Microkernel::Unit;
  constexpr int lanes = Microkernel::kLanes;
  constexpr int pixels = kPixelsOfSum<Microkernel>;
  Vec<A> sums[pixels][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < pixels; ++i) {
#pragma GCC unroll 16
    for (int g = 0; g < Vectors; ++g) sums[i][g] = Vec<A>{};
  }
  for (int s = 0; s < slots; ++s, weights += Width * lanes) {
    const Unit* pixel = rows[s] + channel;
#pragma GCC unroll 32
    for (int j = 0; j < Width + pixels - 1; ++j, pixel += pixel_stride) {
      Vec<Unit> values[Vectors];
#pragma GCC unroll 16
      for (int g = 0; g < Vectors; ++g) {
        values[g] = load(pixel + g * lanes);
        keep_in_register(values[g]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < pixels; ++i) {
        if (j - i >= 0 && j - i < Width) {
          Vec<Unit> weight = broadcast(weights[(j - i) * lanes + i]);
          keep_in_register(weight);
#pragma GCC unroll 16
          for (int g = 0; g < Vectors; ++g) sums[i][g] = Microkernel::multiply_add(weight, values[g], sums[i][g]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < pixels; ++i) {
    const Vec<A> factor = broadcast(target.factor[i]);
    Vec<A> results[Vectors];
#pragma GCC unroll 16
    for (int g = 0; g < Vectors; ++g) {
      results[g] = sums[i][g] * factor;
      if (target.add) results[g] = sums[i][g] * factor + load(target.add + i * target.add_stride + channel + g * lanes);
    }
    put_results<A, Vectors>(results, target.out + i * target.out_stride + channel, target.streaming);
  }
}

template <typename Microkernel, int Width, typename Out>
void weighted_sum(const typename Microkernel::Unit* const* rows, int slots, int64_t pixel_stride, int64_t channels,
                  const typename Microkernel::Unit* weights,
                  const SumTarget<typename Microkernel::Scalar, Out>& target) {
  constexpr int lanes = Microkernel::kLanes;
  int64_t c = 0;
  for (; c + kSumVectors * lanes <= channels; c += kSumVectors * lanes) {
    if (target.fetcher) target.fetcher->step();
    weighted_sum_of<Microkernel, Width, kSumVectors, Out>(rows, slots, pixel_stride, c, weights, target);
  }
  if (target.fetcher && c < channels) target.fetcher->step();
  if constexpr (kSumVectors > 2) {
    if (c + 2 * lanes <= channels) {
      weighted_sum_of<Microkernel, Width, 2, Out>(rows, slots, pixel_stride, c, weights, target);
      c += 2 * lanes;
    }
  }
  if (c < channels) weighted_sum_of<Microkernel, Width, 1, Out>(rows, slots, pixel_stride, c, weights, target);
}

template <typename Microkernel, typename Out>
void weighted_sum_of_window(int width, const typename Microkernel::Unit* const* rows, int slots, int64_t pixel_stride,
                            int64_t channels, const typename Microkernel::Unit* weights,
                            const SumTarget<typename Microkernel::Scalar, Out>& target) {
  switch (width) {
    case 3:
      return weighted_sum<Microkernel, 3, Out>(rows, slots, pixel_stride, channels, weights, target);
    case 5:
      return weighted_sum<Microkernel, 5, Out>(rows, slots, pixel_stride, channels, weights, target);
    case 7:
      return weighted_sum<Microkernel, 7, Out>(rows, slots, pixel_stride, channels, weights, target);
    case 9:
      return weighted_sum<Microkernel, 9, Out>(rows, slots, pixel_stride, channels, weights, target);
    case 11:
      return weighted_sum<Microkernel, 11, Out>(rows, slots, pixel_stride, channels, weights, target);
    case 13:
      return weighted_sum<Microkernel, 13, Out>(rows, slots, pixel_stride, channels, weights, target);
    default:
      return weighted_sum<Microkernel, 15, Out>(rows, slots, pixel_stride, channels, weights, target);
  }
}

}  // namespace arseg::ARSEG_TARGET
