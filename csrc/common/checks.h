#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "messages.h"

// Checks of arguments: conditions here, sentences in messages.h. A sentence is put together where one fails, only.
namespace arseg {

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

inline std::string device_name(const torch::stable::Device& device) {
  if (device.is_cpu()) return "cpu";
  return device.is_cuda() ? "cuda:" + std::to_string(device.index()) : "another";
}

// A value in a message: texts, integers, dtypes, devices; lists and, by its shape, a tensor as [1, 2, 3]. No streams:
// they go wrong where a second libstdc++ is in the process, as in a library that was linked with -static-libstdc++.
template <typename Part>
void append(std::string& text, const Part& part) {
  if constexpr (std::is_convertible_v<const Part&, std::string_view>) {
    text += std::string_view(part);
  } else if constexpr (std::is_same_v<Part, torch::headeronly::ScalarType>) {
    text += dtype_name(part);
  } else if constexpr (std::is_same_v<Part, torch::stable::Device>) {
    text += device_name(part);
  } else if constexpr (std::is_same_v<Part, torch::stable::Tensor>) {
    append(text, part.sizes());
  } else if constexpr (std::is_integral_v<Part>) {
    text += std::to_string(part);
  } else {
    const char* comma = "[";
    for (const auto& item : part) {
      text += comma;
      append(text, item);
      comma = ", ";
    }
    text += part.size() ? "]" : "[]";
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

template <typename Value>
std::string text_or_none(const std::optional<Value>& value) {
  return value ? text_of(*value) : "None";
}

// The sentence with its fields filled in their order.
template <typename... Values>
std::string filled(std::string_view sentence, const Values&... values) {
  std::string text;
  const auto fill = [&](const auto& value) {
    const size_t field = sentence.find('{');
    text += sentence.substr(0, field);
    append(text, value);
    sentence.remove_prefix(sentence.find('}', field) + 1);
  };
  (fill(values), ...);
  return text += sentence;
}

template <Message message, typename... Values>
void require(bool condition, const Values&... values) {
  static_assert(fields_of(sentence_of(message)) == sizeof...(Values));
  if (!condition) throw std::runtime_error(filled(sentence_of(message), values...));
}

// `layout` names the dimensions, for example "[N, C, H, W]".
inline void check_dims(const char* op, const char* name, const torch::stable::Tensor& tensor, int64_t dims,
                       const char* layout) {
  require<Message::dims>(tensor.dim() == dims, op, name, dims, layout, tensor);
}

inline bool is_floating(torch::headeronly::ScalarType dtype) {
  using torch::headeronly::ScalarType;
  return dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::Half ||
         dtype == ScalarType::BFloat16;
}

inline void check_floating(const char* op, const char* name, const torch::stable::Tensor& tensor) {
  require<Message::floating>(is_floating(tensor.scalar_type()), op, name, tensor.scalar_type());
}

inline void check_same_device(const char* op, const char* name, const torch::stable::Tensor& tensor,
                              const char* other_name, const torch::stable::Tensor& other) {
  if (tensor.device() == other.device()) return;
  require<Message::same_device>(false, op, name, other_name, other.device(), tensor.device());
}

inline void check_same_dtype(const char* op, const char* name, const torch::stable::Tensor& tensor,
                             const char* other_name, const torch::stable::Tensor& other) {
  if (tensor.scalar_type() == other.scalar_type()) return;
  require<Message::same_dtype>(false, op, name, other_name, other.scalar_type(), tensor.scalar_type());
}

inline void check_shape(const char* op, const char* name, const torch::stable::Tensor& tensor,
                        std::initializer_list<int64_t> expected) {
  const auto sizes = tensor.sizes();
  bool same = sizes.size() == expected.size();
  for (size_t i = 0; same && i < sizes.size(); ++i) same = sizes[i] == expected.begin()[i];
  require<Message::shape>(same, op, name, expected, tensor);
}

}  // namespace arseg
