// Kernels with one fault each, that the emulator must notice, and sound ones that it must let pass: selftest.py runs
// this program once for each, by number. Exits with 0, with 9 for a wrong result, or as the emulator or a sanitizer
// ends it.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "../../csrc/common/device.cuh"

namespace {

namespace gpu = arseg::gpu;

constexpr int kThreads = 64;

__global__ void sound(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  float sum = values[(threadIdx.x + 33) % blockDim.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(gpu::kAllLanes, sum, lanes);
  const unsigned odd = __ballot_sync(gpu::kAllLanes, threadIdx.x % 2 == 1);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum + static_cast<float>(__popc(odd));
}

// Each lane of the lower half of a warp ends early; the upper half goes on with its own mask.
__global__ void sound_exit(float* out) {
  if (threadIdx.x % 32 < 16) return;
  out[threadIdx.x] = __shfl_down_sync(0xffff0000u, static_cast<float>(threadIdx.x), 1);
  __syncwarp(0xffff0000u);
  __syncthreads();
}

__global__ void sound_copies(const float* in, float* out) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + 16 * threadIdx.x, in, threadIdx.x % 2 == 0);
  gpu::cp_async_commit();
  gpu::cp_async16(shared + 16 * (blockDim.x + threadIdx.x), in + 4, true);
  gpu::cp_async_commit();
  gpu::cp_async_wait<1>();
  __syncthreads();
  out[threadIdx.x] = reinterpret_cast<float*>(shared)[4 * (threadIdx.x ^ 1)];
  gpu::cp_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] += reinterpret_cast<float*>(shared)[4 * (blockDim.x + (threadIdx.x ^ 1))];
}

// out [16, 8] = a [16, 16] b [16, 8], with a and b of 16-bit values in shared memory.
template <typename T>
__global__ void sound_product(float* out) {
  ARSEG_SHARED(shared);
  auto* a = reinterpret_cast<T*>(shared);
  T* b = a + 16 * 16;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) a[i] = gpu::from_float<T>(static_cast<float>(i % 23 - 11));
  for (int i = lane; i < 16 * 16; i += 32) b[i] = gpu::from_float<T>(static_cast<float>(i % 16 < 8 ? i % 19 - 9 : 0));
  __syncwarp();
  uint32_t left[4], right[4];
  const int row = lane % 8 + lane / 8 % 2 * 8, column = lane / 16 * 8;
  gpu::ldmatrix_x4<false>(left, a + row * 16 + column);
  gpu::ldmatrix_x4<true>(right, b + row * 16 + column);
  float sum[4] = {0, 0, 0, 0};
  gpu::mma_m16n8k16<T>(sum, left, right[0], right[1]);
  float* to = out + lane / 4 * 8 + lane % 4 * 2;
  to[0] = sum[0];
  to[1] = sum[1];
  to[64] = sum[2];
  to[65] = sum[3];
}

// The same as TF32, of [16, 8] and [8, 8]: 1 + 2^-10 is kept, and 2^-11 is lost.
__global__ void sound_tf32(float* out) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto left = [](int row, int k) { return static_cast<float>((8 * row + k) % 23 - 11) * (1.0f + 0x1.8p-10f); };
  const auto right = [](int k, int column) { return static_cast<float>((8 * k + column) % 19 - 9) + 0x1p-8f; };
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = __float_as_uint(left(g + 8 * (i % 2), t + 4 * (i / 2)));
  for (int i = 0; i < 2; ++i) b[i] = __float_as_uint(right(t + 4 * i, g));
  float sum[4] = {1, 2, 3, 4};
  gpu::mma_m16n8k8_tf32(sum, a, b[0], b[1]);
  for (int i = 0; i < 4; ++i) {
    float expected = static_cast<float>(i + 1);
    for (int k = 0; k < 8; ++k) {
      expected += gpu::cut_to_tf32(left(g + 8 * (i / 2), k)) * gpu::cut_to_tf32(right(k, 2 * t + i % 2));
    }
    out[4 * lane + i] = sum[i] - expected;
  }
}

__global__ void sound_atomics(float* out) {
  auto* count = reinterpret_cast<int*>(out);
  atomicAdd(count, 1);
}

__global__ void no_syncthreads(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x ^ 32];
}

__global__ void no_syncwarp(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x ^ 1];
}

// A shuffle orders no memory.
__global__ void shuffle_for_syncwarp(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  const float one = __shfl_xor_sync(gpu::kAllLanes, 1.0f, 1);
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x ^ 1] * one;
}

__global__ void blocks_share_a_sum(float* out) {
  if (threadIdx.x == blockIdx.x) out[0] += 1.0f;
}

__global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = 1;
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void deadlock(float*) {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

__global__ void mask_without_caller(float* out) {
  if (threadIdx.x < 8) out[threadIdx.x] = __shfl_xor_sync(0x0fu, 1.0f, 1);
}

__global__ void mask_of_exited(float* out) {
  if (threadIdx.x % 32 == 5) return;
  __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(gpu::kAllLanes, 1.0f, 1);
}

__global__ void divergent_warp(float* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(gpu::kAllLanes, 1.0f, 2);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(gpu::kAllLanes, 2.0f, 2);
  }
}

