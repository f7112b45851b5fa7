// The fusion on CUDA: which kernels take what.
#pragma once

#include "classify.cuh"
#include "fused.cuh"
#include "pack.cuh"
#include "pair.cuh"

namespace arseg::gpu {

// Whether the attention makes its own queries: on tensor cores, with all channels of a tile in shared memory.
template <typename T>
bool makes_queries(const FusionArguments<T>& a, int classes) {
  return is_half_type<T> && a.window_height == a.window_width && a.window_height <= 9 && a.channels <= kFusedChannels &&
         classes <= kFusedClasses && a.height <= 8 * 65535 && a.batch <= 65535;
}

// scratch: key and value alone. classifier: null, for features into a.out; else [kFusedClasses, channels], for logits
// or labels as `classes` says.
template <typename T>
void launch_fusion(const FusionArguments<T>& a, const PairScratch<T>& scratch, const ClassifyArguments<T>& classes,
                   const T* classifier, void* stream) {
  static_assert(is_half_type<T>);
  launch_keys_and_values(a, scratch.key, scratch.value, stream);
  const KeysAndValues<T> maps{scratch.key, scratch.value};
  dispatch_window(a.window_height, [&](auto window) {
    if (classifier) {
      launch_fused_attention<T, window, true>(a, maps, classes, classifier, stream);
    } else {
      launch_fused_attention<T, window, false>(a, maps, classes, classifier, stream);
    }
  });
}

}  // namespace arseg::gpu
