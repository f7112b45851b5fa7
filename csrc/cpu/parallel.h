#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

// Work in torch's own threads, as many as torch.set_num_threads says.
namespace arseg {

// Memory of the calling thread, at least `bytes`, aligned to a cache line. It stays until the thread ends, so that
// calls do not pay for fresh pages.
void* thread_scratch(int64_t bytes);

// Threads at work on tasks, of all calls at once.
class RunningThreads {
 public:
  static void enter();
  static bool enter_below(int64_t limit);  // unless there are as many already
  static void leave();
  static int64_t now();
  static int64_t most();  // since the last call of most()
};

// The thread that calls, from before its helpers start until they have ended: they would not know of it otherwise.
struct RunningCaller {
  RunningCaller() { RunningThreads::enter(); }
  ~RunningCaller() { RunningThreads::leave(); }
  RunningCaller(const RunningCaller&) = delete;
  RunningCaller& operator=(const RunningCaller&) = delete;
};

// Runs body(task, scratch) for each task in [0, count), each as soon as a thread is free. Several Python threads may
// call at once, each with a team of torch's: a thread that calls always works, but its helpers stay away, and leave at
// the next task, while as many are at work as torch was given.
template <typename Body>
void for_each_task(int64_t count, int64_t scratch_bytes, const Body& body) {
  const RunningCaller caller;
  if (count == 1) {  // as often for small maps, whose time is that of what is around the kernel
    body(0, thread_scratch(scratch_bytes));
    return;
  }
  const int64_t threads = torch::stable::get_num_threads();
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, std::min(threads, count), 1, [&](int64_t begin, int64_t) {
    const bool helping = begin != 0;
    if (helping && !RunningThreads::enter_below(threads)) return;
    void* scratch = thread_scratch(scratch_bytes);
    for (int64_t task = next++; task < count; task = next++) {
      body(task, scratch);
      if (helping && RunningThreads::now() > threads) break;
    }
    if (helping) RunningThreads::leave();
  });
}

}  // namespace arseg
