// The CPU kernels of every target that this processor can run, called as the operators call them. Values are compared
// with obvious loops; maps lie in buffers of their exact size and scratch is full of NaN, so that under the sanitizers
// (-DARSEG_SANITIZE=ON) no stray read or write goes unseen. More shapes and options: tests/ops.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/kernels.h"

namespace arseg {
CpuKernels plain_kernels();
#if defined(__x86_64__)
CpuKernels avx2_kernels();
CpuKernels avx512_kernels();
CpuKernels avx512_bf16_kernels();
#endif
}  // namespace arseg

using namespace arseg;

namespace {

std::vector<CpuKernels> targets() {
  std::vector<CpuKernels> found = {plain_kernels()};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(avx2_kernels());
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    found.push_back(avx512_kernels());
    if (__builtin_cpu_supports("avx512bf16")) found.push_back(avx512_bf16_kernels());
  }
#endif
  return found;
}

// A float map in a buffer of its exact size; bfloat16 keeps its upper half.
struct Buffer {
  std::vector<float> values;  // NCHW, whatever lies in memory
  std::vector<unsigned char> memory;
  Map map;

  Buffer(int64_t n, int64_t c, int64_t h, int64_t w, Element element, bool channels_last, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0, 0.5f);
    map.element = element;
    const int64_t size[4] = {n, c, h, w};
    const int64_t last[4] = {c * h * w, 1, c * w, c}, first[4] = {c * h * w, h * w, w, 1};
    for (int i = 0; i < 4; ++i) {
      map.size[i] = size[i];
      map.stride[i] = channels_last ? last[i] : first[i];
    }
    memory.resize(n * c * h * w * bytes());
    map.data = memory.data();
    values.resize(n * c * h * w);
    for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
      float value = normal(generator);
      if (element == Element::BFloat16) {
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        bits &= 0xffff0000u;
        std::memcpy(&value, &bits, 4);
      }
      values[i] = value;
      put(i, value);
    }
  }

  int64_t bytes() const { return map.element == Element::Double ? 8 : map.element == Element::Float ? 4 : 2; }
  int64_t offset(int64_t i) const {
    const int64_t x = i % map.width(), y = i / map.width() % map.height();
    const int64_t c = i / (map.width() * map.height()) % map.channels(),
                  n = i / (map.width() * map.height() * map.channels());
    return (n * map.stride[0] + c * map.stride[1] + y * map.stride[2] + x * map.stride[3]) * bytes();
  }
  void put(int64_t i, float value) {
    const double wide = value;
    if (map.element == Element::Double) {
      std::memcpy(&memory[offset(i)], &wide, 8);
    } else if (map.element == Element::Float) {
      std::memcpy(&memory[offset(i)], &value, 4);
    } else {
      std::memcpy(&memory[offset(i)], reinterpret_cast<const char*>(&value) + 2, 2);
    }
  }
  double get(int64_t i) const {
    double wide = 0;
    float value = 0;
    if (map.element == Element::Double) {
      std::memcpy(&wide, &memory[offset(i)], 8);
      return wide;
    }
    if (map.element == Element::Float) {
      std::memcpy(&value, &memory[offset(i)], 4);
    } else {
      std::memcpy(reinterpret_cast<char*>(&value) + 2, &memory[offset(i)], 2);
    }
    return value;
  }
  double at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    if (y < 0 || y >= map.height() || x < 0 || x >= map.width()) return 0;
    return values[((n * map.channels() + c) * map.height() + y) * map.width() + x];
  }
};

// Runs a kernel over all tiles of the given width, in two bands of rows.
template <typename Task>
void run(const TileKernel<Task>& kernel, const Task& task, int64_t pixels, const int64_t* size) {
  std::vector<unsigned char> memory(kernel.scratch(task, pixels) + 64);
  unsigned char* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const int64_t middle = (size[2] + 1) / 2;
  for (int64_t n = 0; n < size[0]; ++n) {
    for (int64_t x = 0; x < size[3]; x += pixels) {
      for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, middle}, {middle, size[2]}}) {
        std::memset(memory.data(), 0xff, memory.size());
        if (begin < end) kernel.run(task, pixels, Tile{n, x, begin, end}, scratch);
      }
    }
  }
}

