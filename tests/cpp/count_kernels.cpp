// Runs one kernel of a target on some rows of a fixed map, so that tests/package/cpu_budget.py can count what it takes:
// whatever does not depend on the rows is the same in two runs and drops out of their difference.
//
//   count_kernels TARGET KERNEL DTYPE ROWS

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cpu/kernels.h"

namespace arseg {
CpuKernels plain_kernels();
#if defined(__x86_64__)
CpuKernels avx2_kernels();
#endif
}  // namespace arseg

using namespace arseg;

namespace {

constexpr int64_t kChannels = 64, kHeight = 24, kWidth = 64, kWindow = 7, kClasses = 12, kBlock = 4;

class Bench {
 public:
  Bench(const CpuKernels& kernels, Element element, int64_t rows) : kernels_(kernels), element_(element), rows_(rows) {}

  void attention() {
    MapAttentionParams params;
    common(params, kChannels);
    params.query = map(kChannels, kHeight, kWidth);
    params.key = map(kChannels, kHeight, kWidth);
    params.value = map(kChannels, kHeight, kWidth);
    run(of().attention, params);
  }

  void fusion(bool labels) {
    FusionParams params;
    common(params, labels ? kClasses : kChannels);
    params.reference = map(kChannels, kHeight, kWidth);
    params.low_res = map(kChannels, kHeight / 2, kWidth / 2);
    params.motion = block_motion();
    params.padded_channels = round_up(kChannels, of().block_channels);
    const int64_t padded = round_up(kClasses, of().lanes), size = sizeof(double);
    params.query_weights = memory(10 * params.padded_channels * size);
    params.key_weights = memory(10 * params.padded_channels * size);
    params.value_weights = memory(10 * params.padded_channels * size);
    if (labels) {
      params.classifier = memory(params.padded_channels * padded * size);
      params.classifier_bias = memory(padded * size);
      params.low_res_logits = map(kClasses, kHeight / 2, kWidth / 2);
      params.labels = static_cast<uint8_t*>(memory(kHeight * kWidth));
    }
    run(of().fusion, params);
  }

  void backward(bool of_keys) {
    AttentionBackwardParams params;
    params.window = {kWindow, kWindow};
    for (Map* one : {&params.grad, &params.query, &params.key, &params.value, &params.grad_query, &params.grad_key,
                     &params.grad_value}) {
      *one = map(kChannels, kHeight, kWidth);
    }
    params.logsumexp = map(1, kHeight, kWidth);
    params.delta = map(1, kHeight, kWidth);
    for (Map* one : {&params.logsumexp, &params.delta}) one->element = computed();
    run(of_keys ? of().backward_key : of().backward_query, params);
  }

  void warp(bool dense) {
    WarpParams params{map(kChannels, kHeight, kWidth), map(kChannels, kHeight, kWidth), {}};
    params.motion = dense ? flow() : block_motion();
    void* scratch = memory(kernels_.warp_scratch(params));
    kernels_.warp(params, 0, rows_, scratch);
  }

  void copy() {
    CopyParams params{map(kChannels, kHeight, kWidth), map(kChannels, kHeight, kWidth)};
    const int64_t planes[4] = {params.from.stride[0], kHeight * kWidth, kWidth, 1};
    std::copy(planes, planes + 4, params.from.stride);
    void* scratch = memory(kernels_.copy_scratch(params));
    kernels_.copy(params, 0, rows_, scratch);
  }

 private:
  const AttentionKernels& of() const { return element_ == Element::Double ? kernels_.float64 : kernels_.float32; }
  Element computed() const { return element_ == Element::Double ? Element::Double : Element::Float; }

  // Of small numbers, whatever the type. Not by memset, whose one instruction is a log line for each byte.
  void* memory(int64_t bytes) {
    const size_t size = static_cast<size_t>(round_up(bytes, 64));
    auto* part = static_cast<uint64_t*>(std::aligned_alloc(64, size));
    if (!part) std::abort();
    std::fill_n(part, size / sizeof(uint64_t), 0x3c203c203c203c20u);
    return part;
  }

