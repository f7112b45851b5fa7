#pragma once

#include <cstdint>

namespace arseg {

// torch's current CUDA stream of a device, a cudaStream_t.
void* current_cuda_stream(int32_t device);

}  // namespace arseg
