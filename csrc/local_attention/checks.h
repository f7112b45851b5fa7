#pragma once

#include <string>
#include <vector>

#include "../common/checks.h"
#include "params.h"

namespace arseg {

inline Outside parse_outside(const char* op, const std::string& outside) {
  const bool known = outside == "zero" || outside == "masked";
  if (!known) require<Message::choice>(false, op, "outside", "zero", "masked", "'" + outside + "'");
  return outside == "masked" ? Outside::Masked : Outside::Zero;
}

inline Window parse_window(const char* op, const std::vector<int64_t>& window) {
  bool good = window.size() == 2;
  for (const int64_t side : window) good = good && side >= 3 && side <= 15 && side % 2 == 1;
  require<Message::window>(good, op, window);
  return {window[0], window[1]};
}

// query, key: [N, C, H, W]; value: [N, Cv, H, W]
inline void check_attention(const char* op, const torch::stable::Tensor& query, const torch::stable::Tensor& key,
                            const torch::stable::Tensor& value) {
  check_dims(op, "query", query, 4, "[N, C, H, W]");
  check_floating(op, "query", query);
  check_same_device(op, "key", key, "query", query);
  check_same_dtype(op, "key", key, "query", query);
  check_shape(op, "key", key, {query.size(0), query.size(1), query.size(2), query.size(3)});
  check_same_device(op, "value", value, "query", query);
  check_same_dtype(op, "value", value, "query", query);
  check_dims(op, "value", value, 4, "[N, C, H, W]");
  check_shape(op, "value", value, {query.size(0), value.size(1), query.size(2), query.size(3)});
}

inline void check_attention_backward(const char* op, const torch::stable::Tensor& grad,
                                     const torch::stable::Tensor& query, const torch::stable::Tensor& key,
                                     const torch::stable::Tensor& value, const torch::stable::Tensor& logsumexp) {
  using torch::headeronly::ScalarType;
  check_attention(op, query, key, value);
  check_same_device(op, "grad", grad, "query", query);
  check_same_dtype(op, "grad", grad, "query", query);
  check_shape(op, "grad", grad, {value.size(0), value.size(1), value.size(2), value.size(3)});
  const ScalarType sums = query.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  check_same_device(op, "logsumexp", logsumexp, "query", query);
  require<Message::dtype>(logsumexp.scalar_type() == sums, op, "logsumexp", sums, logsumexp.scalar_type());
  check_shape(op, "logsumexp", logsumexp, {query.size(0), query.size(2), query.size(3)});
}

}  // namespace arseg
