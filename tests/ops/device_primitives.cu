// Each primitive of csrc/common/device.cuh in a kernel of its own, as plain C functions for test_device_primitives.py:
// built by nvcc they take pointers of the GPU, with ARSEG_EMULATOR those of the CPU. A function returns 0, or prints
// why it failed and returns 1.
#include <cstdio>
#include <exception>

#include "../../csrc/common/device.cuh"

namespace {

namespace gpu = arseg::gpu;

constexpr int kLanes = 32;
constexpr int kThreads = 128;

template <typename F>
int run(F&& launch) {
  try {
    launch();
#if defined(__CUDACC__)
    gpu::check_launch(cudaDeviceSynchronize(), "(as it ran)");
#endif
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

dim3 blocks_for(int count) { return dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)); }

ARSEG_DEVICE int this_index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

// A block is one product: a [16, 16], b [16, 8] and sum [16, 8], row after row. The fragments are gathered from global
// memory as device.cuh says they lie, without ldmatrix_x4.
template <typename T>
__global__ void mma_m16n8k16_kernel(const uint16_t* a, const uint16_t* b, float* sum) {
  a += blockIdx.x * 256;
  b += blockIdx.x * 128;
  sum += blockIdx.x * 128;
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto pair = [](uint16_t low, uint16_t high) { return low | static_cast<uint32_t>(high) << 16; };
  uint32_t left[4], right[2];
  for (int i = 0; i < 4; ++i) {
    const int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
    left[i] = pair(a[row * 16 + column], a[row * 16 + column + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * t + i * 8;
    right[i] = pair(b[row * 8 + g], b[(row + 1) * 8 + g]);
  }
  float fragment[4];
  for (int i = 0; i < 4; ++i) fragment[i] = sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  gpu::mma_m16n8k16<T>(fragment, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fragment[i];
}

// The same of a [16, 8], b [8, 8] and sum [16, 8].
__global__ void mma_m16n8k8_tf32_kernel(const uint32_t* a, const uint32_t* b, float* sum) {
  a += blockIdx.x * 128;
  b += blockIdx.x * 64;
  sum += blockIdx.x * 128;
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  uint32_t left[4];
  for (int i = 0; i < 4; ++i) left[i] = a[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
  float fragment[4];
  for (int i = 0; i < 4; ++i) fragment[i] = sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  gpu::mma_m16n8k8_tf32(fragment, left, b[t * 8 + g], b[(t + 4) * 8 + g]);
  for (int i = 0; i < 4; ++i) sum[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fragment[i];
}

// in [32, 8]: the rows of four matrices, laid into shared memory at the slots of `slot`, five rows apart. to [32, 4].
template <bool Transposed>
__global__ void ldmatrix_x4_kernel(const uint16_t* in, const int* slot, uint32_t* to) {
  ARSEG_SHARED(shared);
  const int lane = static_cast<int>(threadIdx.x);
  auto* row = reinterpret_cast<uint16_t*>(shared) + slot[lane] * 5 * 8;
  for (int i = 0; i < 8; ++i) row[i] = in[lane * 8 + i];
  __syncwarp();
  uint32_t words[4];
  gpu::ldmatrix_x4<Transposed>(words, row);
  for (int i = 0; i < 4; ++i) to[lane * 4 + i] = words[i];
}

// in and to [3, kThreads] of 16 bytes, in three groups of copies; a thread reads what its neighbour has copied. The
// memory is full of other values before.
__global__ void cp_async16_kernel(const uint4* in, const uint8_t* valid, uint4* to) {
  ARSEG_SHARED(shared);
  auto* rows = reinterpret_cast<uint4*>(shared);
  const int i = static_cast<int>(threadIdx.x), neighbour = i ^ 33;
  for (int group = 0; group < 3; ++group) rows[group * kThreads + i] = {0xabababab, 0xabababab, 0xabababab, 0xabababab};
  __syncthreads();
  for (int group = 0; group < 3; ++group) {
    gpu::cp_async16(rows + group * kThreads + i, in + group * kThreads + i, valid[group * kThreads + i] != 0);
    gpu::cp_async_commit();
  }
  gpu::cp_async_wait<2>();
  __syncthreads();
  to[neighbour] = rows[neighbour];
  gpu::cp_async_wait<0>();
  __syncthreads();
  for (int group = 1; group < 3; ++group) to[group * kThreads + neighbour] = rows[group * kThreads + neighbour];
}

__global__ void exp2_fast_kernel(const float* in, float* to, int count) {
  if (this_index() < count) to[this_index()] = gpu::exp2_fast(in[this_index()]);
}

__global__ void reciprocal_fast_kernel(const float* in, float* to, int count) {
  if (this_index() < count) to[this_index()] = gpu::reciprocal_fast(in[this_index()]);
}

__global__ void cut_to_tf32_kernel(const float* in, float* to, int count) {
  if (this_index() < count) to[this_index()] = gpu::cut_to_tf32(in[this_index()]);
}

__global__ void max_or_nan_kernel(const float* in, float* to, int count) {
  if (this_index() < count) to[this_index()] = gpu::max_or_nan(in[2 * this_index()], in[2 * this_index() + 1]);
}

template <typename T>
__global__ void pack_kernel(const float* in, uint32_t* to, int count) {
  if (this_index() < count) to[this_index()] = gpu::pack<T>(in[2 * this_index()], in[2 * this_index() + 1]);
}

template <typename T>
__global__ void unpack_kernel(const uint32_t* in, float* to, int count) {
  if (this_index() >= count) return;
  const float2 pair = gpu::unpack<T>(in[this_index()]);
  to[2 * this_index()] = pair.x;
  to[2 * this_index() + 1] = pair.y;
}

// 16 bytes in, through registers in the type of sums, 16 bytes out.
template <typename T>
__global__ void vector_kernel(const T* in, T* to, int count) {
  if (this_index() >= count) return;
  gpu::accumulator<T> values[gpu::kVector<T>];
  gpu::load_vector(in + this_index() * gpu::kVector<T>, values);
  gpu::store_vector(to + this_index() * gpu::kVector<T>, values);
}

}  // namespace

#define ARSEG_TEST extern "C" __attribute__((visibility("default"))) int

#define ARSEG_TEST_OF_TYPE(name, T)                                                                                    \
  ARSEG_TEST mma_m16n8k16_##name(const uint16_t* a, const uint16_t* b, float* sum, int count) {                        \
    return run([=] {                                                                                                   \
      ARSEG_LAUNCH(mma_m16n8k16_kernel<T>, dim3(static_cast<unsigned>(count)), dim3(kLanes), 0, nullptr, a, b, sum);   \
    });                                                                                                                \
  }                                                                                                                    \
  ARSEG_TEST pack_##name(const float* in, uint32_t* to, int count) {                                                   \
    return run([=] { ARSEG_LAUNCH(pack_kernel<T>, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); });   \
  }                                                                                                                    \
  ARSEG_TEST unpack_##name(const uint32_t* in, float* to, int count) {                                                 \
    return run([=] { ARSEG_LAUNCH(unpack_kernel<T>, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); }); \
  }

#define ARSEG_TEST_VECTOR(name, T)                                                                             \
  ARSEG_TEST vector_##name(const void* in, void* to, int count) {                                              \
    return run([=] {                                                                                           \
      ARSEG_LAUNCH(vector_kernel<T>, blocks_for(count), dim3(kThreads), 0, nullptr, static_cast<const T*>(in), \
                   static_cast<T*>(to), count);                                                                \
    });                                                                                                        \
  }

ARSEG_TEST_OF_TYPE(float16, gpu::Half)
ARSEG_TEST_OF_TYPE(bfloat16, gpu::BFloat16)
ARSEG_TEST_VECTOR(float16, gpu::Half)
ARSEG_TEST_VECTOR(bfloat16, gpu::BFloat16)
ARSEG_TEST_VECTOR(float32, float)
ARSEG_TEST_VECTOR(float64, double)

ARSEG_TEST ldmatrix_x4_plain(const uint16_t* in, const int* slot, uint32_t* to) {
  return run(
      [=] { ARSEG_LAUNCH(ldmatrix_x4_kernel<false>, dim3(1), dim3(kLanes), kLanes * 5 * 16, nullptr, in, slot, to); });
}
ARSEG_TEST ldmatrix_x4_transposed(const uint16_t* in, const int* slot, uint32_t* to) {
  return run(
      [=] { ARSEG_LAUNCH(ldmatrix_x4_kernel<true>, dim3(1), dim3(kLanes), kLanes * 5 * 16, nullptr, in, slot, to); });
}
ARSEG_TEST cp_async16(const uint4* in, const uint8_t* valid, uint4* to) {
  return run(
      [=] { ARSEG_LAUNCH(cp_async16_kernel, dim3(1), dim3(kThreads), 3 * kThreads * 16, nullptr, in, valid, to); });
}
ARSEG_TEST exp2_fast(const float* in, float* to, int count) {
  return run([=] { ARSEG_LAUNCH(exp2_fast_kernel, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); });
}
ARSEG_TEST mma_m16n8k8_tf32(const uint32_t* a, const uint32_t* b, float* sum, int count) {
  return run([=] {
    ARSEG_LAUNCH(mma_m16n8k8_tf32_kernel, dim3(static_cast<unsigned>(count)), dim3(kLanes), 0, nullptr, a, b, sum);
  });
}
ARSEG_TEST reciprocal_fast(const float* in, float* to, int count) {
  return run(
      [=] { ARSEG_LAUNCH(reciprocal_fast_kernel, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); });
}
ARSEG_TEST cut_to_tf32(const float* in, float* to, int count) {
  return run([=] { ARSEG_LAUNCH(cut_to_tf32_kernel, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); });
}
ARSEG_TEST max_or_nan(const float* in, float* to, int count) {
  return run([=] { ARSEG_LAUNCH(max_or_nan_kernel, blocks_for(count), dim3(kThreads), 0, nullptr, in, to, count); });
}
