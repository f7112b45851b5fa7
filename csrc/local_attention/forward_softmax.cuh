// The softmax of the forward on tensor cores: from the products of a patch to its weights, in registers.
#pragma once

#include "mma.cuh"

namespace arseg::gpu {

// Weights of T in the places of Products, as operands take them: pairs of 16 bits, or TF32.
template <typename P, typename T>
using WeightsOf = std::conditional_t<is_half_type<T>, typename P::Weights, typename P::Products>;

// Products become logits in base 2, and then weights, not yet divided by their sum.
template <typename P>
struct Softmax {
  float row_max[2];  // of the logits, in base 2
  float row_sum[2];  // of the weights

  // scale: of the logits, times log2(e). Weights of float32 may take the place of the products.
  template <typename T, int WINDOW>
  ARSEG_DEVICE void run(const AttentionShape& shape, const PatchPosition<P>& at, float scale,
                        typename P::Products& products, WeightsOf<P, T>& weights) {
    if constexpr (WINDOW <= 8) {
      run_folded<T, WINDOW>(shape, at, scale, products, weights);
    } else {
      run_whole<T, WINDOW>(shape, at, scale, products, weights);
    }
  }

  ARSEG_DEVICE float logsumexp(int half) const { return row_max[half] * kLn2 + logf(row_sum[half]); }

 private:
  // Their sum is that of what the products take.
  template <typename T>
  ARSEG_DEVICE static float weight_of(float logit) {
    const float weight = exp2_fast(logit);
    return is_half_type<T> ? weight : cut_to_tf32(weight);
  }

  // A window of at most 8 holds key column c of a row, or c + 8, and never both: both blocks of a row become one.
  template <typename T, int WINDOW>
  ARSEG_DEVICE void run_folded(const AttentionShape& shape, const PatchPosition<P>& at, float scale,
                               typename P::Products& products, WeightsOf<P, T>& weights) {
    const KeyColumns<P, WINDOW> columns(shape, at, false);
    const bool in[2] = {columns.in[0][0] || columns.in[1][0], columns.in[0][1] || columns.in[1][1]};
    if (shape.masked) leave_out_outside(shape, at, products);
    if (!(scale > 0.0f)) {  // the largest product has the largest logit otherwise
      ARSEG_UNROLL
      for (int n = 0; n < P::kColumns; ++n) {
        ARSEG_UNROLL
        for (int i = 0; i < 4; ++i) products[n][i] = products[n][i] == -INFINITY ? -INFINITY : products[n][i] * scale;
      }
      scale = 1.0f;
    }
    row_max[0] = row_max[1] = -INFINITY;
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      ARSEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (!P::row_in_window(r, i / 2)) continue;
        float (&product)[4] = products[2 * r];
        if (!columns.in[0][i % 2]) product[i] = products[2 * r + 1][i];
        if (in[i % 2]) row_max[i / 2] = fmaxf(row_max[i / 2], product[i]);
      }
    }
    finish_max(shape, at);
    row_max[0] *= scale;
    row_max[1] *= scale;
    uint32_t mask[2];
    ARSEG_UNROLL
    for (int block = 0; block < 2; ++block) {
      mask[block] = (columns.in[block][0] ? 0xffffu : 0u) | (columns.in[block][1] ? 0xffff0000u : 0u);
    }
    ARSEG_UNROLL
    for (int r = 0; r < P::kKeyRows; ++r) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        float both[2] = {};
        const bool any = P::row_in_window(r, half);
        ARSEG_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (any) both[e] = weight_of<T>(products[2 * r][2 * half + e] * scale - row_max[half]);
          if (any && in[e]) row_sum[half] += both[e];
        }
        if constexpr (is_half_type<T>) {
          const uint32_t pair = any ? pack<T>(both[0], both[1]) : 0u;
          weights[2 * r][half] = pair & mask[0];
          weights[2 * r + 1][half] = pair & mask[1];
        } else {
          ARSEG_UNROLL
          for (int i = 0; i < 4; ++i) {
            weights[2 * r + i / 2][2 * half + i % 2] = any && columns.in[i / 2][i % 2] ? both[i % 2] : 0.0f;
          }
        }
      }
    }
    finish_sum();
  }

  template <typename T, int WINDOW>
  ARSEG_DEVICE void run_whole(const AttentionShape& shape, const PatchPosition<P>& at, float scale,
                              typename P::Products& products, WeightsOf<P, T>& weights) {
    const KeyColumns<P, WINDOW> columns(shape, at, shape.masked);
    row_max[0] = row_max[1] = -INFINITY;
    ARSEG_UNROLL
    for (int n = 0; n < P::kColumns; ++n) {
      const bool row = !shape.masked || static_cast<unsigned>(at.key_y(n / 2)) < static_cast<unsigned>(shape.height);
      ARSEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (!P::row_in_window(n / 2, i / 2)) continue;
        products[n][i] = row && columns.in[n % 2][i % 2] ? products[n][i] * scale : -INFINITY;
        row_max[i / 2] = fmaxf(row_max[i / 2], products[n][i]);
      }
    }
    finish_max(shape, at);
    ARSEG_UNROLL
    for (int n = 0; n < P::kColumns; ++n) {
      ARSEG_UNROLL
      for (int half = 0; half < 2; ++half) {
        const bool any = P::row_in_window(n / 2, half);
        const float first = any ? weight_of<T>(products[n][2 * half] - row_max[half]) : 0.0f;
        const float second = any ? weight_of<T>(products[n][2 * half + 1] - row_max[half]) : 0.0f;
        row_sum[half] += first + second;
        if constexpr (is_half_type<T>) {
          weights[n][half] = pack<T>(first, second);
        } else {
          weights[n][2 * half] = first;
          weights[n][2 * half + 1] = second;
        }
      }
    }
    finish_sum();
  }

  // Keys outside the image.
  ARSEG_DEVICE static void leave_out_outside(const AttentionShape& shape, const PatchPosition<P>& at,
                                             typename P::Products& products) {
    ARSEG_UNROLL
    for (int n = 0; n < P::kColumns; ++n) {
      ARSEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (!shape.in_bounds(at.key_y(n / 2), at.key_x(at.column(n, i % 2)))) products[n][i] = -INFINITY;
      }
    }
  }

  // Over the four lanes of a row.
  ARSEG_DEVICE void finish_max(const AttentionShape& shape, const PatchPosition<P>& at) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      row_max[half] = fmaxf(row_max[half], __shfl_xor_sync(kAllLanes, row_max[half], 1));
      row_max[half] = fmaxf(row_max[half], __shfl_xor_sync(kAllLanes, row_max[half], 2));
      if (!at.inside(shape, half)) row_max[half] = 0.0f;  // a row without a pixel may have no key at all
      row_sum[half] = 0.0f;
    }
  }

  ARSEG_DEVICE void finish_sum() {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) {
      row_sum[half] += __shfl_xor_sync(kAllLanes, row_sum[half], 1);
      row_sum[half] += __shfl_xor_sync(kAllLanes, row_sum[half], 2);
    }
  }
};

}  // namespace arseg::gpu
