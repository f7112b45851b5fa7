#pragma once

#include <cstdint>

// What kernels get of a tensor. No torch.
namespace arseg {

enum class Element { Float, Double, Half, BFloat16 };

// [N, C, H, W] with any strides, in elements.
struct Map {
  void* data = nullptr;
  Element element = Element::Float;
  int64_t size[4] = {0, 0, 0, 0};
  int64_t stride[4] = {0, 0, 0, 0};

  int64_t channels() const { return size[1]; }
  int64_t height() const { return size[2]; }
  int64_t width() const { return size[3]; }

  template <typename T>
  T* at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return static_cast<T*>(data) + (n * stride[0] + c * stride[1] + y * stride[2] + x * stride[3]);
  }
};

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Hands out parts of one allocation, each aligned to a cache line. With no memory behind it, it measures.
class Arena {
 public:
  explicit Arena(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    char* part = memory_ ? memory_ + used_ : nullptr;
    used_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return reinterpret_cast<T*>(part);
  }
  // The same, `lines` cache lines after a multiple of 256 bytes. A load waits for an earlier store whose address has
  // the same last bits: rows that one loop reads and writes side by side should not share them.
  template <typename T>
  T* take_apart(int64_t count, int lines) {
    used_ = round_up(used_, 256) + 64 * lines;
    return take<T>(count);
  }
  int64_t used() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

}  // namespace arseg
