// The backward gathers, it never scatters: the gradient of a query sums over its window, and those of a key and its
// value over the queries whose window holds it, which are the pixels of its own window. So one kernel serves both, with
// the roles of the maps exchanged:
//
//               a pixel's own          of the window's pixels
//   queries     query, grad            key, value       -> delta, gradient of the query
//   keys        key, value             query, grad      -> gradients of the value and the key
#pragma once

#include "arguments.cuh"

namespace arseg::gpu {

template <typename T>
struct BackwardRoles {
  const T* own;        // with `other`: the logits
  const T* own_value;  // with `other_value`: the gradients of the probabilities
  const T* other;
  const T* other_value;
  T* grad;        // of own
  T* grad_value;  // of own_value, for keys
};

template <typename T>
BackwardRoles<T> roles_of_queries(const AttentionGradients<T>& a) {
  return {a.query, a.grad, a.key, a.value, a.grad_query, nullptr};
}

template <typename T>
BackwardRoles<T> roles_of_keys(const AttentionGradients<T>& a) {
  return {a.key, a.value, a.query, a.grad, a.grad_key, a.grad_value};
}

}  // namespace arseg::gpu
