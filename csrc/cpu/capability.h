#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace arseg {

// The kernels in use: the best that this processor can run, or those that $ARSEG_CPU_CAPABILITY names. Throws a
// sentence if it names none of available_capabilities().
const CpuKernels& cpu_kernels();

// From the plainest to the best: "plain", "avx2", "avx512", "avx512_bf16".
std::vector<std::string> available_capabilities();

// For tests: use these from now on, or the default for "".
void use_capability(const std::string& name);

}  // namespace arseg
