// Bilinear resizing and argmax on CUDA: the resized logits are never written.
#pragma once

#include <algorithm>

#include "../common/resize.cuh"

namespace arseg::gpu {

template <typename T>
struct ResizeLabelsArguments {
  const T* logits;
  int64_t stride[4];  // of [N, K, h, w], in elements
  int64_t batch;
  int classes, from_height, from_width, height, width;
  bool align_corners;
  uint8_t* labels;  // [N, height, width]
};

constexpr int kLabelThreads = 128;

// One thread a pixel of the result.
template <typename T>
__global__ void __launch_bounds__(kLabelThreads) resize_labels(ResizeLabelsArguments<T> a) {
  using A = accumulator<T>;
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (x >= a.width) return;
  const auto h = resize_tap<A>(x, a.from_width, a.width, a.align_corners);
  for (int64_t n = blockIdx.z; n < a.batch; n += gridDim.z) {
    for (int y = static_cast<int>(blockIdx.y); y < a.height; y += static_cast<int>(gridDim.y)) {
      const auto v = resize_tap<A>(y, a.from_height, a.height, a.align_corners);
      const T* upper_row = a.logits + n * a.stride[0] + v.lower * a.stride[2];
      const T* lower_row = a.logits + n * a.stride[0] + v.upper * a.stride[2];
      const int64_t left = h.lower * a.stride[3], right = h.upper * a.stride[3];
      A best = A(0);
      int label = 0;
      for (int k = 0; k < a.classes; ++k) {
        const int64_t at = k * a.stride[1];
        const A top =
            (A(1) - h.fraction) * to_float(upper_row[left + at]) + h.fraction * to_float(upper_row[right + at]);
        const A bottom =
            (A(1) - h.fraction) * to_float(lower_row[left + at]) + h.fraction * to_float(lower_row[right + at]);
        const A logit = (A(1) - v.fraction) * top + v.fraction * bottom;
        if (k == 0 || is_chosen_over(logit, best)) {
          best = logit;
          label = k;
        }
      }
      a.labels[(n * a.height + y) * a.width + x] = static_cast<uint8_t>(label);
    }
  }
}

template <typename T>
void launch_resize_labels(const ResizeLabelsArguments<T>& a, void* stream) {
  constexpr int kMostGridRows = 65535;
  const dim3 grid(static_cast<unsigned>((a.width + kLabelThreads - 1) / kLabelThreads),
                  static_cast<unsigned>(std::min(a.height, kMostGridRows)),
                  static_cast<unsigned>(std::min<int64_t>(a.batch, kMostGridRows)));
  ARSEG_LAUNCH(resize_labels<T>, grid, dim3(kLabelThreads), 0, stream, a);
}

}  // namespace arseg::gpu
