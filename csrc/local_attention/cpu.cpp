// Local attention on the CPU: checks, results, and the tiles of csrc/local_attention/{tile,backward_tile}.h.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <string>
#include <tuple>
#include <vector>

#include "../cpu/capability.h"
#include "../cpu/tensors.h"
#include "../cpu/tiles.h"
#include "checks.h"

namespace arseg {
namespace {

// What computes a dtype forward: pairs of bfloat16 have instructions of their own on some targets.
const AttentionKernels& kernels_of(ScalarType dtype) {
  const CpuKernels& kernels = cpu_kernels();
  if (dtype == ScalarType::Double) return kernels.float64;
  return dtype == ScalarType::BFloat16 && kernels.bfloat16.lanes ? kernels.bfloat16 : kernels.float32;
}

Tensor pixel_map(const Tensor& query) {
  return empty(query, {query.size(0), query.size(2), query.size(3)}, accumulator_dtype(query.scalar_type()));
}

// `logsumexp` may be null.
Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const std::vector<int64_t>& window,
              const std::string& outside, double scale, Tensor* logsumexp) {
  constexpr const char* op = "local_attention";
  check_attention(op, query, key, value);
  const Window sides = parse_window(op, window);
  const Outside mode = parse_outside(op, outside);
  Tensor out = empty_map(query, {value.size(0), value.size(1), value.size(2), value.size(3)});

  const AttentionKernels& kernels = kernels_of(query.scalar_type());
  MapAttentionParams params;
  params.out = map_of(out);
  params.window = sides;
  params.outside = mode;
  params.logsumexp = logsumexp ? logsumexp->mutable_data_ptr() : nullptr;
  params.query = map_of(query);
  params.key = map_of(key);
  params.value = map_of(value);
  params.scale = scale;
  set_direct(params, kernels, round_up(value.size(1), kernels.lanes));
  run_tiles(kernels.attention, params, kernels, query.size(0), query.size(2), query.size(3));
  return out;
}

Tensor local_attention(const Tensor& query, const Tensor& key, const Tensor& value, std::vector<int64_t> window,
                       std::string outside, double scale, bool /*allow_tf32*/) {
  return attend(query, key, value, window, outside, scale, nullptr);
}

std::tuple<Tensor, Tensor> local_attention_forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                                   std::vector<int64_t> window, std::string outside, double scale,
                                                   bool /*allow_tf32*/) {
  check_attention("local_attention", query, key, value);
  Tensor logsumexp = pixel_map(query);
  Tensor out = attend(query, key, value, window, outside, scale, &logsumexp);
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
  Tensor delta = pixel_map(query);

  const CpuKernels& all = cpu_kernels();
  const AttentionKernels& kernels = query.scalar_type() == ScalarType::Double ? all.float64 : all.float32;
  AttentionBackwardParams params;
  params.grad = map_of(grad);
  params.query = map_of(query);
  params.key = map_of(key);
  params.value = map_of(value);
  params.logsumexp = pixel_map_of(logsumexp);
  params.delta = pixel_map_of(delta);
  params.grad_query = map_of(grad_query);
  params.grad_key = map_of(grad_key);
  params.grad_value = map_of(grad_value);
  params.window = sides;
  params.outside = mode;
  params.scale = scale;
  for (const auto& kernel : {kernels.backward_query, kernels.backward_key}) {
    run_tiles(kernel, params, kernels, query.size(0), query.size(2), query.size(3));
  }
  return {grad_query, grad_key, grad_value};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) {
  m.impl("local_attention", TORCH_BOX(&local_attention));
  m.impl("_local_attention", TORCH_BOX(&local_attention_forward));
  m.impl("_local_attention_backward", TORCH_BOX(&local_attention_backward));
}

}  // namespace arseg
