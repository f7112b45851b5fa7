#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "../common/base.h"
#include "../cpu/capability.h"
#include "../cpu/parallel.h"
#include "../cpu/tensors.h"
#include "checks.h"

namespace arseg {
namespace {

Tensor resize_labels(const Tensor& logits, std::vector<int64_t> size, bool align_corners) {
  check_resize_labels(logits, size);
  const Tensor source = contiguous_channels_last(logits);
  Tensor labels = empty(logits, {logits.size(0), size[0], size[1]}, ScalarType::Byte);
  ResizeLabelsParams params;
  params.logits = map_of(source);
  params.height = size[0];
  params.width = size[1];
  params.align_corners = align_corners;
  params.labels = static_cast<uint8_t*>(labels.mutable_data_ptr());
  const int64_t rows = logits.size(0) * size[0];
  if (rows * size[1] == 0) return labels;
  const CpuKernels& kernels = cpu_kernels();
  const int64_t piece = std::max<int64_t>(1, std::min<int64_t>(16, rows / 8));
  for_each_task(ceil_div(rows, piece), kernels.resize_labels_scratch(params), [&](int64_t index, void* scratch) {
    kernels.resize_labels(params, index * piece, std::min(rows, (index + 1) * piece), scratch);
  });
  return labels;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) { m.impl("resize_labels", TORCH_BOX(&resize_labels)); }

}  // namespace arseg
