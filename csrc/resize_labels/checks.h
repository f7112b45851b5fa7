#pragma once

#include <vector>

#include "../common/checks.h"

namespace arseg {

// logits: [N, K, h, w]; size: (H, W) of the labels.
inline void check_resize_labels(const torch::stable::Tensor& logits, const std::vector<int64_t>& size) {
  constexpr const char* op = "resize_labels";
  check_dims(op, "logits", logits, 4, "[N, K, H, W]");
  check_floating(op, "logits", logits);
  check(logits.size(1) >= 1 && logits.size(1) <= 256, op, ": logits must have 1 to 256 classes, got ", logits.size(1));
  check(logits.size(2) > 0 && logits.size(3) > 0, op, ": logits must not be empty, got shape ", shape_text(logits));
  check(size.size() == 2 && size[0] >= 0 && size[1] >= 0, op, ": size must be (height, width), got ", list_text(size));
}

}  // namespace arseg
