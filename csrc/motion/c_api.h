// The C boundary of the motion code, for ctypes: plain data in and out, and no exception leaves it. Neither Python nor
// numpy is linked, so that one library serves every Python. python/arseg/_motion.py is the other side: it checks what
// callers give, and repeats these structs and signatures. Where they change, kInterface does, here and there.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#if defined(_WIN32)
#define ARSEG_MOTION_API extern "C" __declspec(dllexport)
#else
#define ARSEG_MOTION_API extern "C" __attribute__((visibility("default")))
#endif

namespace arseg::motion {

constexpr int32_t kInterface = 2;

// What a call returns; arseg_motion_error() has the sentence of one that is not kDone.
enum Status : int32_t { kDone = 0, kBadInput = 1, kNoMemory = 2, kFailed = 3 };

// Of the calling thread.
inline std::string& last_error() {
  static thread_local std::string error;
  return error;
}

template <typename F>
int32_t guarded(F&& run) noexcept {
  try {
    run();
    return kDone;
  } catch (const std::bad_alloc&) {
    last_error().clear();
    return kNoMemory;
  } catch (const std::invalid_argument& error) {
    last_error() = error.what();
    return kBadInput;
  } catch (const std::exception& error) {
    last_error() = error.what();
    return kFailed;
  }
}

}  // namespace arseg::motion
