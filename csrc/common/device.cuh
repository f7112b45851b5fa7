// What the kernels use of the machine, under names of our own: this is the only file with PTX. Compiled by nvcc it is
// the GPU; compiled by a C++ compiler with ARSEG_EMULATOR it is tests/emulator, which runs the same kernels on the CPU.
//
// Kernels keep to these names, to threadIdx, blockIdx, blockDim, gridDim, __syncthreads, __syncwarp, the *_sync
// shuffles and votes, and to integer atomicAdd. They have no static __shared__ arrays and no float atomics.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#define ARSEG_DEVICE __device__ __forceinline__
#define ARSEG_UNROLL _Pragma("unroll")
#define ARSEG_NO_UNROLL _Pragma("unroll 1")

// Declares `name`, the block's dynamic shared memory, as unsigned char*.
#define ARSEG_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

// Launches kernel<<<grid, block, shared_bytes, stream>>>(args...); throws if it could not be launched.
#define ARSEG_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                         \
  do {                                                                                       \
    ::arseg::gpu::allow_shared(reinterpret_cast<const void*>(kernel), shared_bytes);         \
    (kernel)<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__); \
    ::arseg::gpu::check_launch(cudaGetLastError(), #kernel);                                 \
  } while (false)

namespace arseg::gpu {

using Half = __half;
using BFloat16 = __nv_bfloat16;

inline void check_launch(cudaError_t error, const char* kernel) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("the CUDA kernel ") + kernel +
                             " could not be launched: " + cudaGetErrorString(error));
  }
}

// False where the driver does not say.
inline bool compute_capability(int device, int* major, int* minor) {
  return cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess;
}

// More than 48 KB a block has to be asked for.
inline void allow_shared(const void* kernel, size_t bytes) {
  if (bytes > 48 * 1024) {
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
                 "(dynamic shared memory)");
  }
}

// 16 bytes from global to shared memory, or 16 bytes of 0. Seen by this thread after cp_async_wait, by the others of
// the block after a barrier as well.
ARSEG_DEVICE void cp_async16(void* shared, const void* global, bool valid) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(global), "r"(bytes));
}

// Ends a group of copies.
ARSEG_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::); }

// Waits until at most `Pending` groups of this thread's copies are under way.
template <int Pending>
ARSEG_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Pending) : "memory");
}

// Four 8x8 matrices of 16-bit values; lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned). Lane
// l gets in to[m] the values (l / 4, 2 * (l % 4)) and the next of matrix m, or of its transpose.
template <bool Transposed>
ARSEG_DEVICE void ldmatrix_x4(uint32_t (&to)[4], const void* row) {
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  }
}

// sum [16, 8] += a [16, 16] b [16, 8], of Half or BFloat16, in the fragments of mma.sync.m16n8k16: with g = lane / 4
// and t = lane % 4, sum is (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1); a is pairs of columns (g, 2t), (g+8, 2t),
// (g, 2t+8), (g+8, 2t+8); b is pairs of rows (2t, g), (2t+8, g).
template <typename T>
ARSEG_DEVICE void mma_m16n8k16(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// sum [16, 8] += a [16, 8] b [8, 8], of float32 whose last 13 bits are not looked at: TF32. In the fragments of
// mma.sync.m16n8k8: sum as above; a is (g, t), (g+8, t), (g, t+4), (g+8, t+4); b is (t, g), (t+4, g).
ARSEG_DEVICE void mma_m16n8k8_tf32(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2^x; on the GPU within 2 units in the last place. exp2_fast(-inf) = 0.
ARSEG_DEVICE float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// 1 / x, within one unit in the last place, of a number that is neither tiny nor huge; reciprocal_fast(0) = inf.
ARSEG_DEVICE float reciprocal_fast(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// The larger one; NaN where one of them is.
ARSEG_DEVICE float max_or_nan(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

// x, of which the compiler knows only that it is not negative: what is worked out from it is not kept in registers
// across a loop.
ARSEG_DEVICE int optimization_barrier(int x) {
  asm volatile("" : "+r"(x));
  __builtin_assume(x >= 0);
  return x;
}

// A step of a loop whose length depends on the data: the emulator counts them, to hold the worst case to its bound.
ARSEG_DEVICE void count_step() {}

ARSEG_DEVICE float to_float(float x) { return x; }
ARSEG_DEVICE float to_float(Half x) { return __half2float(x); }
ARSEG_DEVICE float to_float(BFloat16 x) { return __bfloat162float(x); }
ARSEG_DEVICE double to_float(double x) { return x; }

template <typename T>
ARSEG_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, Half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return static_cast<T>(x);
  }
}

// Two values in one word, the first in the low half.
template <typename T>
ARSEG_DEVICE uint32_t pack(float first, float second) {
  uint32_t word;
  if constexpr (std::is_same_v<T, BFloat16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    memcpy(&word, &pair, 4);
  } else {
    const __half2 pair = __floats2half2_rn(first, second);
    memcpy(&word, &pair, 4);
  }
  return word;
}

template <typename T>
ARSEG_DEVICE float2 unpack(uint32_t word) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
  } else {
    __half2 pair;
    memcpy(&pair, &word, 4);
    return __half22float2(pair);
  }
}

}  // namespace arseg::gpu

#elif defined(ARSEG_EMULATOR)

#include "emulator.h"  // the same names, in tests/emulator

#else
#error "kernels are compiled by nvcc, or with ARSEG_EMULATOR for tests/emulator"
#endif

#include "base.h"

namespace arseg::gpu {

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kLn2 = 0.69314718055994530942f;
constexpr uint32_t kAllLanes = 0xffffffffu;

using arseg::accumulator;

template <typename T>
constexpr bool is_half_type = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

// x as mma_m16n8k8_tf32 sees it.
ARSEG_DEVICE float cut_to_tf32(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

// A sum, in float or double, as T.
template <typename T, typename A>
ARSEG_DEVICE T from_accumulator(A x) {
  if constexpr (std::is_same_v<T, double>) {
    return static_cast<double>(x);
  } else {
    return from_float<T>(static_cast<float>(x));
  }
}

// 16 bytes of T: a vector of channels.
template <typename T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <typename T>
ARSEG_DEVICE void load_vector(const T* from, accumulator<T> (&to)[kVector<T>]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  if constexpr (is_half_type<T>) {
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float2 pair = unpack<T>(words[i]);
      to[2 * i] = pair.x;
      to[2 * i + 1] = pair.y;
    }
  } else {
    memcpy(to, &bits, 16);
  }
}

template <typename T>
ARSEG_DEVICE void store_vector(T* to, const accumulator<T> (&from)[kVector<T>]) {
  uint4 bits;
  if constexpr (is_half_type<T>) {
    bits.x = pack<T>(from[0], from[1]);
    bits.y = pack<T>(from[2], from[3]);
    bits.z = pack<T>(from[4], from[5]);
    bits.w = pack<T>(from[6], from[7]);
  } else {
    memcpy(&bits, from, 16);
  }
  *reinterpret_cast<uint4*>(to) = bits;
}

// Whether a logit is chosen over the best of the classes before it, as torch.argmax chooses: the first of equals, and
// the first NaN before any number.
template <typename A>
ARSEG_DEVICE bool is_chosen_over(A logit, A best) {
  return !(logit <= best) && best == best;
}

}  // namespace arseg::gpu
