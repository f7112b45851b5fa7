// Arguments of the whole fusion, and their checks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../local_attention/checks.h"
#include "../mv_warp/checks.h"

namespace arseg {

inline constexpr const char* kFusionOp = "creff";

struct Convolution {
  const torch::stable::Tensor& weight;  // [C, 1, 3, 3]
  const torch::stable::Tensor& bias;    // [C]
};

struct FusionOptions {
  std::vector<int64_t> window;
  int64_t block;  // 0: motion is a dense flow
  std::vector<int64_t> frame_size;
  std::string grid, outside;
};

inline void check_fusion(const torch::stable::Tensor& reference, const torch::stable::Tensor& low_res,
                         const torch::stable::Tensor& motion, const std::vector<Convolution>& convolutions,
                         const FusionOptions& options) {
  check_map(kFusionOp, "reference", reference);
  check_map(kFusionOp, "low_res", low_res);
  check_same_dtype(kFusionOp, "low_res", low_res, "reference", reference);
  check(low_res.size(0) == reference.size(0) && low_res.size(1) == reference.size(1), kFusionOp,
        ": low_res must have the batch size and channels of reference");
  check(low_res.size(2) > 0 && low_res.size(3) > 0, kFusionOp, ": low_res must not be empty, got shape ",
        shape_text(low_res));
  for (const Convolution& convolution : convolutions) {
    check_same_dtype(kFusionOp, "a convolution's weight", convolution.weight, "reference", reference);
    check_same_dtype(kFusionOp, "a convolution's bias", convolution.bias, "reference", reference);
    check_shape(kFusionOp, "a convolution's weight", convolution.weight, {reference.size(1), 1, 3, 3});
    check_shape(kFusionOp, "a convolution's bias", convolution.bias, {reference.size(1)});
  }
  if (options.block) {
    check_motion(kFusionOp, "reference", reference, motion, options.block, options.frame_size);
  } else {
    check_flow(kFusionOp, reference, motion);
  }
}

inline void check_fusion_classifier(int64_t channels, torch::headeronly::ScalarType dtype, const int64_t (&low_res)[4],
                                    const torch::stable::Tensor& classifier,
                                    const torch::stable::Tensor& low_res_logits) {
  check_dims(kFusionOp, "classifier", classifier, 2, "[K, C]");
  check_same_dtype(kFusionOp, "classifier", classifier, "low_res_logits", low_res_logits);
  check_shape(kFusionOp, "low_res_logits", low_res_logits, {low_res[0], classifier.size(0), low_res[2], low_res[3]});
  check(classifier.size(1) == channels && classifier.scalar_type() == dtype, kFusionOp,
        ": classifier must have the channels and dtype of reference");
}

inline void check_fusion_out(const torch::stable::Tensor& reference, const torch::stable::Tensor& out) {
  check_same_dtype(kFusionOp, "out", out, "reference", reference);
  check_shape(kFusionOp, "out", out, {reference.size(0), reference.size(1), reference.size(2), reference.size(3)});
}

inline void check_fusion_labels(int64_t classes) {
  check(classes >= 1 && classes <= 256, kFusionOp, ": labels need 1 to 256 classes, got ", classes);
}

}  // namespace arseg
