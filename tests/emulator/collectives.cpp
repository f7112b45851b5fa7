// What the lanes of a warp do together.
#include <bit>
#include <cstring>

#include "block.h"
#include "half.h"

namespace arseg::emulator {

namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

bool contains(uint32_t mask, int lane) { return (mask >> lane & 1u) != 0; }

struct ShuffleArguments {
  void* value;
  int size, lane, width;
  Shuffle kind;
};

// The lane whose value `lane` gets.
int source_of(int lane, const ShuffleArguments& of) {
  const int first = lane & ~(of.width - 1), end = first + of.width;
  switch (of.kind) {
    case Shuffle::Index:
      return first + (of.lane & (of.width - 1));
    case Shuffle::Xor:
      return (lane ^ of.lane) < end ? lane ^ of.lane : lane;
    case Shuffle::Up:
      return lane - of.lane >= first ? lane - of.lane : lane;
    default:
      return lane + of.lane < end ? lane + of.lane : lane;
  }
}

struct BallotArguments {
  bool predicate;
  uint32_t result;
};

struct MatrixArguments {
  uint32_t* to;
  const void* row;
  uintptr_t address;
  bool transposed;
};

struct ProductArguments {
  float* sum;
  const uint32_t* a;
  uint32_t b[2];
};

float low(uint32_t word, bool bfloat16) {
  const auto bits = static_cast<uint16_t>(word);
  return bfloat16 ? gpu::bits::from_bfloat16(bits) : gpu::bits::from_half(bits);
}
float high(uint32_t word, bool bfloat16) { return low(word >> 16, bfloat16); }

}  // namespace

void warp_barrier(uint32_t mask, Site site) {
  Worker& worker = Worker::of_this_thread();
  Warp& warp = worker.warp();
  // One mask's fences alternate, so that who is early for the next barrier does not reach who is late from this one.
  const int group = mask == 0 ? 0 : __builtin_ctz(mask);
  char* fence = &warp.fences[group][warp.turns >> group & 1u];
  release(fence);
  worker.meet(mask, Operation::Barrier, nullptr, site, [&](void**) {
    warp.turns ^= 1u << group;
    ++worker.counts.barriers;
  });
  acquire(fence);
}

void shuffle(uint32_t mask, void* value, int size, int lane, int width, Shuffle kind, Site site) {
  if (width < 1 || width > kWarp || (width & (width - 1)) != 0) fail(site, "a shuffle of width %d", width);
  Worker& worker = Worker::of_this_thread();
  ShuffleArguments mine{value, size, lane, width, kind};
  worker.meet(mask, Operation::Shuffle, &mine, site, [&](void** arguments) {
    ++worker.counts.shuffles;
    uint64_t values[kWarp];
    for (int i = 0; i < kWarp; ++i) {
      if (!contains(mask, i)) continue;
      const auto& from = *static_cast<ShuffleArguments*>(arguments[i]);
      __builtin_memcpy(&values[i], from.value, from.size == 4 ? 4 : 8);
    }
    for (int i = 0; i < kWarp; ++i) {
      if (!contains(mask, i)) continue;
      const auto& to = *static_cast<ShuffleArguments*>(arguments[i]);
      const int source = source_of(i, to);
      if (source < 0 || source >= kWarp || !contains(mask, source)) {
        fail(site, "lane %d takes part in a shuffle from lane %d, which the mask %08x leaves out", i, source, mask);
      }
      __builtin_memcpy(to.value, &values[source], to.size == 4 ? 4 : 8);
    }
  });
}

uint32_t ballot(uint32_t mask, bool predicate, Site site) {
  Worker& worker = Worker::of_this_thread();
  BallotArguments mine{predicate, 0};
  worker.meet(mask, Operation::Ballot, &mine, site, [&](void** arguments) {
    ++worker.counts.shuffles;
    uint32_t result = 0;
    for (int i = 0; i < kWarp; ++i) {
      if (contains(mask, i) && static_cast<BallotArguments*>(arguments[i])->predicate) result |= 1u << i;
    }
    for (int i = 0; i < kWarp; ++i) {
      if (contains(mask, i)) static_cast<BallotArguments*>(arguments[i])->result = result;
    }
  });
  return mine.result;
}

