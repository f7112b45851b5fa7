// The two products of attention, over blocks that fill the registers. Everything else prepares their operands.
#pragma once

namespace arseg::ARSEG_TARGET {

// Rows of queries that share each key they load.
constexpr int kQueryRows = kRegisters >= 32 ? 3 : 2;
// Offsets in x that are summed at once: kQueryRows * kMostOffsets sums, their queries and a key fit the registers.
constexpr int kMostOffsets = kRegisters >= 32 ? 9 : 4;

// logits[j][d][lane] = sum over units of query(row j, x) * key(x + d), for kLanes pixels, Rows rows of queries and
// Offsets offsets. keys: [units][key_stride], queries: [Rows][query_row], each [units][query_stride].
template <typename Engine, int Rows, int Offsets>
ARSEG_NOINLINE void logits_of(const typename Engine::Unit* keys, int64_t key_stride,
                              const typename Engine::Unit* queries, int64_t query_row, int64_t query_stride,
                              int64_t units, typename Engine::Scalar* logits, int64_t logits_row) {
  using A = typename Engine::Scalar;
  using Units = Vec<typename Engine::Unit>;
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
      for (int j = 0; j < Rows; ++j) sums[j][d] = Engine::multiply_add(query[j], key, sums[j][d]);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < Rows; ++j) {
#pragma GCC unroll 16
    for (int d = 0; d < Offsets; ++d) store(logits + j * logits_row + d * Engine::kLanes, sums[j][d]);
  }
}

// The same for one row of queries. Loads that straddle cache lines would be the limit, so two loads and shuffles
// make all the neighbours.
template <typename Engine, int... D>
ARSEG_INLINE void add_neighbours(Vec<typename Engine::Unit> query, Vec<typename Engine::Unit> left,
                                 Vec<typename Engine::Unit> right, Vec<typename Engine::Scalar>* sums,
                                 std::integer_sequence<int, D...>) {
  using Lanes = std::make_integer_sequence<int, Engine::kLanes>;
  ((sums[D] = Engine::multiply_add(query, neighbours<D>(left, right, Lanes{}), sums[D])), ...);
}

template <typename Engine, int Offsets>
ARSEG_NOINLINE void logits_of_one_row(const typename Engine::Unit* keys, int64_t key_stride,
                                      const typename Engine::Unit* queries, int64_t query_stride, int64_t units,
                                      typename Engine::Scalar* logits) {
  using A = typename Engine::Scalar;
  Vec<A> sums[Offsets];
#pragma GCC unroll 16
  for (int d = 0; d < Offsets; ++d) sums[d] = Vec<A>{};
  for (int64_t u = 0; u < units; ++u, keys += key_stride, queries += query_stride) {
    add_neighbours<Engine>(load(queries), load(keys), load(keys + Engine::kLanes), sums,
                           std::make_integer_sequence<int, Offsets>{});
  }
#pragma GCC unroll 16
  for (int d = 0; d < Offsets; ++d) store(logits + d * Engine::kLanes, sums[d]);
}

template <typename Engine, int Offsets>
void logits_of_rows(int rows, const typename Engine::Unit* keys, int64_t key_stride,
                    const typename Engine::Unit* queries, int64_t query_row, int64_t query_stride, int64_t units,
                    typename Engine::Scalar* logits, int64_t logits_row) {
  if (rows == 1) {
    if constexpr (Engine::kLanes >= 8 && Offsets < Engine::kLanes) {
      logits_of_one_row<Engine, Offsets>(keys, key_stride, queries, query_stride, units, logits);
    } else {
      logits_of<Engine, 1, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
    }
  } else if (rows == 2) {
    logits_of<Engine, 2, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
  } else if constexpr (kQueryRows >= 3) {
    logits_of<Engine, 3, Offsets>(keys, key_stride, queries, query_row, query_stride, units, logits, logits_row);
  }
}

