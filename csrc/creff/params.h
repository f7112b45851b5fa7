// What the kernels of the whole fusion are given, and the sizes that they are compiled with. No torch.
#pragma once

#include <cstdint>

#include "../local_attention/params.h"
#include "../mv_warp/params.h"

namespace arseg {

// Depthwise 3x3 convolutions as the kernels read them: nine taps, then the bias; each row `channels` long.
constexpr int kDepthwiseRows = 10;

// --- on the CPU ------------------------------------------------------------------------------------------------------

// Weights of convolutions: [10][channels, padded with 0], of the type that computes.
struct FusionParams : AttentionParams {
  Map reference;  // [N, C, H, W], channels together
  Map low_res;    // [N, C, h, w], channels together
  MotionParams motion;
  const void* query_weights = nullptr;
  const void* key_weights = nullptr;
  const void* value_weights = nullptr;
  int64_t padded_channels = 0;

  // With a classifier: what its weights make of `low_res`. The bias comes after the upsampling, for 0 times a bias of
  // -Inf were NaN.
  const void* classifier = nullptr;       // [padded channels][padded classes]
  const void* classifier_bias = nullptr;  // [padded classes]
  Map low_res_logits;                     // [N, K, h, w]
};

// --- on CUDA ---------------------------------------------------------------------------------------------------------

namespace gpu {

struct CreffTraits {
  // Keys and values, or queries and the upsampled map: tiles of pixels, with a border of one for the convolution.
  struct Depthwise {
    static constexpr int kTile = 16, kHalo = kTile + 2, kThreads = 256, kBlocksOfMultiprocessor = 3;
    static constexpr int kBlocksWithSums = 2;  // where logits stay in registers from one chunk of channels to the next
    // A pixel lies in shared memory as eight vectors of channels. Threads that share a pixel take two of them each, so
    // that what places the pixel is worked out four times, not eight.
    static constexpr int kVectors = 8, kVectorsOfThread = 2, kThreadsOfPixel = kVectors / kVectorsOfThread;
    static constexpr int kShared = kHalo * kHalo * kVectors * 16;  // bytes
  };

  // Attention that makes its own queries, on the tiles of AttentionTraits::Mma.
  struct Mma : AttentionTraits::Mma {
    static constexpr int kChannels = kLargeChunk;  // that a tile has room for, and that its keys and values have
    static constexpr int kClasses = 32;            // that are kept in registers, at most
    static constexpr int kFewClasses = 16;         // half of the copies and products where that is enough

    // Values are in an order in which a lane sums up two whole vectors of channels, t and 4 + t of the fragments: the
    // channel in place 8c + 2t + e.
    ARSEG_HD static constexpr int value_channel(int place) {
      const int c = place / 8, t = place % 8 / 2;
      return 32 * (c / 4) + 8 * t + 2 * (c % 4) + place % 2;
    }
  };

  // A warp a pixel.
  struct Classify {
    static constexpr int kWarps = 8, kThreads = 32 * kWarps;
  };

  struct Pack {
    static constexpr int kThreads = 128;
  };
};

// Maps are dense channels-last.
template <typename T>
struct FusionParams {
  using A = accumulator<T>;

  int64_t batch;
  int height, width, channels;
  int low_height, low_width;
  A row_ratio, column_ratio;  // resize_ratio of low_res to the map
  MotionParams motion;
  int window_height, window_width;
  bool masked;
  const T* reference;        // [N, H, W, C]
  int64_t reference_stride;  // from one image to the next; 0 where all are one
  const T* low_res;          // [N, h, w, C]
  const A* query_weights;    // [10, C]
  const A* key_weights;      // [10, C]
  const A* value_weights;    // [10, C]
  T* out;                    // [N, H, W, C]

  ARSEG_HD bool in_bounds(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
  ARSEG_HD int64_t pixel(int64_t n, int y, int x) const { return (n * height + y) * width + x; }
};

// With a classifier behind the values: the sum over values is projected to classes, low_res_logits (what the classifier
// makes of low_res) is added upsampled, and then the bias, for 0 times a bias of -Inf were NaN.
template <typename T>
struct ClassifyParams {
  using A = accumulator<T>;

  int64_t batch;
  int height, width, channels, classes, padded_classes;
  int low_height, low_width;
  A row_ratio, column_ratio;  // resize_ratio of low_res_logits to the map
  const T* values;            // [N, H, W, C]
  const A* classifier;        // [C, padded_classes]
  const T* bias;              // [K]
  int64_t bias_stride;        // in elements
  const T* low_res_logits;    // [N, h, w, K], any strides
  int64_t low_stride[4];      // of [N, K, h, w], in elements
  T* logits;                  // [N, H, W, K] or null
  uint8_t* labels;            // [N, H, W] or null
};

// Maps for what the kernels hand on. Where the attention makes its own queries, keys and values have
// CreffTraits::Mma::kChannels; with a classifier on tensor cores, values have kClasses or kFewClasses.
template <typename T>
struct FusionScratch {
  T* key;        // [N, H, W, C]
  T* value;      // [N, H, W, C]
  T* query;      // [N, H, W, C]
  T* upsampled;  // [N, H, W, C]
};

// What a block of the depthwise convolutions writes.
template <typename T>
struct DepthwiseOutputs {
  const accumulator<T>* first_weights;   // [10, C]
  const accumulator<T>* second_weights;  // [10, C]; null: the source itself goes to `second`
  T* first;                              // [N, H, W, C]
  T* second;                             // [N, H, W, C]
};

template <typename T>
struct PackDepthwiseParams {
  const T* weight;  // [C, 1, 3, 3]
  const T* bias;    // [C]
  int64_t weight_stride[4];
  int64_t bias_stride;
  int channels, padded;
  accumulator<T>* to;  // [10, padded]
};

template <typename T>
struct PackDepthwiseAllParams {
  PackDepthwiseParams<T> convolution[3];
};

template <typename T>
struct PackClassifierParams {
  const T* classifier;  // [K, C]
  int64_t stride[2];
  int classes, channels, padded_classes, padded_channels;
  accumulator<T>* to;  // [padded_channels, padded_classes]
};

// A classifier behind kernels on tensor cores, of at most CreffTraits::Mma::kClasses. Values are projected to classes
// before they are summed up; so is the upsampled map of a tile, or, with more channels, the low-resolution map.
template <typename T>
struct FusedClassifier {
  const T* weights;     // as right operands, see classifier_place
  const float* biases;  // [kClasses]; -Inf past the classes
  int classes;
  T* logits;        // [N, H, W, K] or null
  uint8_t* labels;  // [N, H, W] or null
};

template <typename T>
struct PackClassifierOperandsParams {
  const T* classifier;  // [K, C]
  const T* bias;        // [K]
  int64_t stride[2], bias_stride;
  int classes, channels;
  int chunks;     // of CreffTraits::Mma::kChannels
  T* weights;     // [chunks, CreffTraits::Mma::kClasses, CreffTraits::Mma::kChannels], see classifier_place
  float* biases;  // [CreffTraits::Mma::kClasses]; -Inf past the classes
};

// run(std::integral_constant<int, columns>{}): what kernels on tensor cores make of so many classes.
template <typename F>
void dispatch_classes(int classes, F&& run) {
  using Traits = CreffTraits::Mma;
  if (classes <= Traits::kFewClasses) return run(std::integral_constant<int, Traits::kFewClasses>{});
  return run(std::integral_constant<int, Traits::kClasses>{});
}

}  // namespace gpu
}  // namespace arseg
