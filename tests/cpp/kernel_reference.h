#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cpu/map.h"
#include "local_attention/params.h"
#include "mv_warp/math.h"

// What the kernels of csrc/cpu should compute, as obvious loops in double, and maps to hand them.
namespace reference {

using namespace arseg;

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

// [N, C, H, W] in double.
struct Array {
  int64_t n, c, h, w;
  std::vector<double> values;

  Array(int64_t n, int64_t c, int64_t h, int64_t w) : n(n), c(c), h(h), w(w), values(n * c * h * w) {}
  double& at(int64_t b, int64_t k, int64_t y, int64_t x) { return values[((b * c + k) * h + y) * w + x]; }
  double at(int64_t b, int64_t k, int64_t y, int64_t x) const { return values[((b * c + k) * h + y) * w + x]; }
  bool inside(int64_t y, int64_t x) const { return y >= 0 && y < h && x >= 0 && x < w; }
  double or_zero(int64_t b, int64_t k, int64_t y, int64_t x) const { return inside(y, x) ? at(b, k, y, x) : 0; }
};

inline Array random_array(int64_t n, int64_t c, int64_t h, int64_t w, unsigned seed, double spread = 0.6) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, spread);
  Array array(n, c, h, w);
  for (double& value : array.values) value = normal(generator);
  return array;
}

// The 16-bit formats: `mantissa` bits, exponents biased by `bias`.
inline uint16_t encode(double value, int mantissa, int bias) {
  const int sign = std::signbit(value) ? 0x8000 : 0, infinity = (2 * bias + 1) << mantissa;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | infinity | 1 << (mantissa - 1));
  if (std::isinf(value)) return static_cast<uint16_t>(sign | infinity);
  int exponent = 0;
  std::frexp(value, &exponent);
  exponent = value == 0 ? 1 - bias : std::max(exponent - 1, 1 - bias);
  const auto steps = std::llrint(std::ldexp(std::fabs(value), mantissa - exponent));  // ties to even
  return static_cast<uint16_t>(sign | std::min<int64_t>(infinity, (int64_t{exponent + bias - 1} << mantissa) + steps));
}

inline double decode(uint16_t bits, int mantissa, int bias) {
  const int exponent = (bits & 0x7fff) >> mantissa, fraction = bits & ((1 << mantissa) - 1);
  double size = std::ldexp(fraction + (exponent ? 1 << mantissa : 0), std::max(exponent, 1) - bias - mantissa);
  if (exponent == 2 * bias + 1) {
    size = fraction ? kNan : kInf;
  }
  return bits & 0x8000 ? -size : size;
}

inline int64_t bytes_of(Element element) { return element == Element::Double ? 8 : element == Element::Float ? 4 : 2; }

inline double read_element(const void* from, Element element) {
  float single = 0;
  double wide = 0;
  uint16_t bits = 0;
  switch (element) {
    case Element::Float:
      std::memcpy(&single, from, 4);
      return single;
    case Element::Double:
      std::memcpy(&wide, from, 8);
      return wide;
    default:
      std::memcpy(&bits, from, 2);
      return element == Element::Half ? decode(bits, 10, 15) : decode(bits, 7, 127);
  }
}

inline void write_element(void* to, Element element, double value) {
  const float single = static_cast<float>(value);
  const uint16_t bits = element == Element::Half ? encode(value, 10, 15) : encode(value, 7, 127);
  if (element == Element::Float) std::memcpy(to, &single, 4);
  if (element == Element::Double) std::memcpy(to, &value, 8);
  if (bytes_of(element) == 2) std::memcpy(to, &bits, 2);
}

// Memory of exactly so many bytes, all 0xff: a NaN of any type.
class Memory {
 public:
  explicit Memory(int64_t bytes, int64_t alignment = 16) : bytes_(bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, static_cast<size_t>(alignment), static_cast<size_t>(bytes)) != 0) std::abort();
    memory_.reset(static_cast<unsigned char*>(memory));
    spoil();
  }
  void spoil() { std::memset(memory_.get(), 0xff, static_cast<size_t>(bytes_)); }
  unsigned char* data() const { return memory_.get(); }
  int64_t bytes() const { return bytes_; }
  bool operator==(const Memory& other) const {
    return bytes_ == other.bytes_ && std::memcmp(data(), other.data(), static_cast<size_t>(bytes_)) == 0;
  }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  int64_t bytes_;
  std::unique_ptr<unsigned char, Free> memory_;
};

// Channels together; planes; channels together with gaps between pixels and rows; nothing together.
enum class Layout { Last, First, Gaps, Odd };