void ldmatrix_x4(uint32_t* to, bool transposed, const void* row, const void* address, Site site) {
  Worker& worker = Worker::of_this_thread();
  MatrixArguments mine{to, row, reinterpret_cast<uintptr_t>(address), transposed};
  worker.meet(kAllLanes, Operation::LoadMatrices, &mine, site, [&](void** arguments) {
    ++worker.counts.ldmatrix;
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t values[8][8];
      uintptr_t addresses[8];
      uint64_t in_bank[8] = {}, passes = 0;  // rows of 16 bytes: 8 of them are all 32 banks
      for (int i = 0; i < 8; ++i) {
        const auto& from = *static_cast<MatrixArguments*>(arguments[8 * matrix + i]);
        __builtin_memcpy(values[i], from.row, 16);
        addresses[i] = from.address;
        bool seen = false;
        for (int j = 0; j < i; ++j) seen = seen || addresses[j] == addresses[i];
        uint64_t& count = in_bank[from.address / 16 % 8];
        if (!seen && ++count > passes) passes = count;
      }
      worker.counts.ldmatrix_conflicts += passes - 1;
      for (int lane = 0; lane < kWarp; ++lane) {
        const auto& target = *static_cast<MatrixArguments*>(arguments[lane]);
        const int g = lane / 4, t = 2 * (lane % 4);
        const uint32_t first = transposed ? values[t][g] : values[g][t];
        const uint32_t second = transposed ? values[t + 1][g] : values[g][t + 1];
        target.to[matrix] = first | second << 16;
      }
    }
  });
}

void mma_m16n8k16(float* sum, const uint32_t* a, uint32_t b0, uint32_t b1, bool bfloat16, Site site) {
  Worker& worker = Worker::of_this_thread();
  ProductArguments mine{sum, a, {b0, b1}};
  worker.meet(kAllLanes, Operation::MultiplyAdd, &mine, site, [&](void** arguments) {
    ++worker.counts.mma;
    alignas(64) float left[16][16], right[16][8], sums[16][8];
    for (int lane = 0; lane < kWarp; ++lane) {
      const auto& from = *static_cast<ProductArguments*>(arguments[lane]);
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int part = 0; part < 4; ++part) {
        const int row = g + 8 * (part % 2), column = t + 8 * (part / 2);
        left[row][column] = low(from.a[part], bfloat16);
        left[row][column + 1] = high(from.a[part], bfloat16);
      }
      for (int part = 0; part < 2; ++part) {
        right[t + 8 * part][g] = low(from.b[part], bfloat16);
        right[t + 8 * part + 1][g] = high(from.b[part], bfloat16);
        sums[g + 8 * part][t] = from.sum[2 * part];
        sums[g + 8 * part][t + 1] = from.sum[2 * part + 1];
      }
    }
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 16; ++k) {
        for (int j = 0; j < 8; ++j) sums[i][j] += left[i][k] * right[k][j];
      }
    }
    for (int lane = 0; lane < kWarp; ++lane) {
      const auto& to = *static_cast<ProductArguments*>(arguments[lane]);
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int part = 0; part < 2; ++part) {
        to.sum[2 * part] = sums[g + 8 * part][t];
        to.sum[2 * part + 1] = sums[g + 8 * part][t + 1];
      }
    }
  });
}

void mma_m16n8k8_tf32(float* sum, const uint32_t* a, uint32_t b0, uint32_t b1, Site site) {
  Worker& worker = Worker::of_this_thread();
  ProductArguments mine{sum, a, {b0, b1}};
  worker.meet(kAllLanes, Operation::MultiplyAdd, &mine, site, [&](void** arguments) {
    ++worker.counts.mma;
    const auto value = [](uint32_t word) { return std::bit_cast<float>(word & 0xffffe000u); };
    float left[16][8], right[8][8];
    for (int lane = 0; lane < kWarp; ++lane) {
      const auto& from = *static_cast<ProductArguments*>(arguments[lane]);
      const int g = lane / 4, t = lane % 4;
      for (int part = 0; part < 4; ++part) left[g + 8 * (part % 2)][t + 4 * (part / 2)] = value(from.a[part]);
      for (int part = 0; part < 2; ++part) right[t + 4 * part][g] = value(from.b[part]);
    }
    for (int lane = 0; lane < kWarp; ++lane) {
      const auto& to = *static_cast<ProductArguments*>(arguments[lane]);
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int i = 0; i < 4; ++i) {
        for (int k = 0; k < 8; ++k) to.sum[i] += left[g + 8 * (i / 2)][k] * right[k][t + i % 2];
      }
    }
  });
}

}  // namespace arseg::emulator
