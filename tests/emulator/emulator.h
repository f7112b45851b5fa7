// What csrc/common/device.cuh includes instead of CUDA's headers: the same vocabulary on the CPU. Names beyond it are
// left out on purpose, so that a kernel that strays from it does not compile here.
#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda_types.h"
#include "half.h"
#include "runtime.h"

#if !defined(__global__)
#define __global__
#endif
#if !defined(__device__)
#define __device__
#endif
#if !defined(__host__)
#define __host__
#endif
#if !defined(__forceinline__)
#define __forceinline__ inline __attribute__((always_inline))
#endif
#if !defined(__launch_bounds__)
#define __launch_bounds__(...)
#endif
#if !defined(__grid_constant__)
#define __grid_constant__
#endif
#if !defined(__shared__)
#define __shared__ static_assert(false, "shared memory is declared with ARSEG_SHARED");
#endif

#define threadIdx (::arseg::emulator::current_thread->thread)
#define blockIdx (::arseg::emulator::current_block->block)
#define blockDim (::arseg::emulator::current_block->block_size)
#define gridDim (::arseg::emulator::current_block->grid_size)

#define ARSEG_DEVICE inline __attribute__((always_inline))
#define ARSEG_UNROLL
#define ARSEG_NO_UNROLL
#define ARSEG_SHARED(name) unsigned char* const name = ::arseg::emulator::current_block->shared
#define ARSEG_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
  ::arseg::emulator::launch(std::source_location::current(), #kernel, kernel, grid, block, shared_bytes, \
                            static_cast<void*>(stream) __VA_OPT__(, ) __VA_ARGS__)

// The intrinsics of CUDA. The last argument is where the kernel calls them.

inline void __syncthreads(arseg::emulator::Site site = std::source_location::current()) {
  arseg::emulator::block_barrier(site);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, arseg::emulator::Site site = std::source_location::current()) {
  arseg::emulator::warp_barrier(mask, site);
}

namespace arseg::emulator {

template <typename T>
T shuffled(uint32_t mask, T value, int lane, int width, Shuffle kind, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles take 4 or 8 bytes");
  shuffle(mask, &value, sizeof value, lane, width, kind, site);
  return value;
}

}  // namespace arseg::emulator

template <typename T>
T __shfl_sync(uint32_t mask, T value, int lane, int width = 32,
              arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::shuffled(mask, value, lane, width, arseg::emulator::Shuffle::Index, site);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32,
                  arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::shuffled(mask, value, lanes, width, arseg::emulator::Shuffle::Xor, site);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, int lanes, int width = 32,
                 arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::shuffled(mask, value, lanes, width, arseg::emulator::Shuffle::Up, site);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, int lanes, int width = 32,
                   arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::shuffled(mask, value, lanes, width, arseg::emulator::Shuffle::Down, site);
}
inline unsigned __ballot_sync(uint32_t mask, bool predicate,
                              arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::ballot(mask, predicate, site);
}
inline int __any_sync(uint32_t mask, bool predicate, arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::ballot(mask, predicate, site) != 0;
}
inline int __all_sync(uint32_t mask, bool predicate, arseg::emulator::Site site = std::source_location::current()) {
  return arseg::emulator::ballot(mask, predicate, site) == mask;
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
template <typename T>
T __ldg(const T* from) {
  return *from;
}

// Of two values of one type; as on the GPU a number wins over a NaN.
template <typename T>
  requires std::is_arithmetic_v<T>
T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmin(a, b);
  } else {
    return b < a ? b : a;
  }
}
template <typename T>
  requires std::is_arithmetic_v<T>
T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmax(a, b);
  } else {
    return a < b ? b : a;
  }
}

// Really atomic: blocks run on several threads, and ThreadSanitizer must see it.
#define ARSEG_EMULATOR_ATOMIC(T)                            \
  inline T atomicAdd(T* to, T value) {                      \
    arseg::emulator::count_atomic();                        \
    return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); \
  }
