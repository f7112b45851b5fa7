// Operators about the kernels themselves.

#include <torch/csrc/stable/library.h>

#include <string>

#include "capability.h"
#include "parallel.h"

namespace arseg {
namespace {

std::string use_cpu_capability(std::string name) {
  use_capability(name);
  return cpu_kernels().name;
}

int64_t most_running_threads() { return RunningThreads::most(); }

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CompositeExplicitAutograd, m) {
  m.impl("_use_cpu_capability", TORCH_BOX(&use_cpu_capability));
  m.impl("_most_running_threads", TORCH_BOX(&most_running_threads));
}

}  // namespace arseg
