// Launches, the scheduler of a block's threads, barriers of the block, asynchronous copies and reports of failures.
#include "runtime.h"

#include <unistd.h>

#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "block.h"

#if defined(__x86_64__)
asm(R"(
.text
.globl arseg_emulator_switch
.type arseg_emulator_switch, @function
arseg_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size arseg_emulator_switch, .-arseg_emulator_switch
)");
#endif

namespace arseg::emulator {

__thread const ThreadView* current_thread;
__thread const BlockView* current_block;

namespace {

constexpr int kFailureCode = 86;
constexpr size_t kMostShared = 99 * 1024;  // of sm_86 and sm_89, the least of the GPUs built for
constexpr size_t kSharedAlignment = 1024;
constexpr unsigned char kPoison = 0xff;  // NaN in every floating-point type
// Behind shared memory, where no AddressSanitizer watches.
constexpr size_t kMargin = 1024;
constexpr unsigned char kMarginByte = 0xa5;

#if defined(ARSEG_EMULATOR_ASAN)
constexpr bool kWatchedMemory = true;
#else
constexpr bool kWatchedMemory = false;
#endif

__thread Worker* this_worker;
std::mutex counters_mutex;
Counters total;

std::string place(Site site) { return std::string(site.file_name()) + ":" + std::to_string(site.line()); }

std::string text(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

const char* variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : otherwise;
}

// Kernel, block and thread of this worker, and how to see the same schedule again.
std::string context() {
  std::string result;
  Worker* worker = this_worker;
  if (worker != nullptr && worker->launch != nullptr) {
    result += std::string("\n  kernel ") + worker->launch->kernel + ", block " + text(worker->view.block);
    if (worker->current != nullptr) result += ", thread " + text(worker->current->view.thread);
    result += "\n  launched at " + place(worker->launch->site);
  }
  for (const char* name : {"SEED", "ORDER", "COPIES"}) {
    const std::string full = std::string("ARSEG_EMULATOR_") + name;
    result += (name[1] == 'E' ? "\n  " : " ") + full + "=" + variable(full.c_str(), name[1] == 'E' ? "1" : "random");
  }
  return result;
}

bool throwing() { return std::string_view(variable("ARSEG_EMULATOR_FAILURE", "exit")) == "throw"; }

[[noreturn]] void end_process(const std::string& message) {
  static std::atomic_flag taken;
  if (!taken.test_and_set()) {
    std::fprintf(stderr, "\n%s\n", message.c_str());
    std::fflush(stderr);
    _exit(kFailureCode);
  }
  for (;;) pause();  // another worker's failure is being written
}

// For failures of a block: the first is what the launch throws.
void record(Launch& launch, const std::string& message) {
  if (!throwing()) end_process(message);
  const std::scoped_lock lock(counters_mutex);
  if (!launch.failed.exchange(true)) launch.failure = message;
}

[[noreturn]] void fail_with(const std::string& what) {
  Unwatched unwatched;
  const std::string message = "emulator: " + what + context();
  Worker* worker = this_worker;
  if (worker != nullptr && worker->current != nullptr) {
    record(*worker->launch, message);
    worker->give_up();
  }
  if (!throwing()) end_process(message);
  throw std::runtime_error(message);
}

}  // namespace

void fail(Site site, const char* format, ...) {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  fail_with(std::string(what) + "\n  at " + place(site));
}

Options Options::from_environment() {
  const auto choose = [](const char* name, std::initializer_list<std::string_view> names) {
    const std::string_view value = variable(name, "random");
    for (size_t i = 0; i < names.size(); ++i) {
      if (value == names.begin()[i]) return static_cast<int>(i);
    }
    fail_with(std::string(name) + " is " + std::string(value));
  };
  Options options{};
  options.order = static_cast<Order>(choose("ARSEG_EMULATOR_ORDER", {"fifo", "lifo", "uniform", "pct", "random"}));
  options.copies = static_cast<Copies>(choose("ARSEG_EMULATOR_COPIES", {"early", "late", "random"}));
  options.seed = std::strtoull(variable("ARSEG_EMULATOR_SEED", "1"), nullptr, 10);
#if defined(ARSEG_EMULATOR_TSAN)
  options.workers = 1;
#else
  const char* workers = variable("ARSEG_EMULATOR_THREADS", "0");
  options.workers = static_cast<unsigned>(std::max(0, std::atoi(workers)));
  if (options.workers == 0) options.workers = std::max(1u, std::thread::hardware_concurrency());
#endif
  return options;
}

// Scheduling.

Worker::Worker() { own.adopt_thread(); }

Worker& Worker::of_this_thread() {
  if (this_worker == nullptr) {
    static thread_local std::unique_ptr<Worker> worker;
    worker.reset(new Worker);
    this_worker = worker.get();
  }
  return *this_worker;
}

void Worker::make_ready(Lane& lane) {
  lane.state = State::Ready;
  ready[(first_ready + ready_count++) % kMostThreads] = lane.number;
}

Lane* Worker::pick() {
  if (ready_count == 0) return nullptr;
  const auto at = [&](int i) -> int& { return ready[(first_ready + i) % kMostThreads]; };
  int chosen = 0;
  switch (order) {
    case Order::Fifo: {
      Lane* lane = lanes[at(0)].get();
      first_ready = (first_ready + 1) % kMostThreads;
      --ready_count;
      return lane;
    }
    case Order::Lifo:
      chosen = ready_count - 1;
      break;
    case Order::Uniform:
      chosen = static_cast<int>(random.below(static_cast<uint32_t>(ready_count)));
      break;
    default: {  // a warp runs as long as it can, until the priorities change; lanes of it in any order
      if (random.below(97) == 0)
        warps[random.below(static_cast<uint32_t>((threads + kWarp - 1) / kWarp))].priority = random.next();
      const int offset = static_cast<int>(random.below(static_cast<uint32_t>(ready_count)));
      chosen = offset;
      for (int i = 0; i < ready_count; ++i) {
        const int candidate = (offset + i) % ready_count;
        if (warps[at(candidate) / kWarp].priority > warps[at(chosen) / kWarp].priority) chosen = candidate;
      }
    }
  }
  Lane* lane = lanes[at(chosen)].get();
  at(chosen) = at(ready_count - 1);
  --ready_count;
  return lane;
}

void Worker::go_on_with(Lane& lane) {
  lane.state = State::Running;
  if (&lane == current) return;
  Fiber& from = current != nullptr ? current->fiber : own;
  current = &lane;
  current_thread = &lane.view;
  Fiber::change(from, lane.fiber);
}

void Worker::wait() {
  Lane* next = pick();
  if (next == nullptr) deadlock();
  go_on_with(*next);
}

void Worker::deadlock() {
  std::map<std::string, int> places;
  for (int i = 0; i < threads; ++i) {
    const Lane& lane = *lanes[i];
    if (lane.state == State::Exited) {
      ++places["have exited"];
    } else {
      ++places[std::string(lane.state == State::AtBarrier ? "wait for __syncthreads at " : "wait for their warp at ") +
               place(lane.waits_at)];
    }
  }
  std::string what = "deadlock: no thread of the block can go on";
  for (const auto& [where, count] : places) what += "\n  " + std::to_string(count) + " threads " + where;
  fail_with(what);
}

// Leaves every lane where it is; the next block gets new ones.
void Worker::give_up() {
  broken = true;
  Lane* from = current;
  current = nullptr;
  Fiber::change(from->fiber, own);
  std::abort();
}

void Worker::release_barrier() {
  waiting = 0;
  barrier_turn ^= 1;
  ++counts.barriers;
  for (int i = 0; i < threads; ++i) {
    if (lanes[i]->state == State::AtBarrier) make_ready(*lanes[i]);
  }
}

void Worker::check_barrier_complete() {
  if (waiting != 0 && waiting == threads - exited) release_barrier();
}

namespace {

bool same_place(Site a, Site b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

}  // namespace

void Worker::block_barrier(Site site) {
  Unwatched unwatched;
  Lane& me = *current;
  char* fence = &barrier_fences[barrier_turn];
  release(fence);
  if (waiting == 0) {
    barrier_site = site;
  } else if (!same_place(barrier_site, site)) {
    fail_with("divergent __syncthreads: at " + place(site) + " while others are at " + place(barrier_site));
  }
  me.waits_at = site;
  me.state = State::AtBarrier;
  ++waiting;
  check_barrier_complete();
  wait();
  acquire(fence);
}

void block_barrier(Site site) { Worker::of_this_thread().block_barrier(site); }

Meeting& Worker::meeting(uint32_t mask, Operation operation, Site site) {
  Warp& own_warp = warp();
  const int lane = current->lane();
  if ((mask >> lane & 1u) == 0) fail(site, "the mask %08x leaves out lane %d, which uses it", mask, lane);
  if ((mask & ~own_warp.alive) != 0) {
    fail(site, "the mask %08x names lanes that have exited or never were: alive are %08x", mask, own_warp.alive);
  }
  Meeting* unused = nullptr;
  for (Meeting& there : own_warp.meetings) {
    if (there.mask == 0) {
      if (unused == nullptr) unused = &there;
    } else if (there.mask == mask) {
      if (there.operation != operation || !same_place(there.site, site)) {
        fail_with("divergent warp: lanes of the mask are at " + place(site) + " and at " + place(there.site));
      }
      return there;
    } else if ((there.mask & mask) != 0) {
      fail_with("divergent warp: lanes of the mask at " + place(site) + " are awaited with another mask at " +
                place(there.site));
    }
  }
  *unused = {mask, 0, operation, site, {}};
  return *unused;
}

// Blocks.

void Worker::lane_main() {
  this_worker->current->fiber.arrived();
  for (;;) {
    Worker& worker = *this_worker;
    acquire(&worker.start_fence);
    worker.launch->body(worker.launch->arguments);
    release(&worker.end_fence);
    worker.exit_lane();
  }
}

void Worker::exit_lane() {
  Unwatched unwatched;
  Lane& me = *current;
  if (me.copies_made < me.copies.size()) fail_with("a thread exits with asynchronous copies under way");
  me.state = State::Exited;
  counts.steps = std::max(counts.steps, me.steps);
  ++exited;
  warp().alive &= ~(1u << me.lane());
  check_barrier_complete();
  if (exited < threads) {
    wait();
    return;
  }
  current = nullptr;
  current_thread = nullptr;
  Fiber::change(me.fiber, own);
}

void Worker::start_lanes(int count) {
  if (broken) lanes.clear();
  broken = false;
  while (static_cast<int>(lanes.size()) < count) {
    lanes.push_back(std::make_unique<Lane>());
    lanes.back()->number = static_cast<int>(lanes.size()) - 1;
    lanes.back()->fiber.prepare(&lane_main, lanes.back()->number);
  }
  threads = count;
  waiting = exited = ready_count = first_ready = 0;
  const dim3 size = view.block_size;
  for (int i = 0; i < (count + kWarp - 1) / kWarp; ++i) {
    const int lanes_of_warp = std::min(kWarp, count - i * kWarp);
    warps[i].alive = lanes_of_warp == kWarp ? 0xffffffffu : (1u << lanes_of_warp) - 1;
    warps[i].priority = random.next();
    for (Meeting& there : warps[i].meetings) there.mask = 0;
  }
  for (int i = 0; i < count; ++i) {
    Lane& lane = *lanes[i];
    const auto number = static_cast<unsigned>(i);
    lane.view.thread = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
    lane.group = 0;
    lane.copies.clear();
    lane.copies_made = 0;
    lane.steps = 0;
    make_ready(lane);
  }
}

void Worker::run_block(uint32_t number) {
  const dim3 grid = launch->grid;
  view.block = {number % grid.x, number / grid.x % grid.y, number / (grid.x * grid.y)};
  random.seed(launch->options.seed * 0x100000001b3u + std::hash<std::string_view>()(launch->kernel) + number);
  order = launch->options.order;
  if (order == Order::Random) order = static_cast<Order>(static_cast<uint32_t>(Order::Lifo) + random.below(3));
  std::memset(view.shared, kPoison, launch->shared_bytes);
  if (!kWatchedMemory) std::memset(view.shared + launch->shared_bytes, kMarginByte, kMargin);
  ++counts.blocks;
  start_lanes(static_cast<int>(launch->threads));
  release(&start_fence);
  wait();
  if (kWatchedMemory || broken) return;
  for (size_t i = 0; i < kMargin; ++i) {
    if (view.shared[launch->shared_bytes + i] == kMarginByte) continue;
    record(*launch, "emulator: shared memory was written " + std::to_string(i) + " bytes behind its end, of " +
                        std::to_string(launch->shared_bytes) + " bytes" + context());
    return;
  }
}

namespace {

#if defined(ARSEG_EMULATOR_TSAN)
// Mapped anew for every block: to ThreadSanitizer it is other memory then.
unsigned char* map_shared(size_t bytes, void* at) {
  return static_cast<unsigned char*>(
      mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at != nullptr ? MAP_FIXED : 0), -1, 0));
}
#endif

}  // namespace

