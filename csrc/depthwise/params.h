// What the kernels of the depthwise convolutions' gradient are given, and the sizes that they are compiled with. No
// torch.
#pragma once

#include <cstdint>

#include "../common/base.h"

namespace arseg::gpu {

// Gradients of the weights of one convolution, and of its bias: nine taps, then the bias.
constexpr int kRowsOfSums = 10;

// A thread goes down kRows pixels of a column, with a pair of channels.
struct DepthwiseTraits {
  static constexpr int kThreads = 192, kBlocksOfMultiprocessor = 2;
  static constexpr int kRows = 40;      // of a strip: with the two beside it a multiple of the three that are unrolled
  static constexpr int kMaxUnits = 32;  // pairs of a pixel that threads beside each other take
  static constexpr int kMaxBlocks = 1 << 11;  // of a chunk of channels: each leaves sums of its own
  static constexpr int kSumLanes = 32, kSumSlices = kThreads / kSumLanes;  // channels, and parts of the blocks

  template <typename T>
  static constexpr int kPair = std::is_same_v<T, double> ? 1 : 2;
  // Bytes.
  template <typename T>
  static constexpr int kShared = kRowsOfSums * kPair<T> * kThreads * static_cast<int>(sizeof(accumulator<T>));
};

// The gradient of one or two depthwise 3x3 convolutions, with padding 1, of one map. Maps are dense channels-last.
template <typename T>
struct DepthwiseBackwardParams {
  using A = accumulator<T>;
  struct Convolution {
    const T* grad;      // [N, H, W, C]
    const T* weight;    // [c, 1, 3, 3], any strides
    int64_t stride[3];  // of [c, 3, 3], in elements
    T* grad_weight;     // [c, 1, 3, 3], dense
    T* grad_bias;       // [c]
  };

  int64_t batch;
  int height, width, channels;
  int own_channels;  // c, at most C: the others are padding
  int units;         // threads that share a pixel, a power of two
  const T* map;      // [N, H, W, C]: what was convolved
  const T* direct;   // [N, H, W, C]: what is added to the map's gradient; or null
  T* grad_map;       // [N, H, W, C]; null: it is not wanted
  A* sums;           // [blocks, convolutions, kRowsOfSums, C]
  Convolution convolution[2];
};

}  // namespace arseg::gpu