// All `width` offsets of a row of keys, in as few groups of at most kMostOffsets as will do.
template <typename Engine>
void logits_of_window_row(int width, int rows, const typename Engine::Unit* keys, int64_t key_stride,
                          const typename Engine::Unit* queries, int64_t query_row, int64_t query_stride, int64_t units,
                          typename Engine::Scalar* logits, int64_t logits_row) {
  const int groups = (width + kMostOffsets - 1) / kMostOffsets;
  for (int g = 0, first = 0; g < groups; ++g) {
    const int offsets = (width - first + groups - g - 1) / (groups - g);
    const auto* from = keys + first;
    auto* to = logits + first * Engine::kLanes;
    switch (offsets) {
#define ARSEG_OFFSETS(n)                                                                                          \
  case n:                                                                                                         \
    if constexpr (n <= kMostOffsets) {                                                                            \
      logits_of_rows<Engine, n>(rows, from, key_stride, queries, query_row, query_stride, units, to, logits_row); \
    }                                                                                                             \
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
template <typename Engine>
constexpr int kPixelsOfSum = Engine::kLanes < 4 ? Engine::kLanes : 4;
constexpr int kSumVectors = kRegisters >= 32 ? 4 : 2;

// Where a weighted sum goes: out[i] = factor[i] * sum[i] + add[i], `add` may be null.
template <typename A, typename Out>
struct SumTarget {
  const A* factor;
  const A* add;
  int64_t add_stride;
  Out* out;
  int64_t out_stride;
  bool past_caches;
};

template <typename A, int Vectors, typename Out>
ARSEG_INLINE void put_results(const Vec<A> (&results)[Vectors], Out* to, bool past_caches) {
  constexpr int lanes = kLanes<A>;
  if constexpr (sizeof(Out) < sizeof(A) && Vectors % 2 == 0) {  // half types: two vectors make one
    if (past_caches) {
#pragma GCC unroll 16
      for (int g = 0; g < Vectors; g += 2) {
        store_past_caches(reinterpret_cast<uint16_t*>(to + g * lanes),
                          join(narrow(Out{}, results[g]), narrow(Out{}, results[g + 1])));
      }
      return;
    }
  }
#pragma GCC unroll 16
  for (int g = 0; g < Vectors; ++g) {
    if constexpr (sizeof(Out) == sizeof(A)) {
      if (past_caches) {
        store_past_caches(to + g * lanes, results[g]);
        continue;
      }
    }
    store_as(to + g * lanes, results[g]);
  }
}

// out(x) = factor(x) * sum over the window of weight(x, key) * value(key) + add(x), for kPixelsOfSum pixels and
// Vectors vectors of channels. rows: one pointer for each slot of value rows, at the first key of the first pixel;
// weights: [slots][Width][kLanes], the lane is the pixel.
template <typename Engine, int Width, int Vectors, typename Out>
ARSEG_NOINLINE void weighted_sum_of(const typename Engine::Unit* const* rows, int slots, int64_t pixel_stride,
                                    int64_t channel, const typename Engine::Unit* weights,
                                    const SumTarget<typename Engine::Scalar, Out>& target) {
  using A = typename Engine::Scalar;
  using Unit = typename Engine::Unit;
  constexpr int lanes = Engine::kLanes;
  constexpr int pixels = kPixelsOfSum<Engine>;
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
          for (int g = 0; g < Vectors; ++g) sums[i][g] = Engine::multiply_add(weight, values[g], sums[i][g]);
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
    put_results<A, Vectors>(results, target.out + i * target.out_stride + channel, target.past_caches);
  }
}

template <typename Engine, int Width, typename Out>
void weighted_sum(const typename Engine::Unit* const* rows, int slots, int64_t channels,
                  const typename Engine::Unit* weights, const SumTarget<typename Engine::Scalar, Out>& target) {
  constexpr int lanes = Engine::kLanes;
  int64_t c = 0;
  for (; c + kSumVectors * lanes <= channels; c += kSumVectors * lanes) {
    weighted_sum_of<Engine, Width, kSumVectors, Out>(rows, slots, channels, c, weights, target);
  }
  if constexpr (kSumVectors > 2) {
    if (c + 2 * lanes <= channels) {
      weighted_sum_of<Engine, Width, 2, Out>(rows, slots, channels, c, weights, target);
      c += 2 * lanes;
    }
  }
  if (c < channels) weighted_sum_of<Engine, Width, 1, Out>(rows, slots, channels, c, weights, target);
}

template <typename Engine, typename Out>
void weighted_sum_of_window(int width, const typename Engine::Unit* const* rows, int slots, int64_t channels,
                            const typename Engine::Unit* weights,
                            const SumTarget<typename Engine::Scalar, Out>& target) {
  switch (width) {
    case 3:
      return weighted_sum<Engine, 3, Out>(rows, slots, channels, weights, target);
    case 5:
      return weighted_sum<Engine, 5, Out>(rows, slots, channels, weights, target);
    case 7:
      return weighted_sum<Engine, 7, Out>(rows, slots, channels, weights, target);
    case 9:
      return weighted_sum<Engine, 9, Out>(rows, slots, channels, weights, target);
    case 11:
      return weighted_sum<Engine, 11, Out>(rows, slots, channels, weights, target);
    case 13:
      return weighted_sum<Engine, 13, Out>(rows, slots, channels, weights, target);
    default:
      return weighted_sum<Engine, 15, Out>(rows, slots, channels, weights, target);
  }
}

}  // namespace arseg::ARSEG_TARGET
