// The kernels of avx512.cpp, and those that multiply pairs of bfloat16.
#if defined(__x86_64__)
#define ARSEG_TARGET avx512_bf16
#define ARSEG_VECTOR_BYTES 64
#define ARSEG_VECTOR_REGISTERS 32
#define ARSEG_BFLOAT16 1
#define ARSEG_TARGET_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi,bmi2"
#include "target.h"
// clang-format off
#include "kernels.inc"
// clang-format on

namespace arseg {

CpuKernels avx512_kernels();

CpuKernels avx512_bf16_kernels() {
  CpuKernels kernels = avx512_kernels();
  kernels.name = "avx512_bf16";
  kernels.bfloat16 = avx512_bf16::forward_kernels<avx512_bf16::Bf16Microkernel>();
  kernels.warp = avx512_bf16::warp_task;
  return kernels;
}

}  // namespace arseg
#endif
