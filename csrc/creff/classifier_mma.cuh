// A classifier on tensor cores, for float16 and bfloat16: its weights as right operands, and the classes that come out.
#pragma once

#include "../common/device.cuh"
#include "classify.cuh"
#include "params.h"

namespace arseg::gpu {

// Logits of 16 pixels, as mma_m16n8k16 leaves them: of block b, pixels g ([0], [1]) and g + 8 ([2], [3]), columns 2t
// and the next, where g = lane / 4 and t = lane % 4.
template <int CLASSES>
using ClassLogits = float[CLASSES / 8][4];

// Which class a column is. Straight: column 2t + e of block b is class 8b + 2t + e. Written to a map with the columns
// of each lane side by side, classes are in another order, and so are the columns of what is read from it: Transposed,
// see transposed_class.
enum class ClassOrder { Straight, Transposed };

// The class of column 2t of a block, t = quad_lane; that of the next column is the next. Of 32 classes, a lane has
// eight that follow each other.
template <int CLASSES>
ARSEG_DEVICE constexpr int transposed_class(int block, int quad_lane) {
  constexpr int kBlocks = CLASSES / 8;
  static_assert(4 % kBlocks == 0);
  return quad_lane % kBlocks * 8 + quad_lane / kBlocks * 2 + 8 / kBlocks * block;
}

// Where the weights of lane `lane` lie: of a block of classes, channels 32 * part and the 31 after it. part: of all
// channels' chunks.
ARSEG_DEVICE int classifier_place(int block, int part, int lane) {
  constexpr int kParts = CreffTraits::Mma::kChannels / 32, kBlocks = CreffTraits::Mma::kClasses / 8;
  return ((part / kParts * kBlocks + block) * kParts + part % kParts) * 32 + lane;
}

// The same of a block of columns.
template <int CLASSES, ClassOrder ORDER>
ARSEG_DEVICE int column_place(int block, int part, int lane) {
  if constexpr (ORDER == ClassOrder::Straight) {
    return classifier_place(block, part, lane);
  } else {
    constexpr int kBlocks = CLASSES / 8;
    const int pair = lane / 8, row = pair / kBlocks * 2 + lane / 4 % 2;  // transposed_class, of 8 * (pair % kBlocks)
    return classifier_place(pair % kBlocks, part, row * 4 + lane % 4) + 8 / kBlocks * 4 * block;
  }
}

// A block a block of classes and a chunk of channels; a thread a vector of weights, and one in four a bias. What is no
// class has weight 0 and bias -Inf.
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
  if (part == 0 && lane % 4 == 0) p.biases[k] = k < p.classes ? to_float(p.bias[k * p.bias_stride]) : -INFINITY;
}

template <typename T>
void launch_pack_classifier_operands(const PackClassifierOperandsParams<T>& p, void* stream) {
  static_assert(CreffTraits::Mma::kChannels <= CreffTraits::Pack::kThreads);
  const dim3 grid(CreffTraits::Mma::kClasses / 8, static_cast<unsigned>(p.chunks));
  ARSEG_LAUNCH(pack_classifier_operands<T>, grid, dim3(CreffTraits::Pack::kThreads), 0, stream, p);
}

// logits += pixels x classifier^T over one chunk, for ROWS times 16 pixels. load(row, part, operands): channels 32 *
// part and the 31 after it of 16 pixels, as left operands.
template <typename T, int CLASSES, ClassOrder ORDER, int ROWS, typename Load>
ARSEG_DEVICE void add_class_logits(const FusedClassifier<T>& a, int chunk, ClassLogits<CLASSES> (&logits)[ROWS],
                                   Load&& load) {
  constexpr int kParts = CreffTraits::Mma::kChannels / 32;
  const int lane = optimization_barrier(static_cast<int>(threadIdx.x)) % 32;
  const uint4* weights =
      reinterpret_cast<const uint4*>(a.weights) + column_place<CLASSES, ORDER>(0, chunk * kParts, lane);
  ARSEG_UNROLL
  for (int part = 0; part < kParts; ++part) {
    uint32_t pixels[ROWS][2][4];
    ARSEG_UNROLL
    for (int row = 0; row < ROWS; ++row) load(row, part, pixels[row]);
    ARSEG_UNROLL
    for (int block = 0; block < CLASSES / 8; ++block) {
      const uint4 four = weights[column_place<CLASSES, ORDER>(block, part, 0)];
      ARSEG_UNROLL
      for (int row = 0; row < ROWS; ++row) {
        mma_m16n8k16<T>(logits[row][block], pixels[row][0], four.x, four.y);
        mma_m16n8k16<T>(logits[row][block], pixels[row][1], four.z, four.w);
      }
    }
  }
}

