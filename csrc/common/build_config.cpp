// What this library was built from, as JSON: arseg_ext.build_config().

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <sstream>
#include <string>

#include "../cpu/capability.h"

#ifndef ARSEG_VERSION
#define ARSEG_VERSION "unknown"
#endif
#ifndef ARSEG_FLAGS
#define ARSEG_FLAGS ""
#endif
#ifndef ARSEG_BUILD_TORCH
#define ARSEG_BUILD_TORCH "unknown"
#endif

namespace arseg {
namespace {

std::string compiler() {
  std::ostringstream text;
#if defined(__clang__)
  text << "clang " << __clang_version__;
#elif defined(__GNUC__)
  text << "gcc " << __GNUC__ << "." << __GNUC_MINOR__ << "." << __GNUC_PATCHLEVEL__;
#elif defined(_MSC_VER)
  text << "msvc " << _MSC_VER;
#else
  text << "unknown";
#endif
  return text.str();
}

std::string build_config() {
  constexpr unsigned long long target = TORCH_TARGET_VERSION;
  std::ostringstream text;
  text << "{\"version\": \"" << ARSEG_VERSION << "\", \"compiler\": \"" << compiler() << "\", \"flags\": \""
       << ARSEG_FLAGS << "\", \"cxx_standard\": " << __cplusplus << ", \"torch_target\": \"" << (target >> 56) << "."
       << ((target >> 48) & 0xff) << "\", \"built_with_torch\": \"" << ARSEG_BUILD_TORCH << "\", \"debug\": "
#if defined(ARSEG_DEBUG)
       << "true"
#else
       << "false"
#endif
       << ", \"with_cuda\": "
#if defined(ARSEG_WITH_CUDA)
       << "true"
#else
       << "false"
#endif
       << ", \"cpu_capability\": \"" << cpu_kernels().name << "\", \"cpu_capabilities\": [";
  const char* comma = "";
  for (const std::string& name : available_capabilities()) {
    text << comma << "\"" << name << "\"";
    comma = ", ";
  }
  text << "]}";
  return text.str();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CompositeExplicitAutograd, m) { m.impl("_build_config", TORCH_BOX(&build_config)); }

}  // namespace arseg
