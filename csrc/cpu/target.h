// Begins a translation unit of kernels for one target. Such a file defines
//   ARSEG_TARGET              a name, of the namespace and in the table
//   ARSEG_VECTOR_BYTES        of a vector register
//   ARSEG_VECTOR_REGISTERS    how many there are
//   ARSEG_BFLOAT16            1 if products of bfloat16 pairs are an instruction
//   ARSEG_TARGET_FEATURES     for the compiler, or nothing
// includes this file, then kernels.inc. Every other header comes first, so that nothing shared is compiled for this
// target: the linker keeps one copy of an inline function, and it must run everywhere.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"

#define ARSEG_INLINE inline __attribute__((always_inline))
#define ARSEG_NOINLINE __attribute__((noinline))
#define ARSEG_TEXT_OF(x) #x
#define ARSEG_TEXT(x) ARSEG_TEXT_OF(x)

// Vectors are passed between inlined functions only, so how they would be passed does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of undefined lanes, in the intrinsics of GCC 12
#endif
