#if defined(__x86_64__)
#define ARSEG_TARGET avx512
#define ARSEG_VECTOR_BYTES 64
#define ARSEG_VECTOR_REGISTERS 32
#define ARSEG_BFLOAT16 0
#define ARSEG_TARGET_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2"
#include "target.h"
// clang-format off
#include "kernels.inc"
// clang-format on

namespace arseg {

CpuKernels avx512_kernels() { return avx512::make_kernels("avx512"); }

}  // namespace arseg
#endif
