// The gradients of the fusion's depthwise convolutions on CUDA: checks, memory, and what the kernels are given.

#include <limits>
#include <tuple>

#include "../common/torch_utils.cuh"
#include "backward.cuh"
#include "checks.h"

namespace arseg {
namespace {

struct Convolved {
  const char* grad_name;
  const Tensor& grad;  // [N, C, H, W]
  const char* weight_name;
  const Tensor& weight;  // [C, 1, 3, 3]
  Tensor grad_weight;    // [C, 1, 3, 3]
  Tensor grad_bias;      // [C]
};

Tensor vector_like(const Tensor& map) { return empty(map, {map.size(1)}, map.scalar_type()); }
Tensor weight_like(const Tensor& map) { return empty(map, {map.size(1), 1, 3, 3}, map.scalar_type()); }

// `direct` and `grad_map` may be null.
template <int Convolutions>
void depthwise_backward(const char* op, const char* map_name, const Tensor& map, Convolved (&all)[Convolutions],
                        const Tensor* direct, Tensor* grad_map) {
  check_map_of_gradient(op, map_name, map);
  for (const Convolved& each : all) {
    check_gradient_like(op, each.grad_name, each.grad, map_name, map);
    check_depthwise_weight(op, each.weight_name, each.weight, map_name, map);
  }
  if (direct) check_gradient_like(op, "grad_upsampled", *direct, map_name, map);
  for (Convolved& each : all) {
    each.grad_weight = weight_like(map);
    each.grad_bias = vector_like(map);
  }
  if (grad_map) *grad_map = empty_like_map(map);
  const int64_t pixels = map.size(2) * map.size(3);
  for (const int64_t size : {map.size(1), map.size(2), map.size(3), pixels}) {
    check(size <= 1 << 30, op, ": a size of ", size, " is too large for CUDA");
  }
  const DeviceGuard device(map);
  if (map.size(0) * map.size(1) * pixels == 0) {
    for (Convolved& each : all) {
      torch::stable::zero_(each.grad_weight);
      torch::stable::zero_(each.grad_bias);
    }
    return;
  }
  const int64_t channels = padded_channels(map.size(1), map.scalar_type());
  const Tensor maps = dense_channels_last(map, channels);
  Tensor grads[Convolutions], directs, buffer;
  for (int i = 0; i < Convolutions; ++i) grads[i] = dense_channels_last(all[i].grad, channels);
  if (direct) directs = dense_channels_last(*direct, channels);
  if (grad_map) buffer = result_buffer(*grad_map, channels);
  dispatch_device(map.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = gpu::accumulator<T>;
    gpu::DepthwiseBackwardParams<T> a{};
    a.batch = map.size(0);
    a.height = static_cast<int>(map.size(2));
    a.width = static_cast<int>(map.size(3));
    a.channels = static_cast<int>(channels);
    a.own_channels = static_cast<int>(map.size(1));
    a.units = gpu::depthwise_units<T>(a.channels);
    a.map = data_of<T>(maps);
    a.direct = direct ? data_of<T>(directs) : nullptr;
    a.grad_map = grad_map ? mutable_data_of<T>(buffer) : nullptr;
    for (int i = 0; i < Convolutions; ++i) {
      auto& to = a.convolution[i];
      to.grad = data_of<T>(grads[i]);
      to.weight = data_of<T>(all[i].weight);
      const int64_t strides[3] = {all[i].weight.stride(0), all[i].weight.stride(2), all[i].weight.stride(3)};
      std::copy(strides, strides + 3, to.stride);
      to.grad_weight = mutable_data_of<T>(all[i].grad_weight);
      to.grad_bias = mutable_data_of<T>(all[i].grad_bias);
    }
    const int64_t rows = int64_t{gpu::DepthwiseTiling<T>(a).blocks()} * Convolutions * gpu::kRowsOfSums;
    Tensor sums = empty(map, {rows * channels}, accumulator_dtype(map.scalar_type()));
    a.sums = mutable_data_of<A>(sums);
    gpu::launch_depthwise_backward<T, Convolutions>(a, device.stream());
  });
  if (grad_map) finish_result(*grad_map, buffer);
}

std::tuple<Tensor, Tensor, Tensor> queries_backward(const Tensor& grad_upsampled, const Tensor& grad_query,
                                                    const Tensor& upsampled, const Tensor& query_weight) {
  Convolved of[1] = {{"grad_query", grad_query, "query_weight", query_weight, {}, {}}};
  Tensor grad;
  depthwise_backward("_queries_backward", "upsampled", upsampled, of, &grad_upsampled, &grad);
  return {grad, of[0].grad_weight, of[0].grad_bias};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> keys_values_backward(const Tensor& grad_key,
                                                                        const Tensor& grad_value, const Tensor& warped,
                                                                        const Tensor& key_weight,
                                                                        const Tensor& value_weight, bool wants_warped) {
  Convolved of[2] = {{"grad_key", grad_key, "key_weight", key_weight, {}, {}},
                     {"grad_value", grad_value, "value_weight", value_weight, {}, {}}};
  Tensor grad;
  depthwise_backward("_keys_values_backward", "warped", warped, of, nullptr, wants_warped ? &grad : nullptr);
  if (!wants_warped) grad = empty(warped, {0, warped.size(1), warped.size(2), warped.size(3)}, warped.scalar_type());
  return {grad, of[0].grad_weight, of[0].grad_bias, of[1].grad_weight, of[1].grad_bias};
}

}  // namespace

ARSEG_CUDA_LIBRARY(m) {
  m.impl("_queries_backward", TORCH_BOX(&queries_backward));
  m.impl("_keys_values_backward", TORCH_BOX(&keys_values_backward));
}

}  // namespace arseg
