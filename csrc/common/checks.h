#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// Checks of arguments. The sentences are those of arseg_ext/_checks.py: a test compares them word by word.
namespace arseg {

// Texts and integers in a row. No streams: they go wrong where a second libstdc++ is in the process, as in a library
// that was linked with -static-libstdc++.
template <typename Part>
void append(std::string& text, const Part& part) {
  if constexpr (std::is_convertible_v<const Part&, std::string_view>) {
    text += std::string_view(part);
  } else {
    static_assert(std::is_integral_v<Part>);
    text += std::to_string(part);
  }
}

template <typename... Parts>
std::string text_of(const Parts&... parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) throw std::runtime_error(text_of(parts...));
}

inline std::string dtype_name(torch::headeronly::ScalarType dtype) {
  using torch::headeronly::ScalarType;
  switch (dtype) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    default:
      return torch::headeronly::toString(dtype);
  }
}

template <typename Sizes>
std::string list_text(const Sizes& sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += text_of(i ? ", " : "", sizes[i]);
  return text + "]";
}

inline std::string shape_text(const torch::stable::Tensor& tensor) { return list_text(tensor.sizes()); }

// `layout` names the dimensions, for example "[N, C, H, W]".
inline void check_dims(const char* op, const char* name, const torch::stable::Tensor& tensor, int64_t dims,
                       const char* layout) {
  check(tensor.dim() == dims, op, ": ", name, " must have ", dims, " dimensions ", layout, ", got shape ",
        shape_text(tensor));
}

inline void check_floating(const char* op, const char* name, const torch::stable::Tensor& tensor) {
  using torch::headeronly::ScalarType;
  const ScalarType dtype = tensor.scalar_type();
  check(dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::Half ||
            dtype == ScalarType::BFloat16,
        op, ": ", name, " must be float32, float64, float16 or bfloat16, got ", dtype_name(dtype));
}

inline void check_same_dtype(const char* op, const char* name, const torch::stable::Tensor& tensor,
                             const char* other_name, const torch::stable::Tensor& other) {
  check(tensor.scalar_type() == other.scalar_type(), op, ": ", name, " must have the dtype of ", other_name, ", ",
        dtype_name(other.scalar_type()), ", got ", dtype_name(tensor.scalar_type()));
}

inline void check_shape(const char* op, const char* name, const torch::stable::Tensor& tensor,
                        const std::vector<int64_t>& expected) {
  bool same = tensor.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; same && i < expected.size(); ++i) same = tensor.size(static_cast<int64_t>(i)) == expected[i];
  check(same, op, ": ", name, " must have shape ", list_text(expected), ", got ", shape_text(tensor));
}

}  // namespace arseg
