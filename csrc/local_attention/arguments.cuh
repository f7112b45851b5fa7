// What the attention kernels take: dense channels-last maps [N, H, W, C].
#pragma once

#include "../common/device.cuh"

namespace arseg::gpu {

struct AttentionShape {
  int64_t batch;
  int height, width;
  int channels;        // of queries and keys
  int value_channels;  // of values and the result
  int window_height, window_width;
  bool masked;  // keys outside the image are left out; otherwise they have logit 0 and value 0

  ARSEG_DEVICE bool holds(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
  ARSEG_DEVICE int64_t pixel(int64_t n, int y, int x) const { return (n * height + y) * width + x; }
};

template <typename T>
struct AttentionArguments {
  AttentionShape shape;
  accumulator<T> scale;
  const T* query;
  const T* key;
  const T* value;
  const T* residual;  // added to the result; null: nothing is
  T* out;
  accumulator<T>* logsumexp;  // [N, H, W]; null: not wanted
};

template <typename T>
struct AttentionGradients {
  AttentionShape shape;
  accumulator<T> scale;
  const T* grad;  // of the result
  const T* query;
  const T* key;
  const T* value;
  const accumulator<T>* logsumexp;
  accumulator<T>* delta;  // [N, H, W]: the sum over the window of probability times its gradient; scratch
  T* grad_query;
  T* grad_key;
  T* grad_value;
};

}  // namespace arseg::gpu
