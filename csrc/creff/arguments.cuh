// What the fusion kernels take: dense channels-last maps [N, H, W, C].
#pragma once

#include "../common/resize.cuh"
#include "../mv_warp/sampling.cuh"

namespace arseg::gpu {

// Rows of a depthwise 3x3 convolution's weights as the kernels read them: nine taps, then the bias; each `channels`
// long.
constexpr int kDepthwiseRows = 10;

template <typename T>
struct FusionArguments {
  using A = accumulator<T>;

  int64_t batch;
  int height, width, channels;
  int low_height, low_width;
  A row_ratio, column_ratio;  // resize_ratio of low_res to the map
  Motion motion;
  int window_height, window_width;
  bool masked;
  const T* reference;
  const T* low_res;
  const A* query_weights;  // [10, channels]
  const A* key_weights;
  const A* value_weights;
  T* out;

  ARSEG_DEVICE bool holds(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
  ARSEG_DEVICE int64_t pixel(int64_t n, int y, int x) const { return (n * height + y) * width + x; }
};

// With a classifier behind the values: the sum over values is projected to classes, low_res_logits (what the classifier
// makes of low_res) is added upsampled, and then the bias, for 0 times a bias of -Inf were NaN.
template <typename T>
struct ClassifyArguments {
  using A = accumulator<T>;

  int64_t batch;
  int height, width, channels, classes, padded_classes;
  int low_height, low_width;
  A row_ratio, column_ratio;  // resize_ratio of low_res_logits to the map
  const T* values;            // [N, H, W, channels]
  const A* classifier;        // [channels, padded_classes]
  const T* bias;              // [classes]
  int64_t bias_stride;        // in elements
  const T* low_res_logits;    // [N, low_height, low_width, classes], any strides
  int64_t low_stride[4];      // of [N, K, h, w], in elements
  T* logits;                  // [N, H, W, classes] or null
  uint8_t* labels;            // [N, H, W] or null
};

}  // namespace arseg::gpu
