// What this library says of itself, as JSON: what it was built from (arseg_ext.build_config()), and its messages.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <string>

#include "../cpu/capability.h"
#include "checks.h"

#ifndef ARSEG_VERSION
#define ARSEG_VERSION "unknown"
#endif
#ifndef ARSEG_FLAGS
#define ARSEG_FLAGS ""
#endif
#ifndef ARSEG_BUILD_TORCH
#define ARSEG_BUILD_TORCH "unknown"
#endif

#ifndef ARSEG_CUDA_ARCHITECTURES
#define ARSEG_CUDA_ARCHITECTURES ""
#endif

namespace arseg {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return text_of("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
  return text_of("msvc ", _MSC_VER);
#else
  return "unknown";
#endif
}

std::string build_config() {
  constexpr unsigned long long target = TORCH_TARGET_VERSION;
#if defined(ARSEG_DEBUG)
  constexpr const char* debug = "true";
#else
  constexpr const char* debug = "false";
#endif
#if defined(ARSEG_WITH_CUDA)
  constexpr const char* with_cuda = "true";
#else
  constexpr const char* with_cuda = "false";
#endif
  std::string text =
      text_of("{\"version\": \"", ARSEG_VERSION, "\", \"compiler\": \"", compiler(), "\", \"flags\": \"", ARSEG_FLAGS,
              "\", \"cxx_standard\": ", __cplusplus, ", \"torch_target\": \"", target >> 56, ".", (target >> 48) & 0xff,
              "\", \"built_with_torch\": \"", ARSEG_BUILD_TORCH, "\", \"debug\": ", debug,
              ", \"with_cuda\": ", with_cuda, ", \"cuda_architectures\": \"", ARSEG_CUDA_ARCHITECTURES,
              "\", \"cpu_capability\": \"", cpu_kernels().name, "\", \"cpu_capabilities\": [");
  const char* comma = "";
  for (const std::string& name : available_capabilities()) {
    text += text_of(comma, "\"", name, "\"");
    comma = ", ";
  }
  return text + "]}";
}

// messages.h: neither quotes nor backslashes are in them.
std::string messages() {
  std::string text;
#define ARSEG_MESSAGE(name, sentence) text += text_of(text.empty() ? "{" : ", ", "\"" #name "\": \"", sentence, "\"");
  ARSEG_MESSAGES(ARSEG_MESSAGE)
#undef ARSEG_MESSAGE
  return text + "}";
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CompositeExplicitAutograd, m) {
  m.impl("_build_config", TORCH_BOX(&build_config));
  m.impl("_messages", TORCH_BOX(&messages));
}

}  // namespace arseg
