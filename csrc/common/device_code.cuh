// A card for which there is no code is told at the first call, in place of "no kernel image".
#pragma once

#include <atomic>
#include <cstdint>

#include "checks.h"
#include "device.cuh"
#include "device_code.h"

#ifndef ARSEG_CUDA_ARCHITECTURES
#define ARSEG_CUDA_ARCHITECTURES ""
#endif

namespace arseg {

// Asks the driver once a device.
inline void require_device_code(int32_t device) {
  static std::atomic<uint64_t> known{0};
  const uint64_t bit = uint64_t{1} << (device & 63);
  if (known.load(std::memory_order_relaxed) & bit) return;
  int major = 0, minor = 0;
  if (!gpu::compute_capability(device, &major, &minor)) return;  // the launch says what is wrong
  const std::string trouble = no_code(ARSEG_CUDA_ARCHITECTURES, major, minor);
  check(trouble.empty(), trouble);
  known.fetch_or(bit, std::memory_order_relaxed);
}

}  // namespace arseg