inline Map shape_of(int64_t n, int64_t c, int64_t h, int64_t w, Element element, Layout layout) {
  Map map;
  map.element = element;
  const int64_t size[4] = {n, c, h, w};
  int64_t pixel = c, channel = 1, row = w * c;
  if (layout == Layout::First) pixel = 1, channel = h * w, row = w;
  if (layout == Layout::Gaps) pixel = c + 3, row = w * pixel + 5;
  if (layout == Layout::Odd) pixel = 2, row = 2 * w + 1, channel = h * row + 3;
  const int64_t stride[4] = {std::max(h * row, c * channel) + (layout == Layout::Odd ? 7 : 0), channel, row, pixel};
  std::copy(size, size + 4, map.size);
  std::copy(stride, stride + 4, map.stride);
  return map;
}

inline int64_t extent(const Map& map) {
  int64_t last = 0;
  for (int i = 0; i < 4; ++i) last += (map.size[i] - 1) * map.stride[i];
  return (last + 1) * bytes_of(map.element);
}

// A map in memory of its exact size.
struct Buffer {
  Map map;
  Memory memory;

  Buffer(int64_t n, int64_t c, int64_t h, int64_t w, Element element, Layout layout, int64_t alignment = 16)
      : map(shape_of(n, c, h, w, element, layout)), memory(extent(map), alignment) {
    map.data = memory.data();
  }
  Buffer(const Array& array, Element element, Layout layout)
      : Buffer(array.n, array.c, array.h, array.w, element, layout) {
    for_each([&](int64_t i, unsigned char* at) { write_element(at, element, array.values[i]); });
  }
  // What is held, after rounding.
  Array read() const {
    Array array(map.size[0], map.size[1], map.size[2], map.size[3]);
    for_each([&](int64_t i, const unsigned char* at) { array.values[i] = read_element(at, map.element); });
    return array;
  }
  // Whether the gaps hold what they held.
  bool gaps_untouched() const {
    std::vector<bool> used(static_cast<size_t>(memory.bytes()));
    for_each([&](int64_t, const unsigned char* at) {
      for (int64_t i = 0; i < bytes_of(map.element); ++i) used[at - memory.data() + i] = true;
    });
    for (size_t i = 0; i < used.size(); ++i) {
      if (!used[i] && memory.data()[i] != 0xff) return false;
    }
    return true;
  }

 private:
  template <typename F>
  void for_each(F f) const {
    int64_t i = 0;
    for (int64_t n = 0; n < map.size[0]; ++n) {
      for (int64_t c = 0; c < map.size[1]; ++c) {
        for (int64_t y = 0; y < map.size[2]; ++y) {
          for (int64_t x = 0; x < map.size[3]; ++x) {
            f(i++, memory.data() + (map.at<char>(n, c, y, x) - static_cast<char*>(map.data)) * bytes_of(map.element));
          }
        }
      }
    }
  }
};

// The keys of the window of one pixel.
struct Key {
  int64_t y, x;
};
inline std::vector<Key> window_of(const Array& map, const Window& window, bool masked, int64_t y, int64_t x) {
  std::vector<Key> keys;
  for (int64_t i = 0; i < window.keys(); ++i) {
    const Key key{y + i / window.width - window.y_radius(), x + i % window.width - window.x_radius()};
    if (!masked || map.inside(key.y, key.x)) keys.push_back(key);
  }
  return keys;
}

inline double dot(const Array& a, int64_t n, int64_t y, int64_t x, const Array& b, const Key& key) {
  double sum = 0;
  for (int64_t c = 0; c < a.c && b.inside(key.y, key.x); ++c) sum += a.at(n, c, y, x) * b.at(n, c, key.y, key.x);
  return sum;
}

struct Attention {
  Array out, logsumexp;
};

// Softmax weights of one pixel; returns the logarithm of their sum.
inline double softmax(std::vector<double>& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (double& logit : logits) total += logit = std::exp(logit - most);
  for (double& logit : logits) logit /= total;
  return most + std::log(total);
}

inline Attention attention(const Array& q, const Array& k, const Array& v, const Window& window, Outside outside,
                           double scale) {
  Attention result{Array(q.n, v.c, q.h, q.w), Array(q.n, 1, q.h, q.w)};
  for (int64_t n = 0; n < q.n; ++n) {
    for (int64_t y = 0; y < q.h; ++y) {
      for (int64_t x = 0; x < q.w; ++x) {
        const std::vector<Key> keys = window_of(q, window, outside == Outside::Masked, y, x);
        std::vector<double> weights;
        for (const Key& key : keys) weights.push_back(scale * dot(q, n, y, x, k, key));
        result.logsumexp.at(n, 0, y, x) = softmax(weights);
        for (int64_t c = 0; c < v.c; ++c) {
          double& sum = result.out.at(n, c, y, x);
          for (size_t i = 0; i < keys.size(); ++i) sum += weights[i] * v.or_zero(n, c, keys[i].y, keys[i].x);
        }
      }
    }
  }
  return result;
}

