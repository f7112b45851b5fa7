#pragma once

#include <cstdint>

#include "../cpu/map.h"

namespace arseg {

// Logits (channels together) resized to [N, height, width], and the class of the largest.
struct ResizeLabelsTask {
  Map logits;
  int64_t height = 0, width = 0;
  bool align_corners = false;
  uint8_t* labels = nullptr;
};

}  // namespace arseg
