#pragma once

#include <vector>

#include "../common/checks.h"

namespace arseg {

// logits: [N, K, h, w]; size: (H, W) of the labels.
inline void check_resize_labels(const torch::stable::Tensor& logits, const std::vector<int64_t>& size) {
  constexpr const char* op = "resize_labels";
  check_dims(op, "logits", logits, 4, "[N, K, H, W]");
  check_floating(op, "logits", logits);
  require<Message::classes>(logits.size(1) >= 1 && logits.size(1) <= 256, op, "logits", 256, logits.size(1));
  require<Message::not_empty>(logits.size(2) > 0 && logits.size(3) > 0, op, "logits", logits);
  require<Message::size>(size.size() == 2 && size[0] >= 0 && size[1] >= 0, op, size);
}

}  // namespace arseg
