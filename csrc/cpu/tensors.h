#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <initializer_list>

#include "../common/checks.h"
#include "map.h"

// From tensors to what the kernels take.
namespace arseg {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline Element element_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Double:
      return Element::Double;
    case ScalarType::Half:
      return Element::Half;
    case ScalarType::BFloat16:
      return Element::BFloat16;
    default:
      return Element::Float;
  }
}

inline Map map_of(const Tensor& tensor) {  // [N, C, H, W]
  Map map;
  map.data = const_cast<void*>(tensor.const_data_ptr());
  map.element = element_of(tensor);
  std::copy_n(tensor.sizes().data(), 4, map.size);  // at once: each size(i) is a call into torch
  std::copy_n(tensor.strides().data(), 4, map.stride);
  return map;
}

inline Map pixel_map_of(const Tensor& tensor) {  // [N, H, W] as [N, 1, H, W]
  Map map;
  map.data = const_cast<void*>(tensor.const_data_ptr());
  map.element = element_of(tensor);
  const int of[4] = {0, -1, 1, 2};
  for (int i = 0; i < 4; ++i) {
    map.size[i] = of[i] < 0 ? 1 : tensor.size(of[i]);
    map.stride[i] = of[i] < 0 ? 0 : tensor.stride(of[i]);
  }
  return map;
}

// Whether torch takes a map, or the one image of all its batch, for channels_last: the rule of c10/core/MemoryFormat.h,
// which arseg_ext/_fake.py has too.
inline bool is_channels_last(const Tensor& map) {
  const int64_t *size = map.sizes().data(), *stride = map.strides().data();
  if (stride[1] == 0) return false;
  int64_t least = 0;
  for (const int d : {1, 3, 2, 0}) {
    if (d == 0 && size[0] > 1 && stride[0] == 0) break;
    if (size[d] == 0 || stride[d] < least || (d == 0 && least == stride[1])) return false;
    least = stride[d] * (size[d] > 1 ? size[d] : 1);
  }
  return true;
}

// Whether the channels of a pixel lie together, and the pixels one after the other.
inline bool is_dense_channels_last(const Tensor& map) {
  const int64_t *size = map.sizes().data(), *stride = map.strides().data();
  int64_t step = 1;
  for (const int d : {1, 3, 2, 0}) {
    if (size[d] > 1 && stride[d] != step) return false;
    step *= size[d];
  }
  return true;
}

// A new tensor on the device of `like`, dense: contiguous, or, with four sizes, channels_last. Not by the dispatcher,
// as torch::stable::empty, which takes four times as long.
inline Tensor empty(const Tensor& like, std::initializer_list<int64_t> size, ScalarType dtype,
                    bool channels_last = false) {
  constexpr size_t kMostDims = 4;
  check(size.size() <= kMostDims && (!channels_last || size.size() == 4), "a tensor of ", size.size(), " dimensions");
  const int64_t* sizes = size.begin();
  int64_t stride[kMostDims];
  if (channels_last) {
    stride[1] = 1;
    stride[3] = sizes[1];
    stride[2] = stride[3] * sizes[3];
    stride[0] = stride[2] * sizes[2];
  } else {
    int64_t step = 1;
    for (size_t d = size.size(); d-- > 0; step *= std::max<int64_t>(1, sizes[d])) stride[d] = step;
  }
  const int32_t code = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  int32_t device_type = 0, device_index = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  AtenTensorHandle made = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(size.size()), sizes, stride, code,
                                                         device_type, device_index, &made));
  return Tensor(made);
}

// Other sizes and strides of the same memory, from the tensor's first element on.
inline Tensor view(const Tensor& tensor, std::initializer_list<int64_t> size, std::initializer_list<int64_t> stride) {
  constexpr int64_t kFurther = 0;  // added to the tensor's own offset
  AtenTensorHandle made = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch__reinterpret_tensor(tensor.get(), static_cast<int64_t>(size.size()),
                                                               size.begin(), stride.begin(), kFurther, &made));
  return Tensor(made);
}

// Whether all images of a batch are one in memory, as after expand(): what several frames have in common.
inline bool is_one_image(const Tensor& map) { return map.size(0) > 1 && map.stride(0) == 0; }

inline Tensor first_image(const Tensor& map) {
  return view(map, {1, map.size(1), map.size(2), map.size(3)}, {0, map.stride(1), map.stride(2), map.stride(3)});
}

// A map of the dtype and memory format of `like`.
inline Tensor empty_map(const Tensor& like, std::initializer_list<int64_t> size) {
  return empty(like, size, like.scalar_type(), is_channels_last(like));
}

inline Tensor empty_like_map(const Tensor& like) {
  return empty_map(like, {like.size(0), like.size(1), like.size(2), like.size(3)});
}

inline ScalarType accumulator_dtype(ScalarType dtype) {
  return dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// The map itself, or a copy of it, with the channels of a pixel together. What is one image in memory stays one.
Tensor contiguous_channels_last(const Tensor& map);

// Results larger than this go past the caches: they would not be there when they are read.
constexpr int64_t kStreamingBytes = int64_t{16} << 20;

// Whether vectors of 64 bytes may be stored past the caches: large, aligned, channels together.
inline bool can_stream(const Map& map) {
  const int64_t bytes = map.element == Element::Double ? 8 : map.element == Element::Float ? 4 : 2;
  const bool aligned = reinterpret_cast<uintptr_t>(map.data) % 64 == 0 && map.stride[0] * bytes % 64 == 0 &&
                       map.stride[2] * bytes % 64 == 0 && map.stride[3] * bytes % 64 == 0;
  return map.stride[1] == 1 && aligned &&
         map.size[0] * map.size[1] * map.size[2] * map.size[3] * bytes >= kStreamingBytes;
}

}  // namespace arseg