// The biases of this lane's classes, in transposed order.
template <int CLASSES, typename T>
ARSEG_DEVICE void load_biases(const FusedClassifier<T>& a, int quad_lane, float2 (&biases)[CLASSES / 8]) {
  ARSEG_UNROLL
  for (int block = 0; block < CLASSES / 8; ++block) {
    biases[block] = *reinterpret_cast<const float2*>(a.biases + transposed_class<CLASSES>(block, quad_lane));
  }
}

// The class of the largest logit of a pixel, as torch.argmax chooses it, by a slow and obvious loop. half: 0 for
// pixel g, 1 for g + 8.
template <int CLASSES>
ARSEG_DEVICE int label_of_any(int classes, int half, int quad_lane, const ClassLogits<CLASSES>& logits) {
  float best = 0.0f;
  int label = -1;
  ARSEG_UNROLL
  for (int i = 0; i < CLASSES / 4; ++i) {
    const int k = transposed_class<CLASSES>(i / 2, quad_lane) + i % 2;
    const float logit = logits[i / 2][2 * half + i % 2];
    if (k < classes && (label < 0 || is_chosen_over(logit, best))) {
      best = logit;
      label = k;
    }
  }
  best_of_lanes(best, label, 2);  // the four lanes of a row have its classes
  return label;
}

// Writes the logits of this lane's two pixels, in transposed order, or the classes of the largest. pixel: that of row
// g; below: how many pixels behind it that of row g + 8 is; inside: whether there are such pixels. All lanes call it.
// Where there is no class the logit is that of a bias of -Inf.
template <int CLASSES, typename T>
ARSEG_DEVICE void store_classes(const FusedClassifier<T>& a, int64_t pixel, int below, const bool (&inside)[2],
                                int quad_lane, const ClassLogits<CLASSES>& logits) {
  constexpr int kOwn = CLASSES / 4;
  if (a.logits) {
    ARSEG_UNROLL
    for (int i = 0; i < 2 * kOwn; ++i) {
      const int half = i / kOwn, block = i % kOwn / 2, k = transposed_class<CLASSES>(block, quad_lane) + i % 2;
      T* to = a.logits + (pixel + half * below) * a.classes;
      if (inside[half] && k < a.classes) to[k] = from_float<T>(logits[block][2 * half + i % 2]);
    }
  }
  if (!a.labels) return;
  float largest[2];
  int label[2];
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    const auto logit = [&](int i) { return logits[i / 2][2 * half + i % 2]; };
    float& most = largest[half];
    most = logit(0);
    ARSEG_UNROLL
    for (int i = 1; i < kOwn; ++i) most = max_or_nan(most, logit(i));
    most = max_or_nan(most, __shfl_xor_sync(kAllLanes, most, 1));
    most = max_or_nan(most, __shfl_xor_sync(kAllLanes, most, 2));
    int& first = label[half];
    first = CLASSES;  // the lane has none of the largest
    ARSEG_UNROLL
    for (int i = kOwn - 1; i >= 0; --i) {
      if (logit(i) == most) first = transposed_class<CLASSES>(i / 2, 0) + i % 2;
    }
    first += transposed_class<CLASSES>(0, quad_lane);
    first = min(first, __shfl_xor_sync(kAllLanes, first, 1));
    first = min(first, __shfl_xor_sync(kAllLanes, first, 2));
  }
  // NaN, which may be that of a column without a class: 0 times Inf.
  if (__any_sync(kAllLanes, largest[0] != largest[0] || largest[1] != largest[1])) {
    ARSEG_UNROLL
    for (int half = 0; half < 2; ++half) label[half] = label_of_any<CLASSES>(a.classes, half, quad_lane, logits);
  }
  ARSEG_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (inside[half] && quad_lane == 0) a.labels[pixel + half * below] = static_cast<uint8_t>(label[half]);
  }
}

}  // namespace arseg::gpu