struct Case {
  int64_t n, c, value_channels, h, w;
  Window window;
  Outside outside;
  bool channels_last;
};

const Case kCases[] = {
    {1, 16, 16, 9, 37, {7, 7}, Outside::Zero, true},   {2, 3, 5, 4, 20, {3, 5}, Outside::Masked, false},
    {1, 33, 64, 1, 19, {9, 3}, Outside::Zero, true},   {1, 1, 1, 11, 1, {5, 11}, Outside::Masked, false},
    {1, 64, 17, 6, 66, {15, 15}, Outside::Zero, true},
};

std::vector<double> attention(const Case& of, const Buffer& q, const Buffer& k, const Buffer& v) {
  std::vector<double> out(of.n * of.value_channels * of.h * of.w);
  for (int64_t n = 0; n < of.n; ++n) {
    for (int64_t y = 0; y < of.h; ++y) {
      for (int64_t x = 0; x < of.w; ++x) {
        std::vector<double> weights;
        double total = 0;
        for (int64_t i = 0; i < of.window.keys(); ++i) {
          const int64_t ky = y + i / of.window.width - of.window.y_radius();
          const int64_t kx = x + i % of.window.width - of.window.x_radius();
          const bool outside = ky < 0 || ky >= of.h || kx < 0 || kx >= of.w;
          double logit = 0;
          for (int64_t c = 0; c < of.c; ++c) logit += q.at(n, c, y, x) * k.at(n, c, ky, kx);
          weights.push_back(outside && of.outside == Outside::Masked ? 0 : std::exp(0.5 * logit));
          total += weights.back();
        }
        for (int64_t c = 0; c < of.value_channels; ++c) {
          double sum = 0;
          for (int64_t i = 0; i < of.window.keys(); ++i) {
            sum += weights[i] * v.at(n, c, y + i / of.window.width - of.window.y_radius(),
                                     x + i % of.window.width - of.window.x_radius());
          }
          out[((n * of.value_channels + c) * of.h + y) * of.w + x] = sum / total;
        }
      }
    }
  }
  return out;
}

double largest_difference(const Buffer& found, const std::vector<double>& expected) {
  double most = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(found.get(static_cast<int64_t>(i)) - expected[i]);
    most = difference <= most ? most : difference;  // NaN is kept
  }
  return most;
}

void attention_of(const AttentionKernels& kernels, Element element, double tolerance) {
  for (const Case& of : kCases) {
    const Buffer q(of.n, of.c, of.h, of.w, element, of.channels_last, 1);
    const Buffer k(of.n, of.c, of.h, of.w, element, of.channels_last, 2);
    const Buffer v(of.n, of.value_channels, of.h, of.w, element, of.channels_last, 3);
    const std::vector<double> expected = attention(of, q, k, v);
    std::vector<unsigned char> first;
    for (const int64_t pixels : {kernels.lanes, 2 * kernels.lanes, round_up(64, kernels.lanes)}) {
      Buffer out(of.n, of.value_channels, of.h, of.w, element, of.channels_last, 4);
      std::vector<double> logsumexp(of.n * of.h * of.w);
      MapAttentionTask task;
      task.out = out.map;
      task.window = of.window;
      task.outside = of.outside;
      task.logsumexp = logsumexp.data();
      task.query = q.map;
      task.key = k.map;
      task.value = v.map;
      task.scale = 0.5;
      task.direct = element == kernels.stored && of.channels_last && of.value_channels % kernels.lanes == 0;
      run(kernels.attention, task, pixels, out.map.size);
      CHECK(largest_difference(out, expected) < tolerance);
      if (first.empty()) first = out.memory;
      CHECK(first == out.memory);  // the cut into tiles changes no bit
    }
  }
}

