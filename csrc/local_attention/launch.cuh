// What other operators use of local attention; the kernels are compiled once, in csrc/local_attention/cuda.cu.
#pragma once

#include <type_traits>

#include "arguments.cuh"

namespace arseg::gpu {

// run(std::integral_constant<int, window>{}) for the windows of the tiled kernels.
template <typename F>
void dispatch_window(int window, F&& run) {
  switch (window) {
    case 3:
      return run(std::integral_constant<int, 3>{});
    case 5:
      return run(std::integral_constant<int, 5>{});
    case 7:
      return run(std::integral_constant<int, 7>{});
    default:
      return run(std::integral_constant<int, 9>{});
  }
}

template <typename T>
void launch_attention(const AttentionArguments<T>& a, void* stream);

template <typename T>
void launch_attention_backward(const AttentionGradients<T>& a, void* stream);

}  // namespace arseg::gpu
