// What the CUDA side of an operator needs of torch: registration, device, stream, memory.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include "../cpu/tensors.h"
#include "base.h"
#include "checks.h"
#include "device.cuh"
#include "stream.h"
#if !defined(ARSEG_EMULATOR)
#include "device_code.cuh"
#endif

// STABLE_TORCH_LIBRARY_IMPL for the kernels of a cuda.cu. In the emulator tensors are on the CPU, and the operators
// stand beside the project's own CPU operators in a namespace of their own.
#if defined(ARSEG_EMULATOR)
#define ARSEG_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(arseg_emulated, CPU, m)
#else
#define ARSEG_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(arseg, CUDA, m)
#endif

namespace arseg {

// Makes the device of a tensor the current one for a scope, and knows its current stream. In the emulator there is
// none.
class DeviceGuard {
 public:
#if defined(ARSEG_EMULATOR)
  explicit DeviceGuard(const Tensor&) {}
#else
  explicit DeviceGuard(const Tensor& tensor)
      : guard_(tensor.get_device_index()), stream_(current_cuda_stream(tensor.get_device_index())) {
    require_device_code(tensor.get_device_index());
  }
#endif
  void* stream() const { return stream_; }

 private:
#if !defined(ARSEG_EMULATOR)
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  void* stream_ = nullptr;
};

// The type of the GPU for a floating-point dtype: run(T{}).
template <typename F>
void dispatch_device(ScalarType dtype, F&& run) {
  switch (dtype) {
    case ScalarType::Float:
      return run(float{});
    case ScalarType::Double:
      return run(double{});
    case ScalarType::Half:
      return run(gpu::Half{});
    case ScalarType::BFloat16:
      return run(gpu::BFloat16{});
    default:
      check(false, "a kernel was called with dtype ", dtype_name(dtype));
  }
}

template <typename T>
const T* data_of(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* mutable_data_of(Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// Channels of a pixel as the kernels load them: whole vectors of 16 bytes.
inline int64_t padded_channels(int64_t channels, ScalarType dtype) {
  const int64_t vector = dtype == ScalarType::Double ? 2 : dtype == ScalarType::Float ? 4 : 8;
  return round_up(std::max<int64_t>(1, channels), vector);
}

inline bool is_dense_channels_last(const Tensor& map, int64_t channels) {
  const bool aligned = reinterpret_cast<uintptr_t>(map.const_data_ptr()) % 16 == 0;
  return map.size(1) == channels && aligned && is_dense_channels_last(map);
}

inline Tensor empty_channels_last(const Tensor& like, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  return empty(like, {batch, channels, height, width}, like.scalar_type(), true);
}

// The map as the kernels read it: [N, H, W, channels] without gaps, starting at a multiple of 16 bytes. The map itself
// where it is that already; else a copy, with channels of 0 behind its own up to `channels`.
inline Tensor dense_channels_last(const Tensor& map, int64_t channels) {
  check(map.size(3) * channels * 8 <= std::numeric_limits<int32_t>::max(), "a map of ", map.size(3), " x ", channels,
        " values a row is too large for CUDA");
  if (is_dense_channels_last(map, channels)) return map;
  Tensor copy = empty_channels_last(map, map.size(0), channels, map.size(2), map.size(3));
  const int64_t own = map.size(1);
  if (own == channels) {
    torch::stable::copy_(copy, map);
    return copy;
  }
  torch::stable::zero_(copy);
  Tensor part = torch::stable::narrow(copy, 1, 0, own);
  torch::stable::copy_(part, map);
  return copy;
}

// A map that several images of a batch may have in common, as the kernels read it.
struct Images {
  Tensor map;      // see dense_channels_last; one image where all are the same in memory
  int64_t stride;  // elements from one image to the next
};

inline Images dense_images(const Tensor& map, int64_t channels) {
  if (is_one_image(map)) return {dense_channels_last(first_image(map), channels), 0};
  return {dense_channels_last(map, channels), map.size(2) * map.size(3) * channels};
}

// Where a kernel writes a result: `out` itself where it is dense channels-last with `channels` channels, else a scratch
// map that finish_result copies into it.
inline Tensor result_buffer(const Tensor& out, int64_t channels) {
  if (is_dense_channels_last(out, channels)) return out;
  return empty_channels_last(out, out.size(0), channels, out.size(2), out.size(3));
}

inline void finish_result(Tensor& out, Tensor& buffer) {
  if (buffer.const_data_ptr() == out.const_data_ptr()) return;
  torch::stable::copy_(out, torch::stable::narrow(buffer, 1, 0, out.size(1)));
}

}  // namespace arseg
