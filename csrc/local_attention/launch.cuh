// Local attention on CUDA: which kernel takes what.
#pragma once

#include "backward_mma.cuh"
#include "backward_simt.cuh"
#include "fallback.cuh"
#include "forward_mma.cuh"
#include "forward_simt.cuh"

namespace arseg::gpu {

// Whether the tiled kernels take it: a square window up to 9, whole vectors of channels, a grid that a launch can hold.
template <typename T>
bool is_tiled(const AttentionShape& s) {
  return s.window_height == s.window_width && s.window_height <= AttentionTraits::kMaxTiledWindow &&
         s.channels % kVector<T> == 0 && s.value_channels % kVector<T> == 0 &&
         s.height <= AttentionTraits::Mma::kTileHeight * kMaxGridRows && s.batch <= kMaxGridRows;
}

inline bool fits_small_chunk(const AttentionShape& s) {
  return s.channels <= AttentionTraits::Mma::kSmallChunk && s.value_channels <= AttentionTraits::Mma::kSmallChunk;
}

template <typename T>
void launch_attention(const AttentionParams<T>& a, void* stream) {
  if constexpr (is_half_type<T>) {
    using Traits = AttentionTraits::Mma;
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) {
        if (fits_small_chunk(a.shape)) {
          launch_forward_mma<T, Traits::kSmallChunk, window>(a, stream);
        } else {
          launch_forward_mma<T, Traits::kLargeChunk, window>(a, stream);
        }
      });
    }
  } else if constexpr (std::is_same_v<T, float>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) {
        if (a.allow_tf32) {
          launch_forward_mma<T, AttentionTraits::Mma::kLargeChunk, window>(a, stream);
        } else {
          launch_forward_simt<window>(a, stream);
        }
      });
    }
  }
  launch_fallback_forward(a, stream);
}

template <typename T>
void launch_attention_backward(const AttentionBackwardParams<T>& a, void* stream) {
  if constexpr (is_half_type<T>) {
    using Traits = AttentionTraits::Mma;
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) {
        if (fits_small_chunk(a.shape)) {
          launch_backward_mma<T, Traits::kSmallChunk, window>(a, stream);
        } else {
          launch_backward_mma<T, Traits::kLargeChunk, window>(a, stream);
        }
      });
    }
  } else if constexpr (std::is_same_v<T, float>) {
    if (is_tiled<T>(a.shape)) {
      return dispatch_window(a.shape.window_height, [&](auto window) { launch_backward_simt<window>(a, stream); });
    }
  }
  launch_fallback_backward(a, stream);
}

}  // namespace arseg::gpu
