#pragma once

#include <cstdint>

#include "host_device.h"

namespace arseg {

ARSEG_HD constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A 4-d array with any strides (in elements). Strides of 0 are fine for reading.
template <typename T>
struct View4 {
  T* data;
  int64_t size[4];
  int64_t stride[4];

  ARSEG_HD T* at(int64_t a, int64_t b, int64_t c, int64_t d) const {
    return data + a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3];
  }
};

}  // namespace arseg
