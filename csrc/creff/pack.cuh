// Weights as the fusion kernels read them, packed on the device: nothing waits for the host, so a CUDA graph takes it.
#pragma once

#include "arguments.cuh"

namespace arseg::gpu {

constexpr int kPackThreads = 128;

template <typename T>
struct PackDepthwise {
  const T* weight;  // [C, 1, 3, 3]
  const T* bias;    // [C]
  int64_t weight_stride[4];
  int64_t bias_stride;
  int channels, padded;
  accumulator<T>* to;  // [10, padded]
};

template <typename T>
struct PackDepthwiseAll {
  PackDepthwise<T> convolution[3];
};

// One row of blocks a convolution.
template <typename T>
__global__ void __launch_bounds__(kPackThreads) pack_depthwise(PackDepthwiseAll<T> all) {
  const PackDepthwise<T>& p = all.convolution[blockIdx.y];
  const int c = static_cast<int>(blockIdx.x * kPackThreads + threadIdx.x);
  if (c >= p.padded) return;
  for (int row = 0; row < kDepthwiseRows; ++row) {
    accumulator<T> value = 0;
    if (c < p.channels) {
      value =
          row < 9
              ? to_float(p.weight[c * p.weight_stride[0] + row / 3 * p.weight_stride[2] + row % 3 * p.weight_stride[3]])
              : to_float(p.bias[c * p.bias_stride]);
    }
    p.to[row * p.padded + c] = value;
  }
}

template <typename T>
void launch_pack_depthwise(const PackDepthwiseAll<T>& all, void* stream) {
  const int padded = all.convolution[0].padded;
  const dim3 grid(static_cast<unsigned>((padded + kPackThreads - 1) / kPackThreads), 3);
  ARSEG_LAUNCH(pack_depthwise<T>, grid, dim3(kPackThreads), 0, stream, all);
}

template <typename T>
struct PackClassifier {
  const T* classifier;  // [K, C]
  int64_t stride[2];
  int classes, channels, padded_classes, padded_channels;
  accumulator<T>* to;  // [padded_channels, padded_classes]
};

template <typename T>
__global__ void __launch_bounds__(kPackThreads) pack_classifier(PackClassifier<T> p) {
  const int c = static_cast<int>(blockIdx.x);
  for (int k = static_cast<int>(threadIdx.x); k < p.padded_classes; k += kPackThreads) {
    const bool own = c < p.channels && k < p.classes;
    p.to[static_cast<int64_t>(c) * p.padded_classes + k] =
        own ? to_float(p.classifier[k * p.stride[0] + c * p.stride[1]]) : accumulator<T>(0);
  }
}

template <typename T>
void launch_pack_classifier(const PackClassifier<T>& p, void* stream) {
  ARSEG_LAUNCH(pack_classifier<T>, dim3(static_cast<unsigned>(p.padded_channels)), dim3(kPackThreads), 0, stream, p);
}

// The classifier as a right operand of tensor cores: T, [padded_classes, padded_channels].
template <typename T>
struct PackClassifierRows {
  const T* classifier;  // [K, C]
  int64_t stride[2];
  int classes, channels, padded_channels;
  T* to;
};

// A block a class.
template <typename T>
__global__ void __launch_bounds__(kPackThreads) pack_classifier_rows(PackClassifierRows<T> p) {
  const int k = static_cast<int>(blockIdx.x);
  for (int c = static_cast<int>(threadIdx.x); c < p.padded_channels; c += kPackThreads) {
    const bool own = c < p.channels && k < p.classes;
    p.to[static_cast<int64_t>(k) * p.padded_channels + c] =
        own ? p.classifier[k * p.stride[0] + c * p.stride[1]] : from_float<T>(0.0f);
  }
}

template <typename T>
void launch_pack_classifier_rows(const PackClassifierRows<T>& p, int padded_classes, void* stream) {
  ARSEG_LAUNCH(pack_classifier_rows<T>, dim3(static_cast<unsigned>(padded_classes)), dim3(kPackThreads), 0, stream, p);
}

}  // namespace arseg::gpu
