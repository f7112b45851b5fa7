#pragma once

#include <cstdint>

namespace arseg {

// What a key outside the image is. Zero: it stays in the softmax with logit 0 and value 0, as in the
// published networks. Masked: it is left out.
enum class Outside { Zero, Masked };

struct Window {
  int64_t height, width;  // odd

  int64_t keys() const { return height * width; }
  int64_t y_radius() const { return height / 2; }
  int64_t x_radius() const { return width / 2; }
};

}  // namespace arseg
