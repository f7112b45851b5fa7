// A classifier on a map of values, with the logits of the low-resolution map added: logits, or labels without them.
#pragma once

#include "../common/resize.cuh"
#include "params.h"

namespace arseg::gpu {

template <typename T>
__global__ void __launch_bounds__(CreffTraits::Pack::kThreads) pack_classifier(PackClassifierParams<T> p) {
  const int c = static_cast<int>(blockIdx.x);
  for (int k = static_cast<int>(threadIdx.x); k < p.padded_classes; k += CreffTraits::Pack::kThreads) {
    const bool own = c < p.channels && k < p.classes;
    p.to[static_cast<int64_t>(c) * p.padded_classes + k] =
        own ? to_float(p.classifier[k * p.stride[0] + c * p.stride[1]]) : accumulator<T>(0);
  }
}

template <typename T>
void launch_pack_classifier(const PackClassifierParams<T>& p, void* stream) {
  ARSEG_LAUNCH(pack_classifier<T>, dim3(static_cast<unsigned>(p.padded_channels)), dim3(CreffTraits::Pack::kThreads), 0,
               stream, p);
}

// The logits of the low-resolution map at a pixel, upsampled, and the bias: what is the same for all classes is worked
// out once.
template <typename T>
struct LowResLogits {
  using A = accumulator<T>;
  const T* corner[4];
  A weight[4];
  int64_t stride;
  const T* bias;
  int64_t bias_stride;

  ARSEG_DEVICE LowResLogits(const ClassifyParams<T>& a, int64_t n, int y, int x)
      : stride(a.low_stride[1]), bias(a.bias), bias_stride(a.bias_stride) {
    const auto v = resize_tap(y, a.low_height, a.row_ratio), h = resize_tap(x, a.low_width, a.column_ratio);
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      corner[i] = a.low_res_logits + n * a.low_stride[0] + (i / 2 ? v.upper : v.lower) * a.low_stride[2] +
                  (i % 2 ? h.upper : h.lower) * a.low_stride[3];
      weight[i] = (i / 2 ? v.fraction : A(1) - v.fraction) * (i % 2 ? h.fraction : A(1) - h.fraction);
    }
  }

  ARSEG_DEVICE A of(int k) const {
    A sum = A(0);
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) sum += weight[i] * A(to_float(corner[i][k * stride]));
    return sum + A(to_float(bias[k * bias_stride]));
  }
};

// The best of `lanes * 2` neighbouring lanes; of equals, or of NaNs, the lowest class. label -1: a lane has none.
template <typename A>
ARSEG_DEVICE void best_of_lanes(A& best, int& label, int lanes) {
  for (; lanes > 0; lanes /= 2) {
    const A other = __shfl_xor_sync(kAllLanes, best, lanes);
    const int other_label = __shfl_xor_sync(kAllLanes, label, lanes);
    // The lane whose class comes first is the one before; between two lanes both say the same.
    const bool over = other_label < label ? !is_chosen_over(best, other) : is_chosen_over(other, best);
    const bool better = other_label >= 0 && (label < 0 || over);
    best = better ? other : best;
    label = better ? other_label : label;
  }
}

// A warp a pixel, a lane a class (and every 32nd after it). Lanes read the same value at a time, and weights side by
// side.
template <typename T>
__global__ void __launch_bounds__(CreffTraits::Classify::kThreads) classify(ClassifyParams<T> a) {
  using A = accumulator<T>;
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t pixels = a.batch * a.height * a.width;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * CreffTraits::Classify::kWarps + threadIdx.y; i < pixels;
       i += static_cast<int64_t>(gridDim.x) * CreffTraits::Classify::kWarps) {
    const int64_t n = i / a.width / a.height;
    const LowResLogits<T> low_res(a, n, static_cast<int>(i / a.width % a.height), static_cast<int>(i % a.width));
    const T* values = a.values + i * a.channels;
    A best = A(0);
    int label = -1;  // none yet
    for (int k = lane; k < a.classes; k += 32) {
      A logit = low_res.of(k);
      for (int c = 0; c < a.channels; ++c) {
        logit += to_float(values[c]) * a.classifier[static_cast<int64_t>(c) * a.padded_classes + k];
      }
      if (a.logits) a.logits[i * a.classes + k] = from_accumulator<T>(logit);
      if (label < 0 || is_chosen_over(logit, best)) {
        best = logit;
        label = k;
      }
    }
    if (a.labels) {
      best_of_lanes(best, label, 16);
      if (lane == 0) a.labels[i] = static_cast<uint8_t>(label);
    }
  }
}

template <typename T>
void launch_classify(const ClassifyParams<T>& a, void* stream) {
  const int64_t pixels = a.batch * a.height * a.width;
  const dim3 grid(blocks_for(pixels, CreffTraits::Classify::kWarps, kMaxGridColumns));
  ARSEG_LAUNCH(classify<T>, grid, dim3(32, CreffTraits::Classify::kWarps), 0, stream, a);
}

}  // namespace arseg::gpu