void Worker::run(Launch& to_run) {
  Unwatched unwatched;
  launch = &to_run;
  counts = {};
  view.block_size = to_run.block;
  view.grid_size = to_run.grid;
  const size_t bytes = to_run.shared_bytes + (kWatchedMemory ? 0 : kMargin);
#if defined(ARSEG_EMULATOR_TSAN)
  view.shared = map_shared(bytes, nullptr);
#else
  void* memory = nullptr;
  if (posix_memalign(&memory, kSharedAlignment, bytes) != 0) std::abort();
  view.shared = static_cast<unsigned char*>(memory);
#endif
  current_block = &view;
  for (;;) {
    const size_t next = to_run.next.fetch_add(1);
    if (next >= to_run.blocks || to_run.failed) break;
#if defined(ARSEG_EMULATOR_TSAN)
    map_shared(bytes, view.shared);
#endif
    run_block(to_run.sequence[next]);
  }
  acquire(&end_fence);
#if defined(ARSEG_EMULATOR_TSAN)
  munmap(view.shared, bytes);
#else
  std::free(memory);
#endif
  current_block = nullptr;
  launch = nullptr;
  const std::scoped_lock lock(counters_mutex);
  total.mma += counts.mma;
  total.ldmatrix += counts.ldmatrix;
  total.ldmatrix_conflicts += counts.ldmatrix_conflicts;
  total.copy_bytes += counts.copy_bytes;
  total.barriers += counts.barriers;
  total.shuffles += counts.shuffles;
  total.atomics += counts.atomics;
  total.blocks += counts.blocks;
  total.shared_bytes = std::max<uint64_t>(total.shared_bytes, to_run.shared_bytes);
  total.steps = std::max(total.steps, counts.steps);
}

