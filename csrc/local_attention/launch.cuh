// Local attention for other operators: compiled once, in csrc/local_attention/cuda.cu.
#pragma once

#include "arguments.cuh"

namespace arseg::gpu {

template <typename T>
void launch_attention(const AttentionArguments<T>& a, void* stream);

template <typename T>
void launch_attention_backward(const AttentionGradients<T>& a, void* stream);

}  // namespace arseg::gpu
