// The whole fusion on the CPU in one pass, for inference: checks, weights as the kernel wants them, and the tiles of
// csrc/local_attention/tile.h with the loader of csrc/creff/kv_loader.h.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <memory>
#include <string>
#include <vector>

#include "../common/dispatch.h"
#include "../cpu/capability.h"
#include "../cpu/tensors.h"
#include "../cpu/tiles.h"
#include "../mv_warp/motion_params.h"
#include "checks.h"
#include "params.h"

namespace arseg {
namespace {

// A matrix of A in memory that starts with a cache line, filled with 0.
template <typename A>
Tensor zero_matrix(int64_t rows, int64_t columns, ScalarType dtype) {
  Tensor matrix = torch::stable::empty({rows, columns}, dtype);
  A* data = static_cast<A*>(matrix.mutable_data_ptr());
  std::fill(data, data + rows * columns, A(0));
  return matrix;
}

// [9 taps, then the bias][padded channels].
template <typename A, typename T>
Tensor packed_depthwise(const Convolution& convolution, int64_t padded, ScalarType dtype) {
  const int64_t channels = convolution.bias.size(0);
  Tensor packed = zero_matrix<A>(10, padded, dtype);
  A* to = static_cast<A*>(packed.mutable_data_ptr());
  const View4<const T> weight = view4<T>(convolution.weight);
  const T* bias = static_cast<const T*>(convolution.bias.const_data_ptr());
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t tap = 0; tap < 9; ++tap) {
      to[tap * padded + c] = static_cast<A>(*weight.at(c, 0, tap / 3, tap % 3));
    }
    to[9 * padded + c] = static_cast<A>(bias[c * convolution.bias.stride(0)]);
  }
  return packed;
}

// [padded channels][padded classes] of a classifier [K, C].
template <typename A, typename T>
Tensor packed_classifier(const Tensor& classifier, int64_t padded_channels, int64_t padded_classes, ScalarType dtype) {
  Tensor packed = zero_matrix<A>(padded_channels, padded_classes, dtype);
  A* to = static_cast<A*>(packed.mutable_data_ptr());
  const T* from = static_cast<const T*>(classifier.const_data_ptr());
  for (int64_t k = 0; k < classifier.size(0); ++k) {
    for (int64_t c = 0; c < classifier.size(1); ++c) {
      to[c * padded_classes + k] = static_cast<A>(from[k * classifier.stride(0) + c * classifier.stride(1)]);
    }
  }
  return packed;
}

// [padded classes].
template <typename A, typename T>
Tensor packed_bias(const Tensor& bias, int64_t padded_classes, ScalarType dtype) {
  Tensor packed = zero_matrix<A>(1, padded_classes, dtype);
  A* to = static_cast<A*>(packed.mutable_data_ptr());
  const T* from = static_cast<const T*>(bias.const_data_ptr());
  for (int64_t k = 0; k < bias.size(0); ++k) to[k] = static_cast<A>(from[k * bias.stride(0)]);
  return packed;
}

// The parameters and what it points to.
class Fusion {
 public:
  Fusion(const char* op, const Tensor& reference, const Tensor& low_res, const Tensor& motion,
         const std::vector<Convolution>& convolutions, const FusionOptions& options) {
    check_fusion(op, reference, low_res, motion, convolutions, options);
    params_.window = parse_window(op, options.window);
    params_.outside = parse_outside(op, options.outside);
    const Grid grid = parse_grid(op, options.grid);
    motion_ = options.block
                  ? std::make_unique<OwnedMotionParams>(reference, motion, options.block, options.frame_size, grid)
                  : std::make_unique<OwnedMotionParams>(motion, grid);
    const CpuKernels& all = cpu_kernels();
    dtype_ = reference.scalar_type();
    kernels_ = dtype_ == ScalarType::Double                                ? &all.float64
               : dtype_ == ScalarType::BFloat16 && all.bfloat16.lanes != 0 ? &all.bfloat16
                                                                           : &all.float32;
    params_.motion = motion_->params();
    params_.reference = map_of(keep(contiguous_channels_last(reference)));
    params_.low_res = map_of(keep(contiguous_channels_last(low_res)));
    params_.padded_channels = round_up(std::max<int64_t>(1, reference.size(1)), kernels_->block_channels);
    params_.query_weights = packed(convolutions[0]);
    params_.key_weights = packed(convolutions[1]);
    params_.value_weights = packed(convolutions[2]);
  }

