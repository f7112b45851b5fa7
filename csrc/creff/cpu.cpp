// The whole fusion on the CPU in one pass, for inference: weights as the kernel wants them, and the tiles of
// csrc/local_attention/tile.h with the loader of csrc/creff/kv_loader.h.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "../common/dispatch.h"
#include "../cpu/capability.h"
#include "../cpu/tensors.h"
#include "../cpu/tiles.h"
#include "../mv_warp/motion_params.h"
#include "operators.h"
#include "params.h"

namespace arseg {
namespace {

// Memory for the five matrices that the kernel is given, freed with it. A few KB of them lie in it itself.
class Arena {
 public:
  // A matrix of A that starts with a cache line, filled with 0.
  template <typename A>
  A* zero_matrix(int64_t rows, int64_t columns) {
    const size_t bytes = static_cast<size_t>(round_up(rows * columns * static_cast<int64_t>(sizeof(A)), kCacheLine));
    std::byte* memory = near_ + used_;
    if (bytes <= sizeof(near_) - used_) {
      used_ += bytes;
    } else {
      memory = new (std::align_val_t(kCacheLine)) std::byte[bytes];
      far_.at(count_++).reset(memory);
    }
    std::memset(memory, 0, bytes);
    return reinterpret_cast<A*>(memory);
  }

 private:
  static constexpr int64_t kCacheLine = 64;
  struct Free {
    void operator()(std::byte* memory) const { operator delete[](memory, std::align_val_t(kCacheLine)); }
  };
  alignas(kCacheLine) std::byte near_[4096];
  size_t used_ = 0;
  std::array<std::unique_ptr<std::byte[], Free>, 5> far_;
  size_t count_ = 0;
};

// [9 taps, then the bias][padded channels].
template <typename A, typename T>
const A* packed_depthwise(const Tensor& weight, const Tensor& bias, int64_t padded, Arena& arena) {
  const int64_t channels = bias.size(0);
  A* to = arena.zero_matrix<A>(10, padded);
  const View4<const T> taps = view4<T>(weight);
  const T* biases = static_cast<const T*>(bias.const_data_ptr());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      to[tap * padded + c] = static_cast<A>(*taps.at(c, 0, tap / 3, tap % 3));
    }
    to[9 * padded + c] = static_cast<A>(biases[c * bias.stride(0)]);
  }
  return to;
}

// [padded channels][padded classes] of a classifier [K, C].
template <typename A, typename T>
const A* packed_classifier(const Tensor& classifier, int64_t padded_channels, int64_t padded_classes, Arena& arena) {
  A* to = arena.zero_matrix<A>(padded_channels, padded_classes);
  const T* from = static_cast<const T*>(classifier.const_data_ptr());
  for (int64_t k = 0; k < classifier.size(0); ++k) {
    for (int64_t c = 0; c < classifier.size(1); ++c) {
      to[c * padded_classes + k] = static_cast<A>(from[k * classifier.stride(0) + c * classifier.stride(1)]);
    }
  }
  return to;
}

// [padded classes].
template <typename A, typename T>
const A* packed_bias(const Tensor& bias, int64_t padded_classes, Arena& arena) {
  A* to = arena.zero_matrix<A>(1, padded_classes);
  const T* from = static_cast<const T*>(bias.const_data_ptr());
  for (int64_t k = 0; k < bias.size(0); ++k) to[k] = static_cast<A>(from[k * bias.stride(0)]);
  return to;
}

// low_res_logits (operators.h) of few numbers: calling a matrix product takes longer than computing it.
Tensor few_logits(const Tensor& low_res, const Tensor& classifier) {
  const int64_t classes = classifier.size(0), pixels = low_res.size(0) * low_res.size(2) * low_res.size(3);
  Tensor logits = empty(low_res, {pixels, classes}, low_res.scalar_type());
  dispatch_floating(low_res.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const View4<const T> from = view4<T>(low_res);
    const T* weights = static_cast<const T*>(classifier.const_data_ptr());
    const int64_t class_step = classifier.stride(0), channel_step = classifier.stride(1);
    T* to = static_cast<T*>(logits.mutable_data_ptr());
    for (int64_t i = 0; i < pixels * classes; ++i) {
      const int64_t k = i % classes, x = i / classes % from.size[3], y = i / classes / from.size[3];
      accumulator<T> sum = 0;
      for (int64_t c = 0; c < from.size[1]; ++c) {
        sum += static_cast<accumulator<T>>(*from.at(y / from.size[2], c, y % from.size[2], x)) *
               static_cast<accumulator<T>>(weights[k * class_step + c * channel_step]);
      }
      to[i] = static_cast<T>(sum);
    }
  });
  return logits;
}

