// What the kernels of resize_labels are given, and the sizes that they are compiled with. No torch.
#pragma once

#include <cstdint>

#include "../cpu/map.h"

namespace arseg {

// On the CPU: logits resized to height x width, and the class of the largest.
struct ResizeLabelsParams {
  Map logits;  // [N, K, h, w], channels together
  int64_t height = 0, width = 0;
  bool align_corners = false;
  uint8_t* labels = nullptr;  // [N, height, width]
};

namespace gpu {

struct ResizeLabelsTraits {
  static constexpr int kThreads = 128;  // pixels of a row
};

template <typename T>
struct ResizeLabelsParams {
  const T* logits;    // [N, K, h, w], any strides
  int64_t stride[4];  // in elements
  int64_t batch;
  int classes, from_height, from_width, height, width;
  bool align_corners;
  uint8_t* labels;  // [N, height, width]
};

}  // namespace gpu
}  // namespace arseg
