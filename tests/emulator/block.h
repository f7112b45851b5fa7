// The block that one worker (a thread of the machine) is running: its threads, its warps and who of them can go on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fiber.h"
#include "runtime.h"

namespace arseg::emulator {

constexpr int kMostThreads = 1024;
constexpr int kWarp = 32;

enum class Order { Fifo, Lifo, Uniform, Priorities, Random };
enum class Copies { Early, Late, Random };

struct Options {
  Order order;
  Copies copies;
  uint64_t seed;
  unsigned workers;
  bool throwing;

  static Options from_environment();
};

struct Launch {
  const char* kernel;
  Site site;
  dim3 grid, block;
  size_t shared_bytes;
  Body body;
  void* arguments;
  Options options;
  size_t threads, blocks;
  std::vector<uint32_t> sequence;  // of the blocks
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::string failure;
};

// xorshift64*
class Random {
 public:
  void seed(uint64_t value) { state_ = value * 0x9e3779b97f4a7c15u | 1u; }
  uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>(state_ * 0x2545f4914f6cdd1du >> 32);
  }
  uint32_t below(uint32_t limit) { return next() % limit; }

 private:
  uint64_t state_ = 1;
};

enum class State : uint8_t { Ready, Running, AtBarrier, InWarp, Exited };

struct Lane {
  ThreadView view{};
  int number = 0;
  State state = State::Ready;
  Site waits_at;
  Fiber fiber;
  int group = 0;  // of copies, the open one
  std::vector<Copy> copies;
  size_t copies_made = 0;
  uint64_t steps = 0;

  int warp() const { return number / kWarp; }
  int lane() const { return number % kWarp; }
};

enum class Operation : uint8_t { Barrier, Shuffle, Ballot, MultiplyAdd, LoadMatrices };

// Lanes of a warp on their way into one operation.
struct Meeting {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  Operation operation{};
  Site site;
  void* arguments[kWarp];
};

struct Warp {
  static constexpr int kMeetings = kWarp;
  Meeting meetings[kMeetings];  // free where mask == 0
  uint32_t alive = 0;
  uint32_t priority = 0;
  char fences[kWarp][2];  // of __syncwarp, by the lowest lane of the mask and in turn
  uint32_t turns = 0;
};

class Worker {
 public:
  static Worker& of_this_thread();

  void run(Launch& launch);

  void block_barrier(Site site);

  // Waits for all lanes of the mask; the last one calls run(arguments of the lanes).
  template <typename F>
  void meet(uint32_t mask, Operation operation, void* argument, Site site, F&& run);
  Warp& warp() { return warps[current->warp()]; }

  BlockView view{};
  Lane* current = nullptr;
  Launch* launch = nullptr;
  Counters counts;
  Random random;

  [[noreturn]] void give_up();

 private:
  Worker();
  void run_block(uint32_t number);
  void start_lanes(int threads);
  static void lane_main();
  void exit_lane();

  void make_ready(Lane& lane);
  Lane* pick();
  void wait();
  void go_on_with(Lane& lane);
  void release_barrier();
  void check_barrier_complete();
  [[noreturn]] void deadlock();
  Meeting& meeting(uint32_t mask, Operation operation, Site site);

  std::vector<std::unique_ptr<Lane>> lanes;
  Warp warps[kMostThreads / kWarp];
  Fiber own;
  bool broken = false;  // lanes were left where they were

  Order order{};
  int ready[kMostThreads];  // a ring
  int first_ready = 0, ready_count = 0;

  int threads = 0, waiting = 0, exited = 0;
  Site barrier_site;
  char barrier_fences[2];
  int barrier_turn = 0;
  char start_fence, end_fence;
};

template <typename F>
void Worker::meet(uint32_t mask, Operation operation, void* argument, Site site, F&& run) {
  Unwatched unwatched;
  Lane& me = *current;
  Meeting& there = meeting(mask, operation, site);
  there.arguments[me.lane()] = argument;
  there.arrived |= 1u << me.lane();
  me.waits_at = site;
  if (there.arrived != mask) {
    me.state = State::InWarp;
    wait();
    return;
  }
  run(there.arguments);
  there.mask = 0;
  for (uint32_t rest = mask & ~(1u << me.lane()); rest != 0; rest &= rest - 1) {
    make_ready(*lanes[me.warp() * kWarp + __builtin_ctz(rest)]);
  }
  if (order == Order::Uniform && random.next() % 2 == 0) {  // the last to come is not always the first to go on
    make_ready(me);
    wait();
  }
}

}  // namespace arseg::emulator
