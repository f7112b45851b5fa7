// Bilinear resizing and argmax on CUDA: the resized logits are never written.
#pragma once

#include "../common/resize.cuh"
#include "params.h"

namespace arseg::gpu {

// One thread a pixel of the result.
template <typename T>
__global__ void __launch_bounds__(ResizeLabelsTraits::kThreads) resize_labels(ResizeLabelsParams<T> a) {
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
void launch_resize_labels(const ResizeLabelsParams<T>& a, void* stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(a.width, ResizeLabelsTraits::kThreads)),
                  blocks_for(a.height, 1, kMaxGridRows), blocks_for(a.batch, 1, kMaxGridRows));
  ARSEG_LAUNCH(resize_labels<T>, grid, dim3(ResizeLabelsTraits::kThreads), 0, stream, a);
}

}  // namespace arseg::gpu
