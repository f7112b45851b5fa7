#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>

#include "base.h"
#include "checks.h"

namespace arseg {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Calls run(T{}) with the C++ type of a floating-point dtype.
template <typename F>
void dispatch_floating(ScalarType dtype, F&& run) {
  switch (dtype) {
    case ScalarType::Float:
      return run(float{});
    case ScalarType::Double:
      return run(double{});
    case ScalarType::Half:
      return run(c10::Half{});
    case ScalarType::BFloat16:
      return run(c10::BFloat16{});
    default:
      check(false, "a kernel was called with dtype ", dtype_name(dtype));
  }
}

template <typename T>
View4<const T> view4(const Tensor& tensor) {
  View4<const T> view{static_cast<const T*>(tensor.const_data_ptr()), {}, {}};
  std::copy_n(tensor.sizes().data(), 4, view.size);
  std::copy_n(tensor.strides().data(), 4, view.stride);
  return view;
}

}  // namespace arseg
