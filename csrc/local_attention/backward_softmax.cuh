// Probabilities of the forward and gradients of its logits, for the backward on the patches of mma.cuh.
#pragma once

#include "mma.cuh"

namespace arseg::gpu {

// For keys: what each query of the halo brings along.
struct QuerySums {
  float logsumexp;  // in base 2; Inf outside the image, which makes the probability 0
  float delta;
};

// KEYS: as in attention_backward_mma; rows are keys then, and columns queries.
template <typename P, int WINDOW, bool KEYS>
class BackwardSoftmax {
 public:
  // As in Softmax: a window of at most 8 holds column c of a row or c + 8, and never both.
  static constexpr bool kFolds = WINDOW <= 8;
  // In pairs of T: of each row of keys, columns 2t and 2t + 1, or those 8 behind them where the window holds those; or
  // as mma_m16n8k16 takes them.
  using Weights = std::conditional_t<kFolds, uint32_t[P::kKeyRows][2], typename P::Weights>;

  // sums_of: of the halo, for keys.
  ARSEG_DEVICE BackwardSoftmax(const AttentionShape& shape, const PatchPosition<P>& at, const QuerySums* sums_of)
      : shape_(shape), at_(at), sums_of_(sums_of) {}

  // Of products, as the forward had them; 0 outside the window. scale: of the logits, times log2(e). logsumexp: of the
  // rows, in base 2, for queries.
  template <typename T>
  ARSEG_DEVICE void probabilities(float scale, const float (&logsumexp)[2], const typename P::Products& products,
                                  Weights& weights) const {
    if constexpr (kFolds) {
      probabilities_folded<T>(scale, logsumexp, products, weights);
    } else {
      probabilities_whole<T>(scale, logsumexp, products, weights);
    }
  }

  // weights: from probabilities to gradients of the logits; products: gradients of the probabilities. delta: of the
  // rows, for queries; it comes out.
  template <typename T>
  ARSEG_DEVICE void gradients(typename P::Products& products, Weights& weights, float (&delta)[2]) const {
    if constexpr (kFolds) {
      gradients_folded<T>(products, weights, delta);
    } else {
      gradients_whole<T>(products, weights, delta);
    }
  }

  // sums = weights x values, as weighted_sum.
  template <typename T, int N>
  ARSEG_DEVICE void sum_up(const Weights& weights, const uint4* values, int first, float (&sums)[N][4]) const {
    if constexpr (kFolds) {
      const Fold fold(KeyColumns<P, WINDOW>(shape_, at_, false));
      weighted_sum_of<P, T>(
          at_,
          [&](int r, uint32_t (&a)[4]) {
            ARSEG_UNROLL
            for (int i = 0; i < 4; ++i) a[i] = weights[r][i % 2] & fold.mask[i / 2];
          },
          values, first, sums);
    } else {
      weighted_sum<P, T>(at_, weights, values, first, sums);
    }
  }

 private:
  // Which of two columns a lane takes, and where what it takes of them goes.
  struct Fold {
    bool first[2], some[2];  // [e]: the window holds column 2t + e; that or the one 8 behind it
    uint32_t mask[2];        // [block]

    ARSEG_DEVICE explicit Fold(const KeyColumns<P, WINDOW>& columns) {
      ARSEG_UNROLL
      for (int i = 0; i < 2; ++i) {
        first[i] = columns.in[0][i];
        some[i] = columns.in[0][i] || columns.in[1][i];
        mask[i] = (columns.in[i][0] ? 0xffffu : 0u) | (columns.in[i][1] ? 0xffff0000u : 0u);
      }
    }
    ARSEG_DEVICE float of(const typename P::Products& products, int r, int i) const {
      return first[i % 2] ? products[2 * r][i] : products[2 * r + 1][i];
    }
  };

  // Of the queries in the columns that a lane takes, those of the first row; the next are kHaloWidth further on.
  ARSEG_DEVICE const QuerySums* taken(const Fold& fold, int e) const {
    return sums_of_ + at_.halo(0, at_.column(fold.first[e] ? 0 : 1, e));
  }

