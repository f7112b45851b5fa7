// A classifier on tensor cores, for float16 and bfloat16: its weights as right operands, and the classes that come out.
#pragma once

#include "../common/device.cuh"
#include "classify.cuh"
#include "params.h"

namespace arseg::gpu {

// Logits of 16 pixels, as mma_m16n8k16 leaves them: of block b, pixels g ([0], [1]) and g + 8 ([2], [3]), classes
// 8b + 2t and the next.
using ClassLogits = float[CreffTraits::Mma::kClasses / 8][4];

// Where the weights of lane `lane` lie: of a block of classes, channels 32 * part and the 31 after it. part: of all
// channels' chunks.
ARSEG_DEVICE int classifier_place(int block, int part, int lane) {
  constexpr int kParts = CreffTraits::Mma::kChannels / 32, kBlocks = CreffTraits::Mma::kClasses / 8;
  return ((part / kParts * kBlocks + block) * kParts + part % kParts) * 32 + lane;
}

// A block a block of classes and a chunk of channels; a thread a vector of weights, and one in four a bias.
template <typename T>
__global__ void __launch_bounds__(CreffTraits::Pack::kThreads)
    pack_classifier_operands(PackClassifierOperandsParams<T> p) {
  constexpr int kParts = CreffTraits::Mma::kChannels / 32;
  const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  if (thread >= 32 * kParts) return;
  const int part = static_cast<int>(blockIdx.y) * kParts + thread / 32, k = 8 * block + lane / 4;
  for (int i = 0; i < 8; ++i) {  // two steps of 16 channels, two registers, two values
    const int c = 32 * part + i / 4 * 16 + i / 2 % 2 * 8 + lane % 4 * 2 + i % 2;
    const bool own = k < p.classes && c < p.channels;
    p.weights[classifier_place(block, part, lane) * 8 + i] =
        own ? p.classifier[k * p.stride[0] + c * p.stride[1]] : from_float<T>(0.0f);
  }
  if (part == 0 && lane % 4 == 0) p.biases[k] = k < p.classes ? to_float(p.bias[k * p.bias_stride]) : 0.0f;
}

template <typename T>
void launch_pack_classifier_operands(const PackClassifierOperandsParams<T>& p, void* stream) {
  static_assert(CreffTraits::Mma::kChannels <= CreffTraits::Pack::kThreads);
  const dim3 grid(CreffTraits::Mma::kClasses / 8, static_cast<unsigned>(p.chunks));
  ARSEG_LAUNCH(pack_classifier_operands<T>, grid, dim3(CreffTraits::Pack::kThreads), 0, stream, p);
}

// logits += pixels x classifier^T over one chunk. pixels: 16 of them as left operands, of 16 channels each.
template <typename T, int STEPS>
ARSEG_DEVICE void add_class_logits(const FusedClassifier<T>& a, int chunk, const uint32_t (&pixels)[STEPS][4],
                                   ClassLogits& logits) {
  static_assert(STEPS * 16 == CreffTraits::Mma::kChannels);
  const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32;
  const uint4* weights = reinterpret_cast<const uint4*>(a.weights) + classifier_place(0, chunk * (STEPS / 2), lane);
  ARSEG_UNROLL
  for (int block = 0; block < CreffTraits::Mma::kClasses / 8; ++block) {
    if (8 * block >= a.classes) break;
    ARSEG_UNROLL
    for (int part = 0; part < STEPS / 2; ++part) {
      const uint4 four = weights[classifier_place(block, part, 0)];
      mma_m16n8k16<T>(logits[block], pixels[2 * part], four.x, four.y);
      mma_m16n8k16<T>(logits[block], pixels[2 * part + 1], four.z, four.w);
    }
  }
}

// Adds the bias, and writes the logits of a pixel, or the class of the largest. half: 0 for pixel g, 1 for g + 8. All
// lanes call it; `inside`: there is such a pixel.
template <typename T>
ARSEG_DEVICE void store_classes(const FusedClassifier<T>& a, int64_t pixel, bool inside, int half, int quad_lane,
                                const ClassLogits& logits) {
  float best = 0.0f;
  int label = -1;
  ARSEG_UNROLL
  for (int block = 0; block < CreffTraits::Mma::kClasses / 8; ++block) {
    if (8 * block >= a.classes) break;
    const float2 bias = *reinterpret_cast<const float2*>(a.biases + 8 * block + 2 * quad_lane);
    ARSEG_UNROLL
    for (int e = 0; e < 2; ++e) {
      const int k = 8 * block + 2 * quad_lane + e;
      if (k >= a.classes) continue;
      const float logit = logits[block][2 * half + e] + (e ? bias.y : bias.x);
      if (a.logits && inside) a.logits[pixel * a.classes + k] = from_float<T>(logit);
      if (label < 0 || is_chosen_over(logit, best)) {
        best = logit;
        label = k;
      }
    }
  }
  if (a.labels) {  // the four lanes of a row have its classes
    best_of_lanes(best, label, 2);
    if (inside && quad_lane == 0) a.labels[pixel] = static_cast<uint8_t>(label);
  }
}

}  // namespace arseg::gpu
