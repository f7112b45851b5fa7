#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "../common/indexing.h"
#include "../cpu/capability.h"
#include "../cpu/parallel.h"
#include "../cpu/tensors.h"

namespace arseg {
namespace {

Tensor resize_labels(const Tensor& logits, std::vector<int64_t> size, bool align_corners) {
  constexpr const char* op = "resize_labels";
  check_dims(op, "logits", logits, 4, "[N, K, H, W]");
  check_floating(op, "logits", logits);
  check(logits.size(1) >= 1 && logits.size(1) <= 256, op, ": logits must have 1 to 256 classes, got ", logits.size(1));
  check(logits.size(2) > 0 && logits.size(3) > 0, op, ": logits must not be empty, got shape ", shape_text(logits));
  check(size.size() == 2 && size[0] >= 0 && size[1] >= 0, op, ": size must be (height, width), got ", list_text(size));
  const Tensor source = with_channels_together(logits);
  Tensor labels = torch::stable::empty({logits.size(0), size[0], size[1]}, ScalarType::Byte);
  ResizeLabelsTask task;
  task.logits = map_of(source);
  task.height = size[0];
  task.width = size[1];
  task.align_corners = align_corners;
  task.labels = static_cast<uint8_t*>(labels.mutable_data_ptr());
  const int64_t rows = logits.size(0) * size[0];
  if (rows * size[1] == 0) return labels;
  const CpuKernels& kernels = cpu_kernels();
  const int64_t piece = std::max<int64_t>(1, std::min<int64_t>(16, rows / 8));
  for_each_task(ceil_div(rows, piece), kernels.resize_labels_scratch(task), [&](int64_t index, void* scratch) {
    kernels.resize_labels(task, index * piece, std::min(rows, (index + 1) * piece), scratch);
  });
  return labels;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) { m.impl("resize_labels", TORCH_BOX(&resize_labels)); }

}  // namespace arseg