  // Projects values to classes before they are summed; low_res_logits is what the classifier makes of low_res, without
  // its bias.
  void classify(const Tensor& classifier, const Tensor& bias, const Tensor& low_res_logits) {
    const int64_t classes = classifier.size(0);
    params_.low_res_logits = map_of(keep(contiguous_channels_last(low_res_logits)));
    const int64_t padded = round_up(classes, kernels_->lanes);
    dispatch_floating(dtype_, [&](auto tag) {
      using T = decltype(tag);
      using A = accumulator<T>;
      params_.classifier =
          keep(packed_classifier<A, T>(classifier, params_.padded_channels, padded, accumulator_dtype(dtype_)))
              .const_data_ptr();
      params_.classifier_bias = keep(packed_bias<A, T>(bias, padded, accumulator_dtype(dtype_))).const_data_ptr();
    });
  }

  void run(const Map& out, uint8_t* labels) {
    params_.out = out;
    params_.labels = labels;
    if (!labels) set_direct(params_, *kernels_);
    run_tiles(kernels_->fusion, params_, *kernels_, out.size[0], out.size[2], out.size[3]);
  }

 private:
  const Tensor& keep(Tensor tensor) {
    kept_.push_back(std::make_unique<Tensor>(std::move(tensor)));
    return *kept_.back();
  }

  const void* packed(const Convolution& convolution) {
    const void* data = nullptr;
    dispatch_floating(dtype_, [&](auto tag) {
      using T = decltype(tag);
      data = keep(packed_depthwise<accumulator<T>, T>(convolution, params_.padded_channels, accumulator_dtype(dtype_)))
                 .const_data_ptr();
    });
    return data;
  }

  FusionParams params_;
  const AttentionKernels* kernels_ = nullptr;
  ScalarType dtype_{};
  std::unique_ptr<OwnedMotionParams> motion_;
  std::vector<std::unique_ptr<Tensor>> kept_;
};

Tensor creff(const Tensor& reference, const Tensor& low_res, const Tensor& motion, const Tensor& query_weight,
             const Tensor& query_bias, const Tensor& key_weight, const Tensor& key_bias, const Tensor& value_weight,
             const Tensor& value_bias, std::vector<int64_t> window, int64_t block, std::vector<int64_t> frame_size,
             std::string grid, std::string outside) {
  Fusion fusion(kFusionOp, reference, low_res, motion,
                {{query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}},
                {window, block, frame_size, grid, outside});
  Tensor out = empty_like_map(reference);
  fusion.run(map_of(out), nullptr);
  return out;
}

void creff_into(const Tensor& reference, const Tensor& low_res, const Tensor& motion, const Tensor& query_weight,
                const Tensor& query_bias, const Tensor& key_weight, const Tensor& key_bias, const Tensor& value_weight,
                const Tensor& value_bias, std::vector<int64_t> window, int64_t block, std::vector<int64_t> frame_size,
                std::string grid, std::string outside, Tensor out) {
  Fusion fusion(kFusionOp, reference, low_res, motion,
                {{query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}},
                {window, block, frame_size, grid, outside});
  check_fusion_out(reference, out);
  fusion.run(map_of(out), nullptr);
}

Tensor creff_classified(const Tensor& reference, const Tensor& low_res, const Tensor& low_res_logits,
                        const Tensor& motion, const Tensor& query_weight, const Tensor& query_bias,
                        const Tensor& key_weight, const Tensor& key_bias, const Tensor& value_weight,
                        const Tensor& value_bias, const Tensor& classifier, const Tensor& bias,
                        std::vector<int64_t> window, int64_t block, std::vector<int64_t> frame_size, std::string grid,
                        std::string outside, bool labels) {
  const char* op = classified_op(labels);
  Fusion fusion(op, reference, low_res, motion,
                {{query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}},
                {window, block, frame_size, grid, outside});
  check_fusion_classifier(op, reference, low_res, classifier, bias, low_res_logits, labels);
  fusion.classify(classifier, bias, low_res_logits);
  const int64_t classes = classifier.size(0);
  if (!labels) {
    Tensor out = empty_map(reference, {reference.size(0), classes, reference.size(2), reference.size(3)});
    fusion.run(map_of(out), nullptr);
    return out;
  }
  Tensor out = torch::stable::empty({reference.size(0), reference.size(2), reference.size(3)}, ScalarType::Byte);
  Map shape;
  shape.element = element_of(reference);
  shape.size[0] = reference.size(0);
  shape.size[1] = classes;
  shape.size[2] = reference.size(2);
  shape.size[3] = reference.size(3);
  fusion.run(shape, static_cast<uint8_t*>(out.mutable_data_ptr()));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) {
  m.impl("_creff", TORCH_BOX(&creff));
  m.impl("_creff_into", TORCH_BOX(&creff_into));
  m.impl("_creff_classified", TORCH_BOX(&creff_classified));
}

}  // namespace arseg
