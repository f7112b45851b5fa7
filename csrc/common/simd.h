#pragma once

// The wheel is compiled for the baseline processor. A function marked ARSEG_SIMD_CLONES is compiled
// once more for wider vectors, and the loader picks the version that this processor can run.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ARSEG_SIMD_CLONES __attribute__((target_clones("default", "arch=haswell", "arch=skylake-avx512")))
#else
#define ARSEG_SIMD_CLONES
#endif

#if defined(__GNUC__)
#define ARSEG_INLINE inline __attribute__((always_inline))
#else
#define ARSEG_INLINE inline
#endif
