#pragma once

#include <cstdint>

#include "../local_attention/task.h"
#include "../mv_warp/params.h"

// What the kernel of the whole fusion gets. No torch.
namespace arseg {

// Depthwise 3x3 convolutions: [9 taps, then the bias][channels, padded with 0], of the type that computes.
struct FusionTask : AttentionTask {
  Map reference;  // [N, C, H, W], channels together
  Map low_res;    // [N, C, h, w], channels together
  MotionField motion;
  const void* query_weights = nullptr;
  const void* key_weights = nullptr;
  const void* value_weights = nullptr;
  int64_t padded_channels = 0;

  // With a classifier: its weights [padded channels][padded classes], its bias [padded classes], and what the weights
  // make of `low_res`. The bias comes after the upsampling, for 0 times a bias of -Inf were NaN.
  const void* classifier = nullptr;
  const void* classifier_bias = nullptr;
  Map low_res_logits;
};

}  // namespace arseg
