// The warps on CUDA: checks, memory, and what the kernels are given.

#include <limits>
#include <string>
#include <vector>

#include "../common/torch_utils.cuh"
#include "backward_feature.cuh"
#include "backward_flow.cuh"
#include "checks.h"
#include "motion_params.h"

namespace arseg {
namespace {

bool is_empty(const Tensor& map) { return map.size(0) * map.size(1) * map.size(2) * map.size(3) == 0; }

template <typename T>
gpu::WarpParams<T> params(const Images& from, Tensor& to, int64_t channels, const gpu::MotionParams& motion) {
  return {data_of<T>(from.map), from.stride, mutable_data_of<T>(to), to.size(0), static_cast<int>(channels), motion};
}

// Kernels count a map's pixels in 32 bits.
void check_pixels(const char* op, const Tensor& map) {
  const int64_t pixels = map.size(2) * map.size(3);
  check(pixels <= std::numeric_limits<int32_t>::max(), op, ": a map of ", map.size(2), " x ", map.size(3),
        " is too large for CUDA");
}

Tensor warp(const char* op, const Tensor& feature, const gpu::MotionParams& motion) {
  check_pixels(op, feature);
  Tensor out = empty_like_map(feature);
  if (is_empty(out)) return out;
  const DeviceGuard device(feature);
  const int64_t channels = padded_channels(feature.size(1), feature.scalar_type());
  const Images source = dense_images(feature, channels);
  Tensor buffer = result_buffer(out, channels);
  dispatch_device(feature.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    gpu::launch_warp(params<T>(source, buffer, channels, motion), device.stream());
  });
  finish_result(out, buffer);
  return out;
}

Tensor warp_backward_feature(const char* op, const Tensor& grad, const gpu::MotionParams& motion) {
  Tensor out = empty_like_map(grad);
  if (is_empty(out)) return out;
  const DeviceGuard device(grad);
  const int64_t pixels = grad.size(2) * grad.size(3);
  check(4 * pixels <= std::numeric_limits<int32_t>::max(), op, ": a map of ", grad.size(2), " x ", grad.size(3),
        " is too large for a gradient on CUDA");
  const int64_t channels = padded_channels(grad.size(1), grad.scalar_type());
  const Images source = dense_images(grad, channels);
  Tensor buffer = result_buffer(out, channels);
  const gpu::FeatureGradientMemory memory(grad.size(0), pixels, channels);
  Tensor words = empty(grad, {memory.words}, ScalarType::Int);
  Tensor minus_ones = torch::stable::narrow(words, 0, 0, memory.minus_ones);
  torch::stable::fill_(minus_ones, -1.0);
  Tensor sums = empty(grad, {memory.weights + memory.partial}, accumulator_dtype(grad.scalar_type()));
  dispatch_device(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    gpu::launch_warp_backward(params<T>(source, buffer, channels, motion), mutable_data_of<int32_t>(words),
                              mutable_data_of<gpu::accumulator<T>>(sums), device.stream());
  });
  finish_result(out, buffer);
  return out;
}

Tensor mv_warp(const Tensor& feature, const Tensor& motion, int64_t block, std::vector<int64_t> frame_size,
               std::string grid) {
  constexpr const char* op = "mv_warp";
  check_map(op, "feature", feature);
  check_motion(op, "feature", feature, motion, block, frame_size);
  return warp(op, feature, gpu::make_motion_params(op, feature, motion, block, frame_size, parse_grid(op, grid)));
}

Tensor mv_warp_backward(const Tensor& grad, const Tensor& motion, int64_t block, std::vector<int64_t> frame_size,
                        std::string grid) {
  constexpr const char* op = "_mv_warp_backward";
  check_map(op, "grad", grad);
  check_motion(op, "grad", grad, motion, block, frame_size);
  return warp_backward_feature(op, grad,
                               gpu::make_motion_params(op, grad, motion, block, frame_size, parse_grid(op, grid)));
}

Tensor flow_warp(const Tensor& feature, const Tensor& flow, std::string grid) {
  constexpr const char* op = "flow_warp";
  check_map(op, "feature", feature);
  check_flow(op, "feature", feature, flow);
  return warp(op, feature, gpu::make_motion_params(op, flow, parse_grid(op, grid)));
}

Tensor flow_warp_backward_feature(const Tensor& grad, const Tensor& flow, std::string grid) {
  constexpr const char* op = "_flow_warp_backward_feature";
  check_map(op, "grad", grad);
  check_flow(op, "grad", grad, flow);
  return warp_backward_feature(op, grad, gpu::make_motion_params(op, flow, parse_grid(op, grid)));
}

Tensor flow_warp_backward_flow(const Tensor& grad, const Tensor& feature, const Tensor& flow, std::string grid) {
  constexpr const char* op = "_flow_warp_backward_flow";
  check_map(op, "feature", feature);
  check_flow(op, "feature", feature, flow);
  check_same_device(op, "grad", grad, "feature", feature);
  check_same_dtype(op, "grad", grad, "feature", feature);
  check_shape(op, "grad", grad, {feature.size(0), feature.size(1), feature.size(2), feature.size(3)});
  check_pixels(op, feature);
  const gpu::MotionParams motion = gpu::make_motion_params(op, flow, parse_grid(op, grid));
  Tensor out = empty(flow, {flow.size(0), flow.size(1), flow.size(2), 2}, flow.scalar_type());
  if (is_empty(feature)) {
    torch::stable::zero_(out);
    return out;
  }
  const DeviceGuard device(feature);
  const int64_t channels = padded_channels(feature.size(1), feature.scalar_type());
  const Images source = dense_images(feature, channels);
  const Tensor grads = dense_channels_last(grad, channels);
  dispatch_device(feature.scalar_type(), [&](auto tag) {
    dispatch_device(flow.scalar_type(), [&](auto flow_tag) {
      using T = decltype(tag);
      using F = decltype(flow_tag);
      gpu::launch_flow_gradient<T, F>({data_of<T>(grads), data_of<T>(source.map), source.stride == 0,
                                       mutable_data_of<F>(out), feature.size(0), static_cast<int>(channels), motion},
                                      device.stream());
    });
  });
  return out;
}

}  // namespace

ARSEG_CUDA_LIBRARY(m) {
  m.impl("mv_warp", TORCH_BOX(&mv_warp));
  m.impl("_mv_warp_backward", TORCH_BOX(&mv_warp_backward));
  m.impl("flow_warp", TORCH_BOX(&flow_warp));
  m.impl("_flow_warp_backward_feature", TORCH_BOX(&flow_warp_backward_feature));
  m.impl("_flow_warp_backward_flow", TORCH_BOX(&flow_warp_backward_flow));
}

}  // namespace arseg