struct Gradients {
  Array query, key, value, delta;
};

inline Gradients attention_backward(const Array& grad, const Array& q, const Array& k, const Array& v,
                                    const Window& window, Outside outside, double scale) {
  Gradients result{Array(q.n, q.c, q.h, q.w), Array(q.n, q.c, q.h, q.w), Array(q.n, v.c, q.h, q.w),
                   Array(q.n, 1, q.h, q.w)};
  for (int64_t n = 0; n < q.n; ++n) {
    for (int64_t y = 0; y < q.h; ++y) {
      for (int64_t x = 0; x < q.w; ++x) {
        const std::vector<Key> keys = window_of(q, window, outside == Outside::Masked, y, x);
        std::vector<double> weights;
        for (const Key& key : keys) weights.push_back(scale * dot(q, n, y, x, k, key));
        softmax(weights);
        double& mean = result.delta.at(n, 0, y, x);
        for (size_t i = 0; i < keys.size(); ++i) mean += weights[i] * dot(grad, n, y, x, v, keys[i]);
        for (size_t i = 0; i < keys.size(); ++i) {
          const Key& key = keys[i];
          if (!q.inside(key.y, key.x)) continue;
          const double slope = scale * weights[i] * (dot(grad, n, y, x, v, key) - mean);
          for (int64_t c = 0; c < q.c; ++c) {
            result.query.at(n, c, y, x) += slope * k.at(n, c, key.y, key.x);
            result.key.at(n, c, key.y, key.x) += slope * q.at(n, c, y, x);
          }
          for (int64_t c = 0; c < v.c; ++c) {
            result.value.at(n, c, key.y, key.x) += weights[i] * grad.at(n, c, y, x);
          }
        }
      }
    }
  }
  return result;
}

// Vectors, as a field and as what they displace.
struct Motion {
  std::vector<int32_t> rows, columns;
  Memory memory;
  MotionParams field;
  Array displacement;
};

inline Motion block_motion(int64_t n, int64_t h, int64_t w, Grid grid, unsigned seed) {
  const BlockAxis vertical{h, 8 * h, 16, (8 * h + 15) / 16}, horizontal{w, 8 * w, 16, (8 * w + 15) / 16};
  const int64_t rows = vertical.blocks, columns = horizontal.blocks;
  Motion motion{{}, {}, Memory(n * rows * columns * 4), {}, Array(n, 2, h, w)};
  auto* vectors = reinterpret_cast<int16_t*>(motion.memory.data());
  std::mt19937 generator(seed);
  for (int64_t i = 0; i < 2 * n * rows * columns; ++i) {
    vectors[i] = static_cast<int16_t>(static_cast<int>(generator() % 161) - 80);
    if (generator() % 3 == 0) vectors[i] = static_cast<int16_t>(vectors[i] / 32 * 32);  // whole pixels
    if (i % 37 == 5) vectors[i] = std::numeric_limits<int16_t>::min();
    if (i % 41 == 6) vectors[i] = std::numeric_limits<int16_t>::max();
  }
  for (int64_t y = 0; y < h; ++y) motion.rows.push_back(static_cast<int32_t>(block_of(y, vertical)));
  for (int64_t x = 0; x < w; ++x) motion.columns.push_back(static_cast<int32_t>(block_of(x, horizontal)));
  motion.field = {vectors,
                  Element::Float,
                  {rows * columns * 2, columns * 2, 2, 1},
                  motion.rows.data(),
                  motion.columns.data(),
                  quarter_pel<double>(horizontal),
                  quarter_pel<double>(vertical),
                  grid};
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t y = 0; y < h; ++y) {
      for (int64_t x = 0; x < w; ++x) {
        const int16_t* vector = vectors + ((b * rows + motion.rows[y]) * columns + motion.columns[x]) * 2;
        motion.displacement.at(b, 0, y, x) = vector[0] * motion.field.x_scale;
        motion.displacement.at(b, 1, y, x) = vector[1] * motion.field.y_scale;
      }
    }
  }
  return motion;
}

