// Local attention on CUDA: checks, memory, and the kernels of launch.cuh.

#include <string>
#include <tuple>
#include <vector>

#include "../common/torch_utils.cuh"
#include "checks.h"
#include "launch.cuh"

template void arseg::gpu::launch_attention(const AttentionParams<float>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<double>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<arseg::gpu::Half>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<arseg::gpu::BFloat16>&, void*);

namespace arseg {
namespace {

Tensor pixel_map(const Tensor& query) {
  return empty(query, {query.size(0), query.size(2), query.size(3)}, accumulator_dtype(query.scalar_type()));
}

gpu::AttentionShape shape_of(const char* op, const Tensor& query, int64_t channels, int64_t value_channels,
                             const Window& window, Outside outside) {
  for (const int64_t size : {query.size(2), query.size(3), channels, value_channels}) {
    check(size <= 1 << 30, op, ": a size of ", size, " is too large for CUDA");
  }
  return {query.size(0),
          static_cast<int>(query.size(2)),
          static_cast<int>(query.size(3)),
          static_cast<int>(channels),
          static_cast<int>(value_channels),
          static_cast<int>(window.height),
          static_cast<int>(window.width),
          outside == Outside::Masked};
}

// `logsumexp` may be null.
Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const std::vector<int64_t>& window,
              const std::string& outside, double scale, bool allow_tf32, Tensor* logsumexp) {
  constexpr const char* op = "local_attention";
  check_attention(op, query, key, value);
  const Window sides = parse_window(op, window);
  const Outside mode = parse_outside(op, outside);
  Tensor out = empty_map(query, {value.size(0), value.size(1), value.size(2), value.size(3)});
  if (query.size(0) * query.size(2) * query.size(3) == 0) return out;

  const DeviceGuard device(query);
  const int64_t channels = padded_channels(query.size(1), query.scalar_type());
  const int64_t value_channels = padded_channels(value.size(1), query.scalar_type());
  const Tensor queries = dense_channels_last(query, channels);
  const Tensor keys = dense_channels_last(key, channels);
  const Tensor values = dense_channels_last(value, value_channels);
  Tensor buffer = result_buffer(out, value_channels);
  dispatch_device(query.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = gpu::accumulator<T>;
    gpu::launch_attention<T>(
        {shape_of(op, query, channels, value_channels, sides, mode), static_cast<A>(scale), data_of<T>(queries),
         data_of<T>(keys), data_of<T>(values), nullptr, mutable_data_of<T>(buffer),
         logsumexp ? mutable_data_of<A>(*logsumexp) : nullptr, allow_tf32},
        device.stream());
  });
  finish_result(out, buffer);
  return out;
}

Tensor local_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::vector<int64_t> window,
                       std::string outside, double scale, bool allow_tf32) {
  return attend(query, key, value, window, outside, scale, allow_tf32, nullptr);
}

std::tuple<Tensor, Tensor> local_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                                   std::vector<int64_t> window, std::string outside, double scale,
                                                   bool allow_tf32) {
  check_attention("local_attention", query, key, value);
  Tensor logsumexp = pixel_map(query);
  Tensor out = attend(query, key, value, window, outside, scale, allow_tf32, &logsumexp);
  return {out, logsumexp};
}

std::tuple<Tensor, Tensor, Tensor> local_attention_backward(const Tensor& grad, const Tensor& query, const Tensor& key,
                                                            const Tensor& value, const Tensor& logsumexp,
                                                            std::vector<int64_t> window, std::string outside,
                                                            double scale) {
  constexpr const char* op = "_local_attention_backward";
  check_attention_backward(op, grad, query, key, value, logsumexp);
  const Window sides = parse_window(op, window);
  const Outside mode = parse_outside(op, outside);
  Tensor grad_query = empty_like_map(query);
  Tensor grad_key = empty_like_map(key);
  Tensor grad_value = empty_like_map(value);
  if (query.size(0) * query.size(2) * query.size(3) == 0) return {grad_query, grad_key, grad_value};

  const DeviceGuard device(query);
  const int64_t channels = padded_channels(query.size(1), query.scalar_type());
  const int64_t value_channels = padded_channels(value.size(1), query.scalar_type());
  const Tensor grads = dense_channels_last(grad, value_channels);
  const Tensor queries = dense_channels_last(query, channels);
  const Tensor keys = dense_channels_last(key, channels);
  const Tensor values = dense_channels_last(value, value_channels);
  const Tensor sums = torch::stable::contiguous(logsumexp);
  Tensor delta = pixel_map(query);
  Tensor query_buffer = result_buffer(grad_query, channels);
  Tensor key_buffer = result_buffer(grad_key, channels);
  Tensor value_buffer = result_buffer(grad_value, value_channels);
  dispatch_device(query.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = gpu::accumulator<T>;
    gpu::launch_attention_backward<T>(
        {shape_of(op, query, channels, value_channels, sides, mode), static_cast<A>(scale), data_of<T>(grads),
         data_of<T>(queries), data_of<T>(keys), data_of<T>(values), data_of<A>(sums), mutable_data_of<A>(delta),
         mutable_data_of<T>(query_buffer), mutable_data_of<T>(key_buffer), mutable_data_of<T>(value_buffer)},
        device.stream());
  });
  finish_result(grad_query, query_buffer);
  finish_result(grad_key, key_buffer);
  finish_result(grad_value, value_buffer);
  return {grad_query, grad_key, grad_value};
}

}  // namespace

ARSEG_CUDA_LIBRARY(m) {
  m.impl("local_attention", TORCH_BOX(&local_attention));
  m.impl("_local_attention", TORCH_BOX(&local_attention_forward));
  m.impl("_local_attention_backward", TORCH_BOX(&local_attention_backward));
}

}  // namespace arseg
