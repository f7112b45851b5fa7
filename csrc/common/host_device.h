#pragma once

// Marks a function that a CUDA kernel may call too; nothing on the host.
#if defined(__CUDACC__)
#define ARSEG_HD __host__ __device__
#else
#define ARSEG_HD
#endif
