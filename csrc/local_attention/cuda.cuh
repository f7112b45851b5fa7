// Local attention on CUDA: which kernel takes what.
#pragma once

#include "general.cuh"

namespace arseg::gpu {

template <typename T>
void launch_attention(const AttentionArguments<T>& a, void* stream) {
  launch_general_forward(a, stream);
}

template <typename T>
void launch_attention_backward(const AttentionGradients<T>& a, void* stream) {
  launch_general_backward(a, stream);
}

}  // namespace arseg::gpu