__global__ void behind_shared(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  values[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void behind_global(float* out) { out[2 * kThreads - 1 + threadIdx.x / 63] = 1; }

__global__ void misaligned(float* out) {
  const float4 values = *reinterpret_cast<const float4*>(out + 1);
  out[threadIdx.x] = values.x;
}

__global__ void unwritten_shared(float* out) {
  ARSEG_SHARED(shared);
  auto* values = reinterpret_cast<float*>(shared);
  if (threadIdx.x > 0) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void any(float*) {}

__global__ void exit_with_copies(const float* in) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + threadIdx.x * 16, in, true);
  gpu::cp_async_commit();
}

__global__ void no_wait(const float* in, float* out) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + threadIdx.x * 16, in, true);
  gpu::cp_async_commit();
  __syncthreads();
  out[threadIdx.x] = reinterpret_cast<float*>(shared)[threadIdx.x];
  gpu::cp_async_wait<0>();
}

// The copies of other threads are seen after a barrier only.
__global__ void wait_without_barrier(const float* in, float* out) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + threadIdx.x * 16, in, true);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
  out[threadIdx.x] = reinterpret_cast<float*>(shared)[4 * (threadIdx.x ^ 32)];
}

__global__ void copy_misaligned(const float* in) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + 8, in, true);
}

__global__ void copy_behind_shared(const float* in) {
  ARSEG_SHARED(shared);
  gpu::cp_async16(shared + 16 * (threadIdx.x + 1), in, true);
  gpu::cp_async_commit();
  gpu::cp_async_wait<0>();
}

__global__ void matrices_behind_shared(float* out) {
  ARSEG_SHARED(shared);
  uint32_t words[4];
  gpu::ldmatrix_x4<false>(words, shared + 16 * (threadIdx.x + 1));
  out[threadIdx.x] = static_cast<float>(words[0]);
}

bool is_index(const float* out, int flipped) {
  for (int i = 0; i < 2 * kThreads; ++i) {
    if (out[i] != static_cast<float>((i % kThreads) ^ flipped)) return false;
  }
  return true;
}

bool repeats_four(const float* out) {
  for (int i = 0; i < kThreads; ++i) {
    if (out[i] != static_cast<float>(i % 4 + 1)) return false;
  }
  return true;
}

template <typename T>
bool product_is_right(float* out) {
  ARSEG_LAUNCH(sound_product<T>, dim3(1), dim3(32), 1024, nullptr, out);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += static_cast<float>(((16 * i + k) % 23 - 11) * ((16 * k + j) % 19 - 9));
      if (out[8 * i + j] != sum) return false;
    }
  }
  return true;
}

template <typename T>
bool conversions_are_right() {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const T value{static_cast<uint16_t>(bits)};
    const float wide = gpu::to_float(value);
    const bool is_nan = wide != wide;
    const T again = gpu::from_float<T>(wide);
    if (!is_nan && again.bits != bits) return false;
    if (is_nan && gpu::to_float(again) == gpu::to_float(again)) return false;
    // Half-way to the next: to the even one.
    const uint32_t next_bits = bits + 1;
    const float next = gpu::to_float(T{static_cast<uint16_t>(next_bits)});
    if (is_nan || !std::isfinite(next) || !std::isfinite(wide) || bits == 0x7fff || bits == 0xffff) continue;
    const T middle = gpu::from_float<T>(static_cast<float>((static_cast<double>(wide) + next) / 2));
    if (middle.bits != (bits % 2 == 0 ? bits : next_bits)) return false;
  }
  return true;
}