// Launches.

namespace {

// Threads that help the launching one with its blocks. They are never ended: one object for the process.
class Pool {
 public:
  static Pool& get() {
    static Pool* const pool = new Pool;
    return *pool;
  }

  void run(Launch& launch) {
    const std::scoped_lock one_launch(launches_);
    const size_t helpers = std::min<size_t>(launch.options.workers, launch.blocks) - 1;
    if (helpers > 0) {
      const std::scoped_lock lock(mutex_);
      while (threads_ < helpers) {
        std::thread([this] { help(); }).detach();
        ++threads_;
      }
      launch_ = &launch;
      places_ = helpers;
      work_.notify_all();
    }
    Worker::of_this_thread().run(launch);
    std::unique_lock lock(mutex_);
    places_ = 0;
    done_.wait(lock, [this] { return helping_ == 0; });
  }

 private:
  void help() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return places_ > 0; });
      --places_;
      ++helping_;
      Launch* launch = launch_;
      lock.unlock();
      Worker::of_this_thread().run(*launch);
      lock.lock();
      if (--helping_ == 0) done_.notify_all();
    }
  }

  std::mutex launches_, mutex_;
  std::condition_variable work_, done_;
  Launch* launch_ = nullptr;
  size_t threads_ = 0, places_ = 0, helping_ = 0;
};

}  // namespace