  template <typename T>
  ARSEG_DEVICE void probabilities_folded(float scale, const float (&logsumexp)[2], const typename P::Products& products,
                                         Weights& weights) const {
    const Fold fold(KeyColumns<P, WINDOW>(shape_, at_, false));
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      float of_column[2] = {};
      if constexpr (KEYS) {
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) of_column[e] = taken(fold, e)[r * P::kHaloWidth].logsumexp;
      }
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        weights[r][half] = 0;
        if (!P::row_in_window(r, half)) continue;
        float two[2];
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) {
          two[e] = exp2_fast(fold.of(products, r, 2 * half + e) * scale - (KEYS ? of_column[e] : logsumexp[half]));
        }
        weights[r][half] = pack<T>(two[0], two[1]);
      }
    }
    // Keys outside have value 0 and are 0: they change nothing. What was left out may be Inf here.
    if (!KEYS && shape_.masked) leave_out_outside(weights);
  }

  ARSEG_DEVICE void leave_out_outside(Weights& weights) const {
    const Fold inside(KeyColumns<P, WINDOW>(shape_, at_, true));
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      const bool row = static_cast<unsigned>(at_.key_y(r)) < static_cast<unsigned>(shape_.height);
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) weights[r][half] &= row ? inside.mask[0] | inside.mask[1] : 0u;
    }
  }

  template <typename T>
  ARSEG_DEVICE void gradients_folded(typename P::Products& products, Weights& weights, float (&delta)[2]) const {
    const Fold fold(KeyColumns<P, WINDOW>(shape_, at_, false));
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        ARSEG_UNROLL
        for (int r = 0; r < P::kKeyRows; ++r) {
          if (!P::row_in_window(r, half)) continue;
          const float2 probability = unpack<T>(weights[r][half]);
          float (&product)[4] = products[2 * r];
          product[2 * half] = fold.of(products, r, 2 * half);
          product[2 * half + 1] = fold.of(products, r, 2 * half + 1);
          // A column outside the window has probability 0, but its product may be Inf or NaN.
          if (fold.some[0]) delta[half] += probability.x * product[2 * half];
          if (fold.some[1]) delta[half] += probability.y * product[2 * half + 1];
        }
        sum_over_row(delta[half]);
      }
    }
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      float of_column[2] = {};
      if constexpr (KEYS) {
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) of_column[e] = taken(fold, e)[r * P::kHaloWidth].delta;
      }
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        if (!P::row_in_window(r, half)) continue;  // the weights are 0
        const float2 probability = unpack<T>(weights[r][half]);
        const float* product = products[2 * r] + 2 * half;  // folded already for queries
        const float first = KEYS ? fold.of(products, r, 2 * half) - of_column[0] : product[0] - delta[half];
        const float second = KEYS ? fold.of(products, r, 2 * half + 1) - of_column[1] : product[1] - delta[half];
        weights[r][half] = pack<T>(probability.x * first, probability.y * second);
      }
    }
  }

  template <typename T>
  ARSEG_DEVICE void probabilities_whole(float scale, const float (&row_logsumexp)[2],
                                        const typename P::Products& products, typename P::Weights& weights) const {
    // Keys outside have value 0, so that nothing is lost by leaving them out, in both modes.
    const KeyColumns<P, WINDOW> columns(shape_, at_, !KEYS);
    float logsumexp[2] = {row_logsumexp[0], row_logsumexp[1]};
    ARSEG_UNROLL
    for (int i = 0; i < P::kColumns; ++i) {
      const bool row = KEYS || static_cast<unsigned>(at_.key_y(i / 2)) < static_cast<unsigned>(shape_.height);
      float probabilities[4] = {};
      ARSEG_UNROLL
      for (int e = 0; e < 2; ++e) {
        if constexpr (KEYS) logsumexp[0] = logsumexp[1] = sums_of_[at_.halo(i / 2, at_.column(i, e))].logsumexp;
        ARSEG_UNROLL
        for (int half = 0; half < 2; ++half) {
          if (!P::row_in_window(i / 2, half)) continue;
          const float logit = products[i][2 * half + e] * scale - logsumexp[half];
          probabilities[2 * half + e] = row && columns.in[i % 2][e] ? exp2_fast(logit) : 0.0f;
        }
      }
      weights[i][0] = pack<T>(probabilities[0], probabilities[1]);
      weights[i][1] = pack<T>(probabilities[2], probabilities[3]);
    }
  }

  template <typename T>
  ARSEG_DEVICE void gradients_whole(const typename P::Products& products, typename P::Weights& weights,
                                    float (&delta)[2]) const {
    if constexpr (!KEYS) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        ARSEG_UNROLL
        for (int i = 0; i < P::kColumns; ++i) {
          const float2 probability = unpack<T>(weights[i][half]);
          // Pairs outside the window have probability 0, but their product may be Inf or NaN.
          delta[half] += probability.x == 0.0f ? 0.0f : probability.x * products[i][2 * half];
          delta[half] += probability.y == 0.0f ? 0.0f : probability.y * products[i][2 * half + 1];
        }
        sum_over_row(delta[half]);
      }
    }
    ARSEG_UNROLL
    for (int i = 0; i < P::kColumns; ++i) {
      float deltas[2][2] = {{delta[0], delta[0]}, {delta[1], delta[1]}};
      if constexpr (KEYS) {
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) {
          deltas[0][e] = deltas[1][e] = sums_of_[at_.halo(i / 2, at_.column(i, e))].delta;
        }
      }
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float2 probability = unpack<T>(weights[i][half]);
        const float first = products[i][2 * half] - deltas[half][0];
        const float second = products[i][2 * half + 1] - deltas[half][1];
        weights[i][half] = pack<T>(probability.x == 0.0f ? 0.0f : probability.x * first,
                                   probability.y == 0.0f ? 0.0f : probability.y * second);
      }
    }
  }

  // Over the four lanes of a row.
  ARSEG_DEVICE static void sum_over_row(float& sum) {
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
  }

  const AttentionShape& shape_;
  const PatchPosition<P>& at_;
  const QuerySums* sums_of_;
};

}  // namespace arseg::gpu