  Map map(int64_t channels, int64_t height, int64_t width) {
    Map result;
    result.data = memory(channels * height * width * (element_ == Element::Double ? 8 : 4));
    result.element = element_;
    const int64_t sizes[4] = {1, channels, height, width};
    const int64_t strides[4] = {channels * height * width, 1, width * channels, channels};
    std::copy(sizes, sizes + 4, result.size);
    std::copy(strides, strides + 4, result.stride);
    return result;
  }

  // By fractions of pixels.
  MotionParams block_motion() {
    constexpr int64_t rows = kHeight / kBlock, columns = kWidth / kBlock;
    MotionParams motion;
    auto* vectors = static_cast<int16_t*>(memory(rows * columns * 4));
    std::fill(vectors, vectors + 2 * rows * columns, int16_t{1});
    motion.data = vectors;
    motion.stride[1] = 2 * columns;
    motion.stride[2] = 2;
    motion.stride[3] = 1;
    auto* row = static_cast<int32_t*>(memory(kHeight * 4));
    auto* column = static_cast<int32_t*>(memory(kWidth * 4));
    for (int64_t y = 0; y < kHeight; ++y) row[y] = static_cast<int32_t>(y / kBlock);
    for (int64_t x = 0; x < kWidth; ++x) column[x] = static_cast<int32_t>(x / kBlock);
    motion.block_row = row;
    motion.block_column = column;
    motion.x_scale = motion.y_scale = 0.25;
    return motion;
  }

  MotionParams flow() {
    MotionParams motion;
    auto* vectors = static_cast<float*>(memory(kHeight * kWidth * 8));
    std::fill(vectors, vectors + 2 * kHeight * kWidth, 0.25f);
    motion.data = vectors;
    motion.stride[1] = 2 * kWidth;
    motion.stride[2] = 2;
    motion.stride[3] = 1;
    return motion;
  }

  void common(AttentionParams& params, int64_t channels) {
    params.window = {kWindow, kWindow};
    params.out = map(channels, kHeight, kWidth);
    params.direct = element_ == of().stored && channels == kChannels;
  }

  template <typename Params>
  void run(const TileKernel<Params>& kernel, const Params& params) {
    kernel.run(params, kWidth, Tile{0, 0, 0, rows_}, memory(kernel.scratch(params, kWidth)));
  }

  const CpuKernels& kernels_;
  Element element_;
  int64_t rows_;
};

}  // namespace

int main(int count, char** words) {
  if (count != 5) return std::fprintf(stderr, "count_kernels TARGET KERNEL DTYPE ROWS\n"), 2;
  const std::string target = words[1], kernel = words[2], dtype = words[3];
  CpuKernels kernels = plain_kernels();
#if defined(__x86_64__)
  if (target == "avx2") kernels = avx2_kernels();
#endif
  if (kernels.name != target) return std::fprintf(stderr, "%s: no such target\n", words[1]), 2;
  const Element element = dtype == "float64"    ? Element::Double
                          : dtype == "float16"  ? Element::Half
                          : dtype == "bfloat16" ? Element::BFloat16
                                                : Element::Float;
  Bench bench(kernels, element, std::atoll(words[4]));
  if (kernel == "local_attention") return bench.attention(), 0;
  if (kernel == "creff") return bench.fusion(false), 0;
  if (kernel == "creff_labels") return bench.fusion(true), 0;
  if (kernel == "backward_query") return bench.backward(false), 0;
  if (kernel == "backward_key") return bench.backward(true), 0;
  if (kernel == "mv_warp") return bench.warp(false), 0;
  if (kernel == "flow_warp") return bench.warp(true), 0;
  if (kernel == "to_channels_last") return bench.copy(), 0;
  return std::fprintf(stderr, "%s: no such kernel\n", words[2]), 2;
}