void run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, Body body, void* arguments, Site site) {
  Unwatched unwatched;
  Launch launch{};
  launch.kernel = kernel;
  launch.site = site;
  launch.grid = grid;
  launch.block = block;
  launch.shared_bytes = shared_bytes;
  launch.body = body;
  launch.arguments = arguments;
  launch.options = Options::from_environment();
  launch.threads = size_t{block.x} * block.y * block.z;
  launch.blocks = size_t{grid.x} * grid.y * grid.z;
  if (launch.threads == 0 || launch.threads > kMostThreads || block.z > 64) {
    fail(site, "%s cannot be launched with blocks of (%u, %u, %u)", kernel, block.x, block.y, block.z);
  }
  if (launch.blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    fail(site, "%s cannot be launched with a grid of (%u, %u, %u)", kernel, grid.x, grid.y, grid.z);
  }
  if (shared_bytes > kMostShared) {
    fail(site, "%s cannot be launched with %zu bytes of shared memory, more than %zu", kernel, shared_bytes,
         kMostShared);
  }
  launch.sequence.resize(launch.blocks);
  std::iota(launch.sequence.begin(), launch.sequence.end(), 0u);
  if (launch.options.order != Order::Fifo) {
    Random random;
    random.seed(launch.options.seed + 0x5bd1e995u);
    for (size_t i = launch.blocks; i > 1; --i) {
      std::swap(launch.sequence[i - 1], launch.sequence[random.below(static_cast<uint32_t>(i))]);
    }
  }
  Pool::get().run(launch);
  if (launch.failed) throw std::runtime_error(launch.failure);
}

