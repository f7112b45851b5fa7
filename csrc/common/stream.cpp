// torch's current stream, without linking against its CUDA libraries: the one library then loads everywhere.

#include "stream.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include "checks.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace arseg {
namespace {

using CurrentStream = int32_t (*)(int32_t device, void** stream);

// Symbols of libraries that torch has loaded for itself alone are not in our scope, so the library is named.
CurrentStream find_current_stream() {
#if defined(_WIN32)
  return nullptr;
#else
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  return library ? reinterpret_cast<CurrentStream>(dlsym(library, "aoti_torch_get_current_cuda_stream")) : nullptr;
#endif
}

}  // namespace

void* current_cuda_stream(int32_t device) {
  static const CurrentStream current_stream = find_current_stream();
  check(current_stream != nullptr, "arseg: the CUDA library of torch (libtorch_cuda.so) is not loaded");
  void* stream = nullptr;
  check(current_stream(device, &stream) == 0, "arseg: torch gave no current stream for CUDA device ", device);
  return stream;
}

}  // namespace arseg
