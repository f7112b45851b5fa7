#include "parallel.h"

#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace arseg {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

struct ScratchOfThread {
  std::unique_ptr<void, Free> memory;
  int64_t bytes = 0;
};

std::atomic<int64_t> running{0};
std::atomic<int64_t> most_running{0};

void note_most(int64_t count) {
  int64_t most = most_running.load();
  while (count > most && !most_running.compare_exchange_weak(most, count)) {
  }
}

}  // namespace

void* thread_scratch(int64_t bytes) {
  thread_local ScratchOfThread scratch;
  if (scratch.bytes < bytes) {
    // Rings of a megabyte are read at strides of a page: one large page spares the misses.
    const int64_t alignment = bytes > kHugePage / 4 ? kHugePage : 4096;
    const int64_t size = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(size));
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHugePage) madvise(memory, static_cast<size_t>(size), MADV_HUGEPAGE);
#endif
    scratch.memory.reset(memory);
    scratch.bytes = size;
  }
  return scratch.memory.get();
}

void RunningThreads::enter() { note_most(++running); }

bool RunningThreads::enter_below(int64_t limit) {
  int64_t count = running.load();
  while (count < limit) {
    if (running.compare_exchange_weak(count, count + 1)) {
      note_most(count + 1);
      return true;
    }
  }
  return false;
}

void RunningThreads::leave() { --running; }

int64_t RunningThreads::now() { return running.load(std::memory_order_relaxed); }

int64_t RunningThreads::most() { return most_running.exchange(running.load()); }

}  // namespace arseg