// Copies.

void check_shared(const void* address, size_t bytes, const char* user, Site site) {
  const Worker& worker = *this_worker;
  const auto* first = static_cast<const unsigned char*>(address);
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
    fail(site, "the shared address of %s is no multiple of 16", user);
  }
  if (first < worker.view.shared || first + bytes > worker.view.shared + worker.launch->shared_bytes) {
    fail(site, "the shared address of %s is outside of shared memory (byte %td of %zu)", user,
         first - worker.view.shared, worker.launch->shared_bytes);
  }
}

bool defer_copy(const Copy& copy) {
  Unwatched unwatched;
  Worker& worker = *this_worker;
  worker.counts.copy_bytes += copy.valid ? 16 : 0;
  const Copies when = worker.launch->options.copies;
  if (when == Copies::Early || (when == Copies::Random && worker.random.next() % 2 == 0)) return false;
  Lane& lane = *worker.current;
  lane.copies.push_back(copy);
  lane.copies.back().group = lane.group;
  return true;
}

void cp_async_commit() { ++this_worker->current->group; }

bool next_copy(int pending, Copy* copy) {
  Unwatched unwatched;
  Lane& lane = *this_worker->current;
  if (lane.copies_made < lane.copies.size() && lane.copies[lane.copies_made].group < lane.group - pending) {
    *copy = lane.copies[lane.copies_made++];
    return true;
  }
  if (lane.copies_made == lane.copies.size()) {
    lane.copies.clear();
    lane.copies_made = 0;
    lane.steps = 0;
  }
  return false;
}

// Counters.

void count_atomic() { ++this_worker->counts.atomics; }
void count_step() { ++this_worker->current->steps; }

Counters counters() {
  const std::scoped_lock lock(counters_mutex);
  return total;
}

void reset_counters() {
  const std::scoped_lock lock(counters_mutex);
  total = {};
}

}  // namespace arseg::emulator

extern "C" void arseg_emulator_counters(uint64_t* values) {
  const arseg::emulator::Counters counters = arseg::emulator::counters();
  static_assert(sizeof counters == 10 * sizeof(uint64_t));
  std::memcpy(values, &counters, sizeof counters);
  arseg::emulator::reset_counters();
}

// What the sanitizers find, they report without knowing of kernels.
#if defined(ARSEG_EMULATOR_ASAN)
extern "C" void __asan_on_error() {
  std::fprintf(stderr, "\nemulator: AddressSanitizer found an error%s\n", arseg::emulator::context().c_str());
}
#endif
#if defined(ARSEG_EMULATOR_TSAN)
extern "C" void __tsan_on_report(const void*) {
  std::fprintf(stderr, "\nemulator: ThreadSanitizer found a race%s\n", arseg::emulator::context().c_str());
}
#endif