ARSEG_EMULATOR_ATOMIC(int)
ARSEG_EMULATOR_ATOMIC(unsigned)
ARSEG_EMULATOR_ATOMIC(unsigned long long)
#undef ARSEG_EMULATOR_ATOMIC

inline int atomicExch(int* to, int value) {
  arseg::emulator::count_atomic();
  return __atomic_exchange_n(to, value, __ATOMIC_RELAXED);
}

namespace arseg::gpu {

inline void copy16(void* to, const void* from, bool valid) {
  uint4 value{};
  if (valid) value = *static_cast<const uint4*>(from);
  *static_cast<uint4*>(to) = value;
}

// Made now or at the wait, as the run decides. Until it is made the target is poison: the old bytes may be gone from
// the moment the copy was issued.
ARSEG_DEVICE void cp_async16(void* shared, const void* global, bool valid,
                             emulator::Site site = std::source_location::current()) {
  emulator::check_shared(shared, 16, "cp_async16", site);
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    emulator::fail(site, "cp_async16 from %p, which is no multiple of 16", global);
  }
  const bool later = emulator::defer_copy({shared, global, valid, 0});
  copy16(shared, global, valid);  // also where the source is read only to have its bounds judged at this line
  if (later) std::memset(shared, 0xff, 16);
}

ARSEG_DEVICE void cp_async_commit() { emulator::cp_async_commit(); }

template <int Pending>
ARSEG_DEVICE void cp_async_wait() {
  emulator::Copy copy;
  while (emulator::next_copy(Pending, &copy)) copy16(copy.shared, copy.global, copy.valid);
}

template <bool Transposed>
ARSEG_DEVICE void ldmatrix_x4(uint32_t (&to)[4], const void* row,
                              emulator::Site site = std::source_location::current()) {
  emulator::check_shared(row, 16, "ldmatrix_x4", site);
  const uint4 values = *static_cast<const uint4*>(row);
  emulator::ldmatrix_x4(to, Transposed, &values, row, site);
}

template <typename T>
ARSEG_DEVICE void mma_m16n8k16(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                               emulator::Site site = std::source_location::current()) {
  static_assert(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>);
  emulator::mma_m16n8k16(sum, a, b0, b1, std::is_same_v<T, BFloat16>, site);
}

ARSEG_DEVICE void mma_m16n8k8_tf32(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                   emulator::Site site = std::source_location::current()) {
  emulator::mma_m16n8k8_tf32(sum, a, b0, b1, site);
}

ARSEG_DEVICE float exp2_fast(float x) {
  const float result = std::exp2(x);
  return result < FLT_MIN ? 0.0f : result;
}

ARSEG_DEVICE float reciprocal_fast(float x) { return 1.0f / x; }

ARSEG_DEVICE float max_or_nan(float a, float b) {
  if (a != a || b != b) return NAN;
  return a < b ? b : a;
}

ARSEG_DEVICE int optimization_barrier(int x) { return x; }

ARSEG_DEVICE void count_step() { emulator::count_step(); }

ARSEG_DEVICE float to_float(float x) { return x; }
ARSEG_DEVICE float to_float(Half x) { return bits::from_half(x.bits); }
ARSEG_DEVICE float to_float(BFloat16 x) { return bits::from_bfloat16(x.bits); }
ARSEG_DEVICE double to_float(double x) { return x; }

template <typename T>
ARSEG_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, Half>) {
    return {bits::to_half(x)};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return {bits::to_bfloat16(x)};
  } else {
    return static_cast<T>(x);
  }
}

template <typename T>
ARSEG_DEVICE uint32_t pack(float first, float second) {
  static_assert(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>);
  return from_float<T>(first).bits | static_cast<uint32_t>(from_float<T>(second).bits) << 16;
}

template <typename T>
ARSEG_DEVICE float2 unpack(uint32_t word) {
  static_assert(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>);
  return {to_float(T{static_cast<uint16_t>(word)}), to_float(T{static_cast<uint16_t>(word >> 16)})};
}

}  // namespace arseg::gpu
