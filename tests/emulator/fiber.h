// A stack of its own to switch to and from; the sanitizers are told of every switch. The runtime is compiled without
// sanitizers: ARSEG_EMULATOR_ASAN and ARSEG_EMULATOR_TSAN say with which the kernels are compiled.
#pragma once

#include <pthread.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(ARSEG_EMULATOR_ASAN)
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_bottom, size_t* old_size);
}
#endif
#if defined(ARSEG_EMULATOR_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

#if defined(__x86_64__)
// Pushes the registers a call keeps, stores the stack in *from and goes on with the stack `to`.
extern "C" void arseg_emulator_switch(void** from, void* to);
#endif

namespace arseg::emulator {

// What happens before in one thread of the GPU happens before what follows in another only through these.
inline void release([[maybe_unused]] char* meeting) {
#if defined(ARSEG_EMULATOR_TSAN)
  __tsan_release(meeting);
#endif
}
inline void acquire([[maybe_unused]] char* meeting) {
#if defined(ARSEG_EMULATOR_TSAN)
  __tsan_acquire(meeting);
#endif
}

// ThreadSanitizer sees the runtime's calls of the C library; within this scope it looks away.
class Unwatched {
 public:
#if defined(ARSEG_EMULATOR_TSAN)
  Unwatched() {
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  ~Unwatched() {
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
  }
#else
  Unwatched() {}
  ~Unwatched() {}
#endif
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

class Fiber {
 public:
#if defined(ARSEG_EMULATOR_ASAN) || defined(ARSEG_EMULATOR_TSAN)
  static constexpr size_t kStack = 256 * 1024;
#else
  static constexpr size_t kStack = 64 * 1024;
#endif
  static constexpr size_t kGuard = 64 * 1024;  // a whole page on every machine

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() {
    if (mapped_) munmap(mapped_, kGuard + kStack);  // ThreadSanitizer keeps its side: it would ask what the lane was at
  }

  // To be the stack of the calling thread.
  void adopt_thread() {
#if defined(ARSEG_EMULATOR_ASAN)
    pthread_attr_t attributes;
    void* bottom = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &bottom, &size_);
    pthread_attr_destroy(&attributes);
    bottom_ = static_cast<char*>(bottom);
#endif
#if defined(ARSEG_EMULATOR_TSAN)
    tsan_ = __tsan_get_current_fiber();
#endif
  }

  // To begin with entry(), which does not return. `number` keeps the tops of the stacks apart in the caches.
  void prepare(void (*entry)(), int number) {
    if (!mapped_) {
      void* mapped = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (mapped == MAP_FAILED) std::abort();
      mapped_ = static_cast<char*>(mapped);
      mprotect(mapped_, kGuard, PROT_NONE);
      bottom_ = mapped_ + kGuard;
      size_ = kStack;
#if defined(ARSEG_EMULATOR_TSAN)
      tsan_ = __tsan_create_fiber(0);
#endif
    }
    fake_stack_ = nullptr;
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(bottom_ + size_ - static_cast<size_t>(number) * 320 % 20480);
    *--top = nullptr;  // where entry() would return to
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    stack_ = top;
#else
    (void)number;
    getcontext(&context_);
    context_.uc_stack.ss_sp = bottom_;
    context_.uc_stack.ss_size = size_;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#endif
  }

  static void change(Fiber& from, Fiber& to) {
#if defined(ARSEG_EMULATOR_ASAN)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#endif
#if defined(ARSEG_EMULATOR_TSAN)
    constexpr unsigned kNothingHappensBefore = 1;
    __tsan_switch_to_fiber(to.tsan_, kNothingHappensBefore);
#endif
#if defined(__x86_64__)
    arseg_emulator_switch(&from.stack_, to.stack_);
#else
    swapcontext(&from.context_, &to.context_);
#endif
    from.arrived();
  }

  // The first thing to call in entry().
  void arrived() {
#if defined(ARSEG_EMULATOR_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
  }

 private:
  char* mapped_ = nullptr;
  char* bottom_ = nullptr;
  size_t size_ = 0;
  void* fake_stack_ = nullptr;
#if defined(ARSEG_EMULATOR_TSAN)
  void* tsan_ = nullptr;
#endif
#if defined(__x86_64__)
  void* stack_ = nullptr;
#else
  ucontext_t context_{};
#endif
};

}  // namespace arseg::emulator
