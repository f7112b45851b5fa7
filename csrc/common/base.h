// What host and device code share. No torch.
#pragma once

#include <cstdint>
#include <type_traits>

// Marks a function that a CUDA kernel may call too; nothing on the host.
#if defined(__CUDACC__)
#define ARSEG_HD __host__ __device__
#else
#define ARSEG_HD
#endif

namespace arseg {

// The type in which values of type T are added up: double for double, float for all else.
template <typename T>
using accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

ARSEG_HD constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A 4-d array with any strides (in elements). Strides of 0 are fine for reading.
template <typename T>
struct View4 {
  T* data;
  int64_t size[4];
  int64_t stride[4];

  ARSEG_HD T* at(int64_t a, int64_t b, int64_t c, int64_t d) const {
    return data + a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3];
  }
};

// Blocks that a launch may have along y and along z. A kernel loops over what is beyond, or does not take the map.
constexpr int64_t kMaxGridRows = 65535;

// The kernels' own limit along x where a thread, or a warp, goes on to what is beyond.
constexpr int64_t kMaxGridColumns = 1 << 24;

// Blocks for `count` items, `of_block` in each, at most `most`.
constexpr unsigned blocks_for(int64_t count, int64_t of_block, int64_t most) {
  const int64_t blocks = ceil_div(count, of_block);
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

}  // namespace arseg