inline Motion dense_motion(int64_t n, int64_t h, int64_t w, Grid grid, unsigned seed, Element element, Layout layout) {
  Array flow = random_array(n, 2, h, w, seed, 2);
  for (size_t i = 0; i < flow.values.size(); i += 5) flow.values[i] = std::round(flow.values[i]);
  const double bad[] = {kNan, kInf, -kInf, 6e4, -6e4};
  for (size_t i = 0; i < 5 && 7 * i + 3 < flow.values.size(); ++i) flow.values[7 * i + 3] = bad[i];
  Buffer buffer(flow, element, layout);
  Motion motion{{}, {}, Memory(1), {}, buffer.read()};
  const int64_t* stride = buffer.map.stride;
  motion.field = {buffer.map.data, element, {stride[0], stride[2], stride[3], stride[1]}, nullptr, nullptr, 0, 0, grid};
  motion.memory = std::move(buffer.memory);
  return motion;
}

// Bilinear: four taps, without those outside or of weight 0.
inline void sample(const Array& from, int64_t n, const Taps<double>& v, const Taps<double>& h, Array& to, int64_t y,
                   int64_t x) {
  for (int tap = 0; tap < 4; ++tap) {
    const int64_t row = tap / 2 ? v.upper : v.lower, column = tap % 2 ? h.upper : h.lower;
    const double weight = (tap / 2 ? v.fraction : 1 - v.fraction) * (tap % 2 ? h.fraction : 1 - h.fraction);
    if (row < 0 || column < 0 || weight == 0) continue;
    for (int64_t c = 0; c < from.c; ++c) to.at(n, c, y, x) += weight * from.at(n, c, row, column);
  }
}

// displacement: [N, 2, H, W], x then y, in pixels.
inline Array warp(const Array& from, const Array& displacement, Grid grid) {
  Array to(from.n, from.c, from.h, from.w);
  for (int64_t n = 0; n < to.n; ++n) {
    for (int64_t y = 0; y < to.h; ++y) {
      for (int64_t x = 0; x < to.w; ++x) {
        const double dx = displacement.at(n, 0, y, x), dy = displacement.at(n, 1, y, x);
        sample(from, n, sample_taps(y, sample_shift(y, dy, to.h, grid), to.h),
               sample_taps(x, sample_shift(x, dx, to.w, grid), to.w), to, y, x);
      }
    }
  }
  return to;
}

inline Taps<double> resize_taps(int64_t at, int64_t size, int64_t target, bool align_corners) {
  const double last = static_cast<double>(size - 1);
  double position = target > 1 ? last / static_cast<double>(target - 1) * at : 0;
  if (!align_corners) position = (at + 0.5) * (static_cast<double>(size) / target) - 0.5;
  return sample_taps(int64_t{0}, std::clamp(position, 0.0, last), size);
}

inline Array resize(const Array& from, int64_t height, int64_t width, bool align_corners = true) {
  Array to(from.n, from.c, height, width);
  for (int64_t n = 0; n < to.n; ++n) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        sample(from, n, resize_taps(y, from.h, height, align_corners), resize_taps(x, from.w, width, align_corners), to,
               y, x);
      }
    }
  }
  return to;
}

// Depthwise 3x3; weights [1, C, 10, 1]: nine taps, then the bias.
inline Array convolve(const Array& from, const Array& weights) {
  Array to(from.n, from.c, from.h, from.w);
  for (int64_t n = 0; n < to.n; ++n) {
    for (int64_t c = 0; c < to.c; ++c) {
      for (int64_t y = 0; y < to.h; ++y) {
        for (int64_t x = 0; x < to.w; ++x) {
          double& sum = to.at(n, c, y, x);
          sum = weights.at(0, c, 9, 0);
          for (int64_t tap = 0; tap < 9; ++tap) {
            sum += weights.at(0, c, tap, 0) * from.or_zero(n, c, y + tap / 3 - 1, x + tap % 3 - 1);
          }
        }
      }
    }
  }
  return to;
}

// A 1x1 convolution; weights [1, K, C, 1].
inline Array classify(const Array& from, const Array& weights) {
  Array to(from.n, weights.c, from.h, from.w);
  for (int64_t n = 0; n < to.n; ++n) {
    for (int64_t k = 0; k < to.c; ++k) {
      for (int64_t y = 0; y < to.h; ++y) {
        for (int64_t x = 0; x < to.w; ++x) {
          for (int64_t c = 0; c < from.c; ++c) to.at(n, k, y, x) += weights.at(0, k, c, 0) * from.at(n, c, y, x);
        }
      }
    }
  }
  return to;
}

inline Array sum(Array a, const Array& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
  return a;
}

// bias: [1, C, 1, 1]
inline Array with_bias(Array map, const Array& bias) {
  for (size_t i = 0; i < map.values.size(); ++i) map.values[i] += bias.values[i / (map.h * map.w) % map.c];
  return map;
}

}  // namespace reference
