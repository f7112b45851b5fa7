// Every operator schema, and nothing else. Kernels register themselves in their own folder. Those of creff,
// creff_logits and creff_labels are for inference: where something wants a derivative, arseg_ext/_composite.py makes
// the operators of their parts. Names with an underscore are not public.

#include <torch/csrc/stable/library.h>

#include <string>

// The tests run the CUDA kernels on the CPU, as operators beside these.
#if !defined(ARSEG_NAMESPACE)
#define ARSEG_NAMESPACE arseg
#endif
#define ARSEG_LIBRARY(name, m) STABLE_TORCH_LIBRARY(name, m)  // after replacing the name

ARSEG_LIBRARY(ARSEG_NAMESPACE, m) {
  m.def("_build_config() -> str");
  m.def("_messages() -> str");
  m.def("_use_cpu_capability(str name) -> str");
  m.def("_most_running_threads() -> int");

  m.def("mv_warp(Tensor feature, Tensor motion, *, int block, SymInt[2] frame_size, str grid='aligned') -> Tensor");
  m.def("_mv_warp_backward(Tensor grad, Tensor motion, *, int block, SymInt[2] frame_size, str grid) -> Tensor");

  m.def("flow_warp(Tensor feature, Tensor flow, *, str grid='aligned') -> Tensor");
  m.def("_flow_warp_backward_feature(Tensor grad, Tensor flow, *, str grid) -> Tensor");
  m.def("_flow_warp_backward_flow(Tensor grad, Tensor feature, Tensor flow, *, str grid) -> Tensor");

  m.def(
      "local_attention(Tensor query, Tensor key, Tensor value, *, int[2] window, str outside='zero', "
      "float scale=1.0, bool allow_tf32=False) -> Tensor");
  m.def(
      "_local_attention(Tensor query, Tensor key, Tensor value, *, int[2] window, str outside, float scale, "
      "bool allow_tf32=False) -> (Tensor out, Tensor logsumexp)");
  m.def(
      "_local_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor logsumexp, *, "
      "int[2] window, str outside, float scale) -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)");

  m.def(
      "creff(Tensor reference, Tensor low_res, Tensor motion, Tensor query_weight, Tensor query_bias, "
      "Tensor key_weight, Tensor key_bias, Tensor value_weight, Tensor value_bias, *, int[2] window=7, "
      "int? block=None, SymInt[]? frame_size=None, str grid='aligned', str outside='zero', bool allow_tf32=False) "
      "-> Tensor");
  for (const char* name : {"creff_logits", "creff_labels"}) {
    m.def((std::string(name) +
           "(Tensor reference, Tensor low_res, Tensor motion, Tensor query_weight, Tensor query_bias, "
           "Tensor key_weight, Tensor key_bias, Tensor value_weight, Tensor value_bias, Tensor classifier_weight, "
           "Tensor classifier_bias, *, int[2] window=7, int? block=None, SymInt[]? frame_size=None, "
           "str grid='aligned', str outside='zero', bool allow_tf32=False) -> Tensor")
              .c_str());
  }
  // Bilinear, align_corners=True.
  m.def("_upsample(Tensor input, SymInt[2] size) -> Tensor");
  m.def("_upsample_backward(Tensor grad, SymInt[2] size) -> Tensor");
  // The parts of the fusion that have weights; outputs are maps of the reference's size. Where it is not wanted, the
  // gradient of `warped` has no image.
  m.def(
      "_queries(Tensor low_res, Tensor query_weight, Tensor query_bias, SymInt[2] size) "
      "-> (Tensor upsampled, Tensor query)");
  m.def(
      "_queries_backward(Tensor grad_upsampled, Tensor grad_query, Tensor upsampled, Tensor query_weight) "
      "-> (Tensor grad_sum, Tensor grad_query_weight, Tensor grad_query_bias)");
  m.def(
      "_keys_values(Tensor warped, Tensor key_weight, Tensor key_bias, Tensor value_weight, Tensor value_bias) "
      "-> (Tensor key, Tensor value)");
  m.def(
      "_keys_values_backward(Tensor grad_key, Tensor grad_value, Tensor warped, Tensor key_weight, "
      "Tensor value_weight, *, bool wants_warped) -> (Tensor grad_warped, Tensor grad_key_weight, "
      "Tensor grad_key_bias, Tensor grad_value_weight, Tensor grad_value_bias)");
  m.def("resize_labels(Tensor logits, SymInt[2] size, *, bool align_corners=False) -> Tensor");

  // Autograd knows nothing of it, not even that `out` changes: call _creff_out (arseg_ext/_composite.py).
  m.def(
      "_creff_into(Tensor reference, Tensor low_res, Tensor motion, Tensor query_weight, Tensor query_bias, "
      "Tensor key_weight, Tensor key_bias, Tensor value_weight, Tensor value_bias, *, int[2] window, int? block, "
      "SymInt[]? frame_size, str grid, str outside, bool allow_tf32=False, Tensor(a!) out) -> ()");
}
