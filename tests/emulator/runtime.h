// The runtime under emulator.h: runs the threads of a block as fibers, one at a time, and meets them at barriers and
// warp operations. It is compiled without sanitizers, so that they judge what the kernels do and nothing else; whatever
// touches memory on behalf of a kernel is inline in emulator.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <tuple>
#include <type_traits>

#include "cuda_types.h"

namespace arseg::emulator {

using Site = std::source_location;

// What happened since the last reset, in all launches.
struct Counters {
  uint64_t mma = 0;
  uint64_t ldmatrix = 0;
  uint64_t ldmatrix_conflicts = 0;  // extra passes over the banks
  uint64_t copy_bytes = 0;
  uint64_t barriers = 0;  // of a block or a warp
  uint64_t shuffles = 0;  // and votes
  uint64_t atomics = 0;
  uint64_t blocks = 0;
  uint64_t shared_bytes = 0;  // the most of a block
  uint64_t steps = 0;         // the most of a thread in a launch, of loops that call count_step
};

Counters counters();
void reset_counters();

struct ThreadView {
  uint3 thread;
};
struct BlockView {
  uint3 block;
  dim3 block_size, grid_size;
  unsigned char* shared;
};
extern __thread const ThreadView* current_thread;
extern __thread const BlockView* current_block;

// Ends the process with code 86, or throws std::runtime_error from the launch with ARSEG_EMULATOR_FAILURE=throw.
[[noreturn]] void fail(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

void block_barrier(Site site);
void warp_barrier(uint32_t mask, Site site);

enum class Shuffle { Index, Xor, Up, Down };
void shuffle(uint32_t mask, void* value, int size, int lane, int width, Shuffle kind, Site site);
uint32_t ballot(uint32_t mask, bool predicate, Site site);

// `row` holds this lane's 16 bytes, read already; `address` is where they were.
void ldmatrix_x4(uint32_t* to, bool transposed, const void* row, const void* address, Site site);
void mma_m16n8k16(float* sum, const uint32_t* a, uint32_t b0, uint32_t b1, bool bfloat16, Site site);
void mma_m16n8k8_tf32(float* sum, const uint32_t* a, uint32_t b0, uint32_t b1, Site site);

struct Copy {
  void* shared;
  const void* global;
  bool valid;
  int group;
};
void check_shared(const void* address, size_t bytes, const char* user, Site site);
// True where the copy is to be made by a later cp_async_wait.
bool defer_copy(const Copy& copy);
void cp_async_commit();
// The next copy that has to be made before at most `pending` groups are under way.
bool next_copy(int pending, Copy* copy);

void count_atomic();
void count_step();

using Body = void (*)(void* arguments);
void run_grid(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, Body body, void* arguments, Site site);

template <typename... Parameters, typename... Arguments>
void launch(Site site, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            void* /*stream*/, Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "parameters of kernels are copied as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "parameters of a kernel are at most 4 KB");
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  } call{kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)};
  run_grid(
      name, grid, block, shared_bytes,
      [](void* erased) {
        auto& [to_call, parameters] = *static_cast<Call*>(erased);
        std::apply(to_call, parameters);
      },
      &call, site);
}

}  // namespace arseg::emulator

// The counters in the order of the struct; sets them to 0.
extern "C" void arseg_emulator_counters(uint64_t* values);
