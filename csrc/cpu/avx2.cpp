#if defined(__x86_64__)
#define ARSEG_TARGET avx2
#define ARSEG_VECTOR_BYTES 32
#define ARSEG_VECTOR_REGISTERS 16
#define ARSEG_BFLOAT16 0
#define ARSEG_TARGET_FEATURES "avx2,fma,f16c,bmi,bmi2"
#include "target.h"
// clang-format off
#include "kernels.inc"
// clang-format on

namespace arseg {

CpuKernels avx2_kernels() { return avx2::make_kernels("avx2"); }

}  // namespace arseg
#endif
