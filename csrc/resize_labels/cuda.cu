#include <vector>

#include "../common/torch_utils.cuh"
#include "checks.h"
#include "forward.cuh"

namespace arseg {
namespace {

Tensor resize_labels(const Tensor& logits, std::vector<int64_t> size, bool align_corners) {
  check_resize_labels(logits, size);
  Tensor labels = empty(logits, {logits.size(0), size[0], size[1]}, ScalarType::Byte);
  if (logits.size(0) * size[0] * size[1] == 0) return labels;
  const DeviceGuard device(logits);
  dispatch_device(logits.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    gpu::ResizeLabelsParams<T> a;
    a.logits = data_of<T>(logits);
    for (int i = 0; i < 4; ++i) a.stride[i] = logits.stride(i);
    a.batch = logits.size(0);
    a.classes = static_cast<int>(logits.size(1));
    a.from_height = static_cast<int>(logits.size(2));
    a.from_width = static_cast<int>(logits.size(3));
    a.height = static_cast<int>(size[0]);
    a.width = static_cast<int>(size[1]);
    a.align_corners = align_corners;
    a.labels = mutable_data_of<uint8_t>(labels);
    gpu::launch_resize_labels(a, device.stream());
  });
  return labels;
}

}  // namespace

ARSEG_CUDA_LIBRARY(m) { m.impl("resize_labels", TORCH_BOX(&resize_labels)); }

}  // namespace arseg
