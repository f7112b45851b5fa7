// The fusion as kernels that meet in global memory: keys and values; queries and the upsampled map; and the attention
// of csrc/local_attention, which adds the rest.
#pragma once

#include "depthwise.cuh"
#include "keys_values_mma.cuh"
#include "queries_mma.cuh"

namespace arseg::gpu {

template <typename T>
void launch_keys_and_values(const FusionParams<T>& a, T* key, T* value, void* stream) {
  if constexpr (is_half_type<T>) {
    launch_keys_and_values_mma<Values::Plain>(a, key, value, a.channels, {}, stream);
  } else {
    launch_depthwise_conv<T, WarpedReference<T>>(a, {a.key_weights, a.value_weights, key, value}, stream);
  }
}

template <typename T>
void launch_queries(const FusionParams<T>& a, T* query, T* upsampled, void* stream) {
  if constexpr (is_half_type<T>) {
    launch_queries_mma(a, query, upsampled, stream);
  } else {
    launch_depthwise_conv<T, UpsampledLowRes<T>>(a, {a.query_weights, nullptr, query, upsampled}, stream);
  }
}

// with_residual: the upsampled map is added, as the fusion has it; without, the weighted sum of values is all.
// allow_tf32: for the attention of float32; convolutions and warping are exact.
template <typename T>
void launch_unfused(const FusionParams<T>& a, const FusionScratch<T>& scratch, bool with_residual, bool allow_tf32,
                    void* stream) {
  launch_keys_and_values(a, scratch.key, scratch.value, stream);
  launch_queries(a, scratch.query, scratch.upsampled, stream);
  launch_attention<T>({{a.batch, a.height, a.width, a.channels, a.channels, a.window_height, a.window_width, a.masked},
                       accumulator<T>(1),
                       scratch.query,
                       scratch.key,
                       scratch.value,
                       with_residual ? scratch.upsampled : nullptr,
                       a.out,
                       nullptr,
                       allow_tf32},
                      stream);
}

}  // namespace arseg::gpu
