#pragma once

#include "../common/checks.h"

namespace arseg {

// map: [N, C, H, W], what was convolved; grad and what else is `like` it.
inline void check_map_of_gradient(const char* op, const char* name, const torch::stable::Tensor& map) {
  check_dims(op, name, map, 4, "[N, C, H, W]");
  check_floating(op, name, map);
}

inline void check_gradient_like(const char* op, const char* name, const torch::stable::Tensor& grad, const char* other,
                                const torch::stable::Tensor& map) {
  check_same_device(op, name, grad, other, map);
  check_same_dtype(op, name, grad, other, map);
  check_shape(op, name, grad, {map.size(0), map.size(1), map.size(2), map.size(3)});
}

// weight: [C, 1, 3, 3]
inline void check_depthwise_weight(const char* op, const char* name, const torch::stable::Tensor& weight,
                                   const char* other, const torch::stable::Tensor& map) {
  check_same_device(op, name, weight, other, map);
  check_same_dtype(op, name, weight, other, map);
  check_shape(op, name, weight, {map.size(1), 1, 3, 3});
}

}  // namespace arseg
