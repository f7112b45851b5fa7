// Arguments of the whole fusion, and their checks.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "../local_attention/checks.h"
#include "../mv_warp/checks.h"

namespace arseg {

// Names for errors: the functions of arseg_ext/ops.py.
inline constexpr const char* kFusionOp = "creff";

inline const char* classified_op(bool labels) { return labels ? "creff_labels" : "creff_logits"; }

struct Convolution {
  const torch::stable::Tensor& weight;  // [C, 1, 3, 3]
  const torch::stable::Tensor& bias;    // [C]
};

// By their place among the three convolutions.
inline constexpr const char* kWeightNames[] = {"query_weight", "key_weight", "value_weight"};
inline constexpr const char* kBiasNames[] = {"query_bias", "key_bias", "value_bias"};

struct FusionOptions {
  std::vector<int64_t> window;
  int64_t block;  // 0: motion is a dense flow
  std::vector<int64_t> frame_size;
  std::string grid, outside;
};

inline void check_fusion(const char* op, const torch::stable::Tensor& reference, const torch::stable::Tensor& low_res,
                         const torch::stable::Tensor& motion, const std::vector<Convolution>& convolutions,
                         const FusionOptions& options) {
  check_map(op, "reference", reference);
  check_map(op, "low_res", low_res);
  check_same_dtype(op, "low_res", low_res, "reference", reference);
  const std::array<int64_t, 2> expected = {reference.size(0), reference.size(1)};
  const std::array<int64_t, 2> got = {low_res.size(0), low_res.size(1)};
  require<Message::batch_and_channels>(got == expected, op, "low_res", "reference", expected, got);
  require<Message::not_empty>(low_res.size(2) > 0 && low_res.size(3) > 0, op, "low_res", low_res);
  for (size_t i = 0; i < convolutions.size(); ++i) {
    check_shape(op, kWeightNames[i], convolutions[i].weight, {reference.size(1), 1, 3, 3});
    check_same_dtype(op, kWeightNames[i], convolutions[i].weight, "reference", reference);
    check_shape(op, kBiasNames[i], convolutions[i].bias, {reference.size(1)});
    check_same_dtype(op, kBiasNames[i], convolutions[i].bias, "reference", reference);
  }
  if (options.block) {
    check_motion(op, "reference", reference, motion, options.block, options.frame_size);
  } else {
    check_flow(op, reference, motion);
  }
}

// classifier: [K, C], bias: [K], low_res_logits: [N, K, h, w]
inline void check_fusion_classifier(const char* op, const torch::stable::Tensor& reference,
                                    const torch::stable::Tensor& low_res, const torch::stable::Tensor& classifier,
                                    const torch::stable::Tensor& bias, const torch::stable::Tensor& low_res_logits,
                                    bool labels) {
  check_dims(op, "classifier", classifier, 2, "[K, C]");
  check_shape(op, "classifier", classifier, {classifier.size(0), reference.size(1)});
  require<Message::no_class>(classifier.size(0) >= 1, op, "classifier", classifier.size(0));
  require<Message::max_classes>(!labels || classifier.size(0) <= 256, op, "classifier", 256, classifier.size(0));
  check_same_dtype(op, "classifier", classifier, "reference", reference);
  check_shape(op, "bias", bias, {classifier.size(0)});
  check_same_dtype(op, "bias", bias, "reference", reference);
  check_shape(op, "low_res_logits", low_res_logits,
              {low_res.size(0), classifier.size(0), low_res.size(2), low_res.size(3)});
  check_same_dtype(op, "low_res_logits", low_res_logits, "reference", reference);
}

inline void check_fusion_out(const torch::stable::Tensor& reference, const torch::stable::Tensor& out) {
  check_same_dtype(kFusionOp, "out", out, "reference", reference);
  check_shape(kFusionOp, "out", out, {reference.size(0), reference.size(1), reference.size(2), reference.size(3)});
}

}  // namespace arseg
