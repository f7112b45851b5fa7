// Kernels without Python or torch: launched on small odd shapes in memory of their exact size and compared with the
// obvious loops of tests/cpp/kernel_reference.h.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "common/device.cuh"
#include "mv_warp/math.h"

namespace arseg {

// The positions of kernel_reference.h are of mixed integer types.
inline Taps<double> sample_taps(int64_t at, double shift, int64_t size) {
  return sample_taps<double, int64_t>(at, shift, size);
}

}  // namespace arseg

#include "kernel_reference.h"

namespace standalone {

namespace gpu = arseg::gpu;

using arseg::Element;
using reference::Array;
using reference::Buffer;
using reference::Layout;
using reference::Memory;

// A function of a source file beside this, run for the argument `family`, or for none.
struct Registration {
  Registration(const char* family, const char* name, void (*run)());
};

// Counts a failure, and says so, unless |got - expected| <= tolerance * max(1, the largest |expected|) everywhere.
void expect_close(const std::string& what, const Array& got, const Array& expected, double tolerance);
void expect(bool condition, const std::string& what);

template <typename T>
constexpr Element kElement = std::is_same_v<T, double>      ? Element::Double
                             : std::is_same_v<T, float>     ? Element::Float
                             : std::is_same_v<T, gpu::Half> ? Element::Half
                                                            : Element::BFloat16;
template <typename T>
constexpr double kTolerance = std::is_same_v<T, double>      ? 1e-12
                              : std::is_same_v<T, float>     ? 1e-5
                              : std::is_same_v<T, gpu::Half> ? 2e-3
                                                             : 1.6e-2;
template <typename T>
const char* name_of() {
  constexpr const char* names[] = {"float", "double", "half", "bfloat16"};
  return std::is_same_v<T, float>       ? names[0]
         : std::is_same_v<T, double>    ? names[1]
         : std::is_same_v<T, gpu::Half> ? names[2]
                                        : names[3];
}

// A dense channels-last map, filled with `array` or with NaN.
template <typename T>
class DeviceMap : public Buffer {
 public:
  explicit DeviceMap(const Array& array) : Buffer(array, kElement<T>, Layout::Last) {}
  DeviceMap(int64_t n, int64_t c, int64_t h, int64_t w) : Buffer(n, c, h, w, kElement<T>, Layout::Last) {}
  T* data() const { return reinterpret_cast<T*>(memory.data()); }
};

}  // namespace standalone