// [N * H * W, C] as the map [N, C, H, W] of the size of `like`.
Map map_of_pixels(const Tensor& pixels, const Map& like) {
  const int64_t channels = pixels.size(1);
  Map map;
  map.data = const_cast<void*>(pixels.const_data_ptr());
  map.element = element_of(pixels);
  const int64_t sizes[4] = {like.size[0], channels, like.size[2], like.size[3]};
  const int64_t strides[4] = {like.size[2] * like.size[3] * channels, 1, like.size[3] * channels, channels};
  std::copy(sizes, sizes + 4, map.size);
  std::copy(strides, strides + 4, map.stride);
  return map;
}

// The parameters and what it points to.
class Fusion {
 public:
  Fusion(const char*, const FusionInputs& in, const FusionOptions& options) {
    params_.window = options.window;
    params_.outside = options.outside;
    if (options.dense) {
      motion_.emplace(in.motion, options.grid);
    } else {
      motion_.emplace(in.reference, in.motion, options.block, options.frame_size, options.grid);
    }
    const CpuKernels& all = cpu_kernels();
    dtype_ = in.reference.scalar_type();
    kernels_ = dtype_ == ScalarType::Double                                ? &all.float64
               : dtype_ == ScalarType::BFloat16 && all.bfloat16.lanes != 0 ? &all.bfloat16
                                                                           : &all.float32;
    params_.motion = motion_->params();
    params_.reference = map_of(reference_.emplace(contiguous_channels_last(in.reference)));
    params_.low_res = map_of(low_res_.emplace(contiguous_channels_last(in.low_res)));
    params_.padded_channels = round_up(std::max<int64_t>(1, in.reference.size(1)), kernels_->block_channels);
    written_ = params_.padded_channels;
    params_.query_weights = packed(in.query.weight, in.query.bias);
    params_.key_weights = packed(in.key.weight, in.key.bias);
    params_.value_weights = packed(in.value.weight, in.value.bias);
  }

  void features(Tensor& out) { run(map_of(out), nullptr); }

  // Projects values to classes before they are summed.
  void classify(const Tensor& classifier, const Tensor& bias, Tensor* logits, Tensor* labels) {
    const int64_t classes = classifier.size(0);
    const Map& low = params_.low_res;
    const bool few = low.size[0] * low.size[1] * low.size[2] * low.size[3] * classes <= kFewProducts;
    low_logits_ = few ? few_logits(*low_res_, classifier) : low_res_logits(*low_res_, classifier);
    params_.low_res_logits = map_of_pixels(*low_logits_, low);
    const int64_t padded = written_ = round_up(classes, kernels_->lanes);
    dispatch_floating(dtype_, [&](auto tag) {
      using T = decltype(tag);
      using A = accumulator<T>;
      params_.classifier = packed_classifier<A, T>(classifier, params_.padded_channels, padded, arena_);
      params_.classifier_bias = packed_bias<A, T>(bias, padded, arena_);
    });
    if (logits) return run(map_of(*logits), nullptr);
    Map shape = params_.reference;  // of the logits that are not made
    shape.size[1] = classes;
    run(shape, static_cast<uint8_t*>(labels->mutable_data_ptr()));
  }

 private:
  static constexpr int64_t kFewProducts = 1024;

  void run(const Map& out, uint8_t* labels) {
    params_.out = out;
    params_.labels = labels;
    if (!labels) set_direct(params_, *kernels_, written_);
    run_tiles(kernels_->fusion, params_, *kernels_, out.size[0], out.size[2], out.size[3]);
  }

  const void* packed(const Tensor& weight, const Tensor& bias) {
    const void* data = nullptr;
    dispatch_floating(dtype_, [&](auto tag) {
      using T = decltype(tag);
      data = packed_depthwise<accumulator<T>, T>(weight, bias, params_.padded_channels, arena_);
    });
    return data;
  }

  FusionParams params_;
  int64_t written_ = 0;  // channels of a pixel, with padding
  const AttentionKernels* kernels_ = nullptr;
  ScalarType dtype_{};
  std::optional<OwnedMotionParams> motion_;
  Arena arena_;
  std::optional<Tensor> reference_, low_res_, low_logits_;
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) { ARSEG_IMPL_CREFF(m, Fusion); }

}  // namespace arseg
