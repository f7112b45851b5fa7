// The fusion on CUDA: which kernels take what.
#pragma once

#include "classify.cuh"
#include "fused.cuh"
#include "pack.cuh"
#include "pair.cuh"

namespace arseg::gpu {

// Whether one kernel does it all: on tensor cores, with all channels of a tile in shared memory. That it then is the
// faster way is reasoned from bytes, not yet measured.
template <typename T>
bool goes_in_one(const FusionArguments<T>& a, int classes) {
  return is_half_type<T> && a.window_height == a.window_width && a.window_height <= 9 &&
         a.channels <= (a.window_height <= 7 ? 64 : 32) && classes <= kFusedClasses && a.height <= 8 * 65535 &&
         a.batch <= 65535;
}

// classifier: null, for features into a.out; else [kFusedClasses, channels], for logits or labels as `classes` says.
template <typename T>
void launch_fusion(const FusionArguments<T>& a, const ClassifyArguments<T>& classes, const T* classifier,
                   void* stream) {
  static_assert(is_half_type<T>);
  const auto launch = [&](auto window) {
    if (classifier) {
      launch_fusion_in_one<T, window, true>(a, classes, classifier, stream);
    } else {
      launch_fusion_in_one<T, window, false>(a, classes, classifier, stream);
    }
  };
  switch (a.window_height) {
    case 3:
      return launch(std::integral_constant<int, 3>{});
    case 5:
      return launch(std::integral_constant<int, 5>{});
    case 7:
      return launch(std::integral_constant<int, 7>{});
    default:
      return launch(std::integral_constant<int, 9>{});
  }
}

}  // namespace arseg::gpu
