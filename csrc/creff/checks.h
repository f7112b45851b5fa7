// Arguments of the whole fusion, and their checks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../local_attention/checks.h"
#include "../mv_warp/checks.h"

namespace arseg {

struct Convolution {
  const torch::stable::Tensor& weight;  // [C, 1, 3, 3]
  const torch::stable::Tensor& bias;    // [C]
};

struct FusionInputs {
  const torch::stable::Tensor& reference;  // [N, C, H, W]
  const torch::stable::Tensor& low_res;    // [N, C, h, w]
  const torch::stable::Tensor& motion;     // [N, Hb, Wb, 2] int16, or [N, H, W, 2] floating
  Convolution query, key, value;
};

struct FusionOptions {
  Window window;
  bool dense;  // motion is a flow: block and frame_size mean nothing
  int64_t block;
  std::vector<int64_t> frame_size;
  Grid grid;
  Outside outside;
  bool allow_tf32;
};

// The checks of every argument, in the order of arseg_ext/_composite.py.
inline FusionOptions checked_fusion(const char* op, const FusionInputs& in, const std::vector<int64_t>& window,
                                    const std::optional<int64_t>& block,
                                    const std::optional<std::vector<int64_t>>& frame_size, const std::string& grid,
                                    const std::string& outside, bool allow_tf32) {
  check_map(op, "reference", in.reference);
  check_map(op, "low_res", in.low_res);
  check_same_device(op, "low_res", in.low_res, "reference", in.reference);
  check_same_dtype(op, "low_res", in.low_res, "reference", in.reference);
  const std::array<int64_t, 2> expected = {in.reference.size(0), in.reference.size(1)};
  const std::array<int64_t, 2> got = {in.low_res.size(0), in.low_res.size(1)};
  require<Message::batch_and_channels>(got == expected, op, "low_res", "reference", expected, got);
  require<Message::not_empty>(in.reference.size(1) > 0 && in.reference.size(2) > 0 && in.reference.size(3) > 0, op,
                              "reference", in.reference);
  require<Message::not_empty>(in.low_res.size(2) > 0 && in.low_res.size(3) > 0, op, "low_res", in.low_res);
  const auto check_parameter = [&](const char* name, const torch::stable::Tensor& tensor,
                                   std::initializer_list<int64_t> shape) {
    check_same_device(op, name, tensor, "reference", in.reference);
    check_shape(op, name, tensor, shape);
    check_same_dtype(op, name, tensor, "reference", in.reference);
  };
  const int64_t channels = in.reference.size(1);
  check_parameter("query_weight", in.query.weight, {channels, 1, 3, 3});
  check_parameter("query_bias", in.query.bias, {channels});
  check_parameter("key_weight", in.key.weight, {channels, 1, 3, 3});
  check_parameter("key_bias", in.key.bias, {channels});
  check_parameter("value_weight", in.value.weight, {channels, 1, 3, 3});
  check_parameter("value_bias", in.value.bias, {channels});
  FusionOptions options;
  options.allow_tf32 = allow_tf32;
  options.window = parse_window(op, window);
  options.outside = parse_outside(op, outside);
  options.dense = is_floating(in.motion.scalar_type());
  if (options.dense) {
    require<Message::field_options>(!block && !frame_size, op, in.motion.scalar_type());
    check_flow(op, "reference", in.reference, in.motion);
  } else {
    const bool both = block && frame_size;
    if (!both) require<Message::no_field_options>(false, op, text_or_none(block), text_or_none(frame_size));
    options.block = *block;
    options.frame_size = *frame_size;
    check_motion(op, "reference", in.reference, in.motion, *block, *frame_size);
  }
  options.grid = parse_grid(op, grid);
  return options;
}

// weight: [K, C] or [K, C, 1, 1], bias: [K]
inline void check_fusion_classifier(const char* op, const torch::stable::Tensor& reference,
                                    const torch::stable::Tensor& weight, const torch::stable::Tensor& bias,
                                    bool labels) {
  const int64_t channels = reference.size(1), dims = weight.dim();
  const bool good = (dims == 2 || (dims == 4 && weight.size(2) == 1 && weight.size(3) == 1)) && weight.size(0) >= 1 &&
                    weight.size(1) == channels;
  require<Message::classifier>(good, op, channels, channels, weight);
  const int64_t classes = weight.size(0);
  require<Message::max_classes>(!labels || classes <= 256, op, "classifier_weight", 256, classes);
  check_shape(op, "classifier_bias", bias, {classes});
  check_same_device(op, "classifier_weight", weight, "reference", reference);
  check_same_dtype(op, "classifier_weight", weight, "reference", reference);
  check_same_device(op, "classifier_bias", bias, "reference", reference);
  check_same_dtype(op, "classifier_bias", bias, "reference", reference);
}

inline void check_fusion_out(const torch::stable::Tensor& reference, const torch::stable::Tensor& out) {
  constexpr const char* op = "creff";
  check_same_device(op, "out", out, "reference", reference);
  check_same_dtype(op, "out", out, "reference", reference);
  check_shape(op, "out", out, {reference.size(0), reference.size(1), reference.size(2), reference.size(3)});
}

}  // namespace arseg
