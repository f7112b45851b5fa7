// creff, creff_logits and creff_labels, for a device whose Fusion computes them: checks, results, and what both devices
// do alike.
#pragma once

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../cpu/tensors.h"
#include "checks.h"

namespace arseg {

// What the classifier makes of low_res, without its bias: [N * h * w, K]. It is linear, so it may come before the
// upsampling, where it is cheaper. As a matrix product: cuDNN's convolutions of float32 are TF32 unless told otherwise.
inline Tensor low_res_logits(const Tensor& low_res, const Tensor& classifier) {
  const int64_t channels = low_res.size(1), classes = classifier.size(0);
  const int64_t pixels = low_res.size(0) * low_res.size(2) * low_res.size(3);
  const Tensor dense = is_dense_channels_last(low_res)
                           ? low_res
                           : torch::stable::contiguous(low_res, torch::headeronly::MemoryFormat::ChannelsLast);
  const Tensor features = view(dense, {pixels, channels}, {channels, 1});
  const Tensor weights = view(classifier, {channels, classes}, {classifier.stride(1), classifier.stride(0)});
  Tensor logits = empty(low_res, {pixels, classes}, low_res.scalar_type());
#if !defined(__CUDACC__)
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mm_out(logits.get(), features.get(), weights.get()));
#else
  std::array<StableIValue, 3> stack{torch::stable::detail::from(features), torch::stable::detail::from(weights),
                                    torch::stable::detail::from(logits)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // the same memory: given back
#endif
  return logits;
}

// A Fusion is made of checked arguments: Fusion(op, inputs, options). It has
//   void features(Tensor& out)
//   void classify(const Tensor& classifier, const Tensor& bias, Tensor* logits, Tensor* labels)  one of the two is null
template <typename Fusion>
struct CreffOperators {
  using Ints = std::vector<int64_t>;
  using Block = std::optional<int64_t>;
  using FrameSize = std::optional<Ints>;

  static Tensor creff(const Tensor& reference, const Tensor& low_res, const Tensor& motion, const Tensor& query_weight,
                      const Tensor& query_bias, const Tensor& key_weight, const Tensor& key_bias,
                      const Tensor& value_weight, const Tensor& value_bias, Ints window, Block block,
                      FrameSize frame_size, std::string grid, std::string outside, bool allow_tf32) {
    const FusionInputs inputs{
        reference, low_res, motion, {query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}};
    const FusionOptions options = checked_fusion("creff", inputs, window, block, frame_size, grid, outside, allow_tf32);
    Tensor out = empty_like_map(reference);
    Fusion("creff", inputs, options).features(out);
    return out;
  }

  static void creff_into(const Tensor& reference, const Tensor& low_res, const Tensor& motion,
                         const Tensor& query_weight, const Tensor& query_bias, const Tensor& key_weight,
                         const Tensor& key_bias, const Tensor& value_weight, const Tensor& value_bias, Ints window,
                         Block block, FrameSize frame_size, std::string grid, std::string outside, bool allow_tf32,
                         Tensor out) {
    const FusionInputs inputs{
        reference, low_res, motion, {query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}};
    const FusionOptions options = checked_fusion("creff", inputs, window, block, frame_size, grid, outside, allow_tf32);
    check_fusion_out(reference, out);
    Fusion("creff", inputs, options).features(out);
  }

  template <bool labels>
  static Tensor classified(const Tensor& reference, const Tensor& low_res, const Tensor& motion,
                           const Tensor& query_weight, const Tensor& query_bias, const Tensor& key_weight,
                           const Tensor& key_bias, const Tensor& value_weight, const Tensor& value_bias,
                           const Tensor& classifier_weight, const Tensor& classifier_bias, Ints window, Block block,
                           FrameSize frame_size, std::string grid, std::string outside, bool allow_tf32) {
    constexpr const char* op = labels ? "creff_labels" : "creff_logits";
    const FusionInputs inputs{
        reference, low_res, motion, {query_weight, query_bias}, {key_weight, key_bias}, {value_weight, value_bias}};
    const FusionOptions options = checked_fusion(op, inputs, window, block, frame_size, grid, outside, allow_tf32);
    check_fusion_classifier(op, reference, classifier_weight, classifier_bias, labels);
    const Tensor classifier =
        classifier_weight.dim() == 2 ? classifier_weight : torch::stable::flatten(classifier_weight, 1, 3);
    Fusion fusion(op, inputs, options);
    const int64_t batch = reference.size(0), height = reference.size(2), width = reference.size(3);
    Tensor out = labels ? empty(reference, {batch, height, width}, ScalarType::Byte)
                        : empty_map(reference, {batch, classifier.size(0), height, width});
    fusion.classify(classifier, classifier_bias, labels ? nullptr : &out, labels ? &out : nullptr);
    return out;
  }
};

}  // namespace arseg

// m.impl of all of them.
#define ARSEG_IMPL_CREFF(m, Fusion)                                              \
  m.impl("creff", TORCH_BOX(&CreffOperators<Fusion>::creff));                    \
  m.impl("_creff_into", TORCH_BOX(&CreffOperators<Fusion>::creff_into));         \
  m.impl("creff_logits", TORCH_BOX(&CreffOperators<Fusion>::classified<false>)); \
  m.impl("creff_labels", TORCH_BOX(&CreffOperators<Fusion>::classified<true>))
