#include "capability.h"

#include <atomic>
#include <cstdlib>

#include "../common/checks.h"

namespace arseg {

CpuKernels plain_kernels();
#if defined(__x86_64__)
CpuKernels avx2_kernels();
CpuKernels avx512_kernels();
CpuKernels avx512_bf16_kernels();
#endif

namespace {

std::vector<CpuKernels> find_kernels() {
  std::vector<CpuKernels> found = {plain_kernels()};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx2) found.push_back(avx2_kernels());
  if (avx512) found.push_back(avx512_kernels());
  if (avx512 && __builtin_cpu_supports("avx512bf16")) found.push_back(avx512_bf16_kernels());
#endif
  return found;
}

const std::vector<CpuKernels>& all_kernels() {
  static const std::vector<CpuKernels> kernels = find_kernels();
  return kernels;
}

const CpuKernels& named(const std::string& name, const char* asked_by) {
  std::string names;
  for (const CpuKernels& kernels : all_kernels()) {
    if (name == kernels.name) return kernels;
    names += (names.empty() ? "" : ", ") + std::string(kernels.name);
  }
  check(false, asked_by, " must be one that this processor can run (", names, "), got '", name, "'");
  return all_kernels().front();
}

const CpuKernels& default_kernels() {
  const char* wanted = std::getenv("ARSEG_CPU_CAPABILITY");
  return wanted && *wanted ? named(wanted, "ARSEG_CPU_CAPABILITY") : all_kernels().back();
}

std::atomic<const CpuKernels*> in_use{nullptr};

}  // namespace

const CpuKernels& cpu_kernels() {
  const CpuKernels* kernels = in_use.load(std::memory_order_acquire);
  if (!kernels) {
    kernels = &default_kernels();
    in_use.store(kernels, std::memory_order_release);
  }
  return *kernels;
}

std::vector<std::string> available_capabilities() {
  std::vector<std::string> names;
  for (const CpuKernels& kernels : all_kernels()) names.emplace_back(kernels.name);
  return names;
}

void use_capability(const std::string& name) {
  in_use.store(name.empty() ? &default_kernels() : &named(name, "_use_cpu_capability: name"),
               std::memory_order_release);
}

}  // namespace arseg
