// Whatever the compiler's own default is: SSE2, Neon.
#define ARSEG_TARGET plain
#define ARSEG_VECTOR_BYTES 16
#if defined(__aarch64__)
#define ARSEG_VECTOR_REGISTERS 32
#else
#define ARSEG_VECTOR_REGISTERS 16
#endif
#define ARSEG_BFLOAT16 0
#include "target.h"
// clang-format off
#include "kernels.inc"
// clang-format on

namespace arseg {

CpuKernels plain_kernels() { return plain::make_kernels("plain"); }

}  // namespace arseg