// Numerical derivatives would be slow: the sums of the backward are checked against sums over all pairs.
void backward_of(const AttentionKernels& kernels, Element element, double tolerance) {
  const Case of = {1, 5, 4, 6, 21, {5, 3}, Outside::Zero, true};
  const Buffer q(1, of.c, of.h, of.w, element, true, 1), k(1, of.c, of.h, of.w, element, true, 2);
  const Buffer v(1, of.value_channels, of.h, of.w, element, true, 3),
      g(1, of.value_channels, of.h, of.w, element, false, 4);
  Buffer lse(1, 1, of.h, of.w, element, false, 0), delta(1, 1, of.h, of.w, element, false, 0);
  Buffer dq(1, of.c, of.h, of.w, element, true, 0), dk(1, of.c, of.h, of.w, element, false, 0);
  Buffer dv(1, of.value_channels, of.h, of.w, element, true, 0);
  std::vector<double> eq(of.c * of.h * of.w), ek(eq.size()), ev(of.value_channels * of.h * of.w);
  const int64_t plane = of.h * of.w;
  for (int64_t y = 0; y < of.h; ++y) {
    for (int64_t x = 0; x < of.w; ++x) {
      std::vector<double> p, dp;
      double total = 0, mean = 0;
      for (int64_t i = 0; i < of.window.keys(); ++i) {
        const int64_t ky = y + i / of.window.width - of.window.y_radius();
        const int64_t kx = x + i % of.window.width - of.window.x_radius();
        double logit = 0, slope = 0;
        for (int64_t c = 0; c < of.c; ++c) logit += q.at(0, c, y, x) * k.at(0, c, ky, kx);
        for (int64_t c = 0; c < of.value_channels; ++c) slope += g.at(0, c, y, x) * v.at(0, c, ky, kx);
        p.push_back(std::exp(logit));
        dp.push_back(slope);
        total += p.back();
      }
      lse.put(y * of.w + x, static_cast<float>(std::log(total)));
      for (size_t i = 0; i < p.size(); ++i) mean += (p[i] /= total) * dp[i];
      for (size_t i = 0; i < p.size(); ++i) {
        const int64_t ky = y + static_cast<int64_t>(i) / of.window.width - of.window.y_radius();
        const int64_t kx = x + static_cast<int64_t>(i) % of.window.width - of.window.x_radius();
        if (ky < 0 || ky >= of.h || kx < 0 || kx >= of.w) continue;
        const double ds = p[i] * (dp[i] - mean);
        for (int64_t c = 0; c < of.c; ++c) {
          eq[c * plane + y * of.w + x] += ds * k.at(0, c, ky, kx);
          ek[c * plane + ky * of.w + kx] += ds * q.at(0, c, y, x);
        }
        for (int64_t c = 0; c < of.value_channels; ++c) ev[c * plane + ky * of.w + kx] += p[i] * g.at(0, c, y, x);
      }
    }
  }
  AttentionBackwardTask task;
  task.grad = g.map;
  task.query = q.map;
  task.key = k.map;
  task.value = v.map;
  task.logsumexp = lse.map;
  task.delta = delta.map;
  task.grad_query = dq.map;
  task.grad_key = dk.map;
  task.grad_value = dv.map;
  task.window = of.window;
  run(kernels.backward_query, task, kernels.lanes, q.map.size);
  run(kernels.backward_key, task, kernels.lanes, q.map.size);
  CHECK(largest_difference(dq, eq) < tolerance);
  CHECK(largest_difference(dk, ek) < tolerance);
  CHECK(largest_difference(dv, ev) < tolerance);
}

