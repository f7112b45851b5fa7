// Local attention on CUDA: which kernel takes what.
#pragma once

#include "backward_cuda_core.cuh"
#include "backward_tensor_core.cuh"
#include "forward_cuda_core.cuh"
#include "forward_tensor_core.cuh"
#include "general.cuh"
#include "launch.cuh"

namespace arseg::gpu {

// Whether the tiled kernels take it: a square window up to 9, whole vectors of channels, a grid that a launch can hold.
template <typename T>
bool is_tiled(const AttentionShape& s) {
  return s.window_height == s.window_width && s.window_height <= 9 && s.channels % kVector<T> == 0 &&
         s.value_channels % kVector<T> == 0 && s.height <= 8 * 65535 && s.batch <= 65535;
}

template <typename T>
void launch_attention(const AttentionArguments<T>& a, void* stream) {
  if constexpr (is_half_type<T>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) {
        if (a.shape.channels <= 32 && a.shape.value_channels <= 32) {
          launch_forward_mma<T, 32, window>(a, stream);
        } else {
          launch_forward_mma<T, 64, window>(a, stream);
        }
      });
    }
  } else if constexpr (std::is_same_v<T, float>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) { launch_forward_cuda_core<window>(a, stream); });
    }
  }
  launch_general_forward(a, stream);
}

template <typename T>
void launch_attention_backward(const AttentionGradients<T>& a, void* stream) {
  if constexpr (is_half_type<T>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) {
        if (a.shape.channels <= 32 && a.shape.value_channels <= 32) {
          launch_backward_mma<T, 32, window>(a, stream);
        } else {
          launch_backward_mma<T, 64, window>(a, stream);
        }
      });
    }
  } else if constexpr (std::is_same_v<T, float>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) { launch_backward_cuda_core<window>(a, stream); });
    }
  }
  launch_general_backward(a, stream);
}

}  // namespace arseg::gpu