bool run(std::string_view name, float* in, float* out) {
  const dim3 grid(2), block(kThreads);
  if (name == "sound") {
    ARSEG_LAUNCH(sound, grid, block, 256, nullptr, out);
    float sum = 0;
    for (int i = 0; i < 32; ++i) sum += static_cast<float>((i + 33) % kThreads);
    return out[0] == sum + 16 && out[kThreads + 31] == out[0];
  }
  if (name == "sound_exit") {
    ARSEG_LAUNCH(sound_exit, dim3(1), block, 0, nullptr, out);
    return out[16] == 17 && out[31] == 31 && out[0] == 0 && out[62] == 63;
  }
  if (name == "sound_copies") {
    ARSEG_LAUNCH(sound_copies, dim3(1), block, 32 * kThreads, nullptr, in, out);
    for (int i = 0; i < kThreads; ++i) {
      if (out[i] != (i % 2 == 1 ? 1.0f : 0.0f) + 5.0f) return false;
    }
    return true;
  }
  if (name == "sound_product") return product_is_right<gpu::Half>(out) && product_is_right<gpu::BFloat16>(out);
  if (name == "sound_tf32") {
    ARSEG_LAUNCH(sound_tf32, dim3(1), dim3(32), 0, nullptr, out);
    bool right = gpu::cut_to_tf32(1.0f + 0x1p-11f) == 1.0f && gpu::cut_to_tf32(-1.0f - 0x1p-10f) == -1.0f - 0x1p-10f;
    for (int i = 0; i < 128; ++i) right = right && std::fabs(out[i]) <= 1e-4f;
    return right;
  }
  if (name == "sound_conversions") {
    const float2 pair = gpu::unpack<gpu::Half>(gpu::pack<gpu::Half>(1.5f, -2.0f));
    return conversions_are_right<gpu::Half>() && conversions_are_right<gpu::BFloat16>() && pair.x == 1.5f &&
           pair.y == -2.0f && gpu::exp2_fast(-INFINITY) == 0.0f && gpu::exp2_fast(3.0f) == 8.0f &&
           gpu::reciprocal_fast(4.0f) == 0.25f && gpu::reciprocal_fast(0.0f) == INFINITY &&
           gpu::max_or_nan(-INFINITY, -3.0f) == -3.0f && gpu::max_or_nan(2.0f, INFINITY) == INFINITY &&
           std::isnan(gpu::max_or_nan(NAN, INFINITY)) && std::isnan(gpu::max_or_nan(1.0f, NAN));
  }
  if (name == "sound_counters") {
    uint64_t counts[9];
    arseg_emulator_counters(counts);
    product_is_right<gpu::Half>(out);
    ARSEG_LAUNCH(sound_atomics, grid, block, 0, nullptr, out);
    arseg_emulator_counters(counts);
    // Rows of 32 bytes: 8 of them meet on half of the banks.
    const bool right =
        counts[0] == 1 && counts[1] == 2 && counts[2] == 8 && counts[4] == 1 && counts[6] == 128 && counts[7] == 3;
    arseg_emulator_counters(counts);
    return right && counts[7] == 0 && reinterpret_cast<int*>(out)[0] != 0;
  }
#define CASE(kernel, grid, shared_bytes, right, ...)                                     \
  if (name == #kernel) {                                                                 \
    ARSEG_LAUNCH(kernel, grid, block, shared_bytes, nullptr __VA_OPT__(, ) __VA_ARGS__); \
    return right;                                                                        \
  }
  CASE(no_syncthreads, grid, 256, is_index(out, 32), out)
  CASE(no_syncwarp, grid, 256, is_index(out, 1), out)
  CASE(shuffle_for_syncwarp, grid, 256, is_index(out, 1), out)
  CASE(blocks_share_a_sum, grid, 0, out[0] == 2, out)
  CASE(divergent_barrier, grid, 0, true, out)
  CASE(deadlock, grid, 0, true, out)
  CASE(mask_without_caller, grid, 0, true, out)
  CASE(mask_of_exited, grid, 0, true, out)
  CASE(divergent_warp, grid, 0, true, out)
  CASE(behind_shared, dim3(1), 256, true, out)
  CASE(behind_global, dim3(1), 0, true, out)
  CASE(misaligned, dim3(1), 0, true, out)
  CASE(unwritten_shared, dim3(1), 256, out[0] == out[0], out)
  CASE(exit_with_copies, grid, 1024, true, in)
  CASE(no_wait, dim3(1), 1024, repeats_four(out), in, out)
  CASE(wait_without_barrier, dim3(1), 1024, out[0] == 1 && out[32] == 1, in, out)
  CASE(copy_misaligned, dim3(1), 1024, true, in)
  CASE(copy_behind_shared, dim3(1), 1024, true, in)
  CASE(matrices_behind_shared, dim3(1), 1024, true, out)
#undef CASE
  if (name == "too_much_shared") ARSEG_LAUNCH(any, grid, block, 99 * 1024 + 1, nullptr, out);
  if (name == "too_many_threads") ARSEG_LAUNCH(any, grid, dim3(1056), 0, nullptr, out);
  if (name == "empty_grid") ARSEG_LAUNCH(any, dim3(0), block, 0, nullptr, out);
  if (name == "thrown") {
    setenv("ARSEG_EMULATOR_FAILURE", "throw", 1);
    for (int i = 0; i < 3; ++i) {
      try {
        ARSEG_LAUNCH(deadlock, grid, block, 0, nullptr, out);
        return false;
      } catch (const std::runtime_error& error) {
        if (std::string_view(error.what()).find("wait for __syncthreads at") == std::string_view::npos) return false;
      }
    }
    ARSEG_LAUNCH(sound, grid, block, 256, nullptr, out);
    return out[0] > 0;
  }
  std::fprintf(stderr, "no case %s\n", name.data());
  std::exit(2);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  auto* in = static_cast<float*>(std::aligned_alloc(64, 64));
  auto* out = static_cast<float*>(std::aligned_alloc(64, 2 * kThreads * sizeof(float)));
  for (int i = 0; i < 16; ++i) in[i] = static_cast<float>(i + 1);
  for (int i = 0; i < 2 * kThreads; ++i) out[i] = 0;
  const bool right = run(arguments[1], in, out);
  std::free(in);
  std::free(out);
  if (!right) std::puts("wrong result");
  return right ? 0 : 9;
}