// Warp by whole pixels, some of them outside: a copy of what lies there.
void warp_of(const CpuKernels& kernels, Element element) {
  for (const bool channels_last : {true, false}) {
    for (const int64_t channels : {1, 16, 35}) {
      const Buffer feature(1, channels, 7, 69, element, true, 1);
      Buffer out(1, channels, 7, 69, element, channels_last, 2);
      std::vector<int16_t> vectors(7 * 69 * 2);
      std::mt19937 generator(3);
      for (int16_t& part : vectors) part = static_cast<int16_t>(static_cast<int>(generator() % 41) * 4 - 80);
      vectors[4] = std::numeric_limits<int16_t>::min();
      std::vector<int32_t> rows(7), columns(69);
      for (int i = 0; i < 69; ++i) columns[i] = i;
      for (int i = 0; i < 7; ++i) rows[i] = i;
      WarpTask task{feature.map, out.map, {}, false};
      task.motion.data = vectors.data();
      const int64_t strides[4] = {7 * 69 * 2, 69 * 2, 2, 1};
      std::copy(strides, strides + 4, task.motion.stride);
      task.motion.block_row = rows.data();
      task.motion.block_column = columns.data();
      task.motion.x_scale = task.motion.y_scale = 0.25;
      std::vector<unsigned char> memory(kernels.warp_scratch(task) + 64, 0xff);
      kernels.warp(task, 0, 7, memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64);
      bool same = true;
      for (int64_t i = 0; i < channels * 7 * 69; ++i) {
        const int64_t x = i % 69, y = i / 69 % 7, c = i / (69 * 7);
        const int16_t* vector = &vectors[(y * 69 + x) * 2];
        same = same && out.get(i) == feature.at(0, c, y + vector[1] / 4, x + vector[0] / 4);
      }
      CHECK(same);
    }
  }
}

// The fusion without motion, with convolutions that pass each channel on and a low-resolution map of the same size,
// is attention plus that map.
void fusion_of(const AttentionKernels& kernels, Element element, double tolerance) {
  for (const Case& of : kCases) {
    const Buffer reference(of.n, of.c, of.h, of.w, element, true, 1), low(of.n, of.c, of.h, of.w, element, true, 2);
    const int64_t padded = round_up(of.c, kernels.block_channels);
    std::vector<float> singles(10 * padded);
    std::vector<double> doubles(10 * padded);
    for (int64_t c = 0; c < of.c; ++c) singles[4 * padded + c] = doubles[4 * padded + c] = 0.5;
    const void* weights = element == Element::Double ? static_cast<const void*>(doubles.data()) : singles.data();
    Buffer halved = reference, query = low;
    for (float& value : halved.values) value *= 0.5f;
    Case same = of;
    same.value_channels = of.c;
    // attention() scales logits by 1/2: query and key of the fusion are each half the maps.
    std::vector<double> expected = attention(same, query, halved, halved);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += low.values[i];
    std::vector<float> flow(of.n * of.h * of.w * 2);
    Buffer out(of.n, of.c, of.h, of.w, element, of.channels_last, 3);
    FusionTask task;
    task.out = out.map;
    task.window = of.window;
    task.outside = of.outside;
    task.reference = reference.map;
    task.low_res = low.map;
    task.motion.data = flow.data();
    const int64_t strides[4] = {of.h * of.w * 2, of.w * 2, 2, 1};
    std::copy(strides, strides + 4, task.motion.stride);
    task.query_weights = task.key_weights = task.value_weights = weights;
    task.padded_channels = padded;
    run(kernels.fusion, task, 2 * kernels.lanes, out.map.size);
    CHECK(largest_difference(out, expected) < tolerance);
  }
}

}  // namespace

int main() {
  for (const CpuKernels& kernels : targets()) {
    std::printf("%s\n", kernels.name);
    attention_of(kernels.float32, Element::Float, 1e-5);
    attention_of(kernels.float64, Element::Double, 1e-12);
    attention_of(kernels.float32, Element::BFloat16, 2e-2);
    backward_of(kernels.float32, Element::Float, 1e-5);
    backward_of(kernels.float64, Element::Double, 1e-6);  // logsumexp comes as float here
    fusion_of(kernels.float32, Element::Float, 1e-5);
    fusion_of(kernels.float64, Element::Double, 1e-12);
    if (kernels.bfloat16.lanes) {
      attention_of(kernels.bfloat16, Element::BFloat16, 3e-2);
      fusion_of(kernels.bfloat16, Element::BFloat16, 6e-2);
    }
    for (const Element element : {Element::Float, Element::Double, Element::BFloat16}) warp_of(kernels, element);
  }
  return check::report("kernels");
}
