#include "case.h"
#include "depthwise/backward.cuh"

namespace standalone {
namespace {

// What the loops of a convolution with padding 1 say: each weight lets each pixel into one of the result.
struct Expected {
  Array map;
  std::vector<Array> sums;  // [1, c, 1, 10] a convolution: nine taps and the bias
};

Expected obvious(const Array& map, const Array& direct, const std::vector<Array>& grads,
                 const std::vector<Array>& weights) {
  const int64_t n = map.n, c = map.c, height = map.h, width = map.w;
  Expected result{direct, {}};
  for (size_t i = 0; i < grads.size(); ++i) {
    Array sums(1, c, 1, 10);
    for (int64_t at = 0; at < n * c * height * width; ++at) {
      const int64_t x = at % width, y = at / width % height, k = at / width / height % c, b = at / width / height / c;
      if (k >= weights[i].c) continue;  // padding
      const double grad = grads[i].at(b, k, y, x);
      sums.at(0, k, 0, 9) += grad;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const int64_t from_y = y + tap / 3 - 1, from_x = x + tap % 3 - 1;
        if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) continue;
        sums.at(0, k, 0, tap) += grad * map.at(b, k, from_y, from_x);
        result.map.at(b, k, from_y, from_x) += grad * weights[i].at(0, k, tap / 3, tap % 3);
      }
    }
    result.sums.push_back(sums);
  }
  return result;
}

// Where `padding` is not 0, the maps have channels behind those that the weights have.
template <typename T, int Convolutions>
void depthwise_case(int64_t n, int64_t c, int64_t height, int64_t width, bool with_direct, bool with_map,
                    int64_t padding = 0) {
  using A = gpu::accumulator<T>;
  const int64_t channels = c + padding;
  const auto random_map = [&](int seed) {
    Array map = reference::random_array(n, channels, height, width, seed);
    for (int64_t at = 0; at < n * channels * height * width; ++at) {
      const int64_t k = at / width / height % channels;
      if (k >= c) map.at(at / width / height / channels, k, at / width % height, at % width) = 0;
    }
    return map;
  };
  const DeviceMap<T> map(random_map(1)), direct(random_map(2)), out(n, channels, height, width);
  gpu::DepthwiseBackwardParams<T> a{};
  a.batch = n;
  a.height = static_cast<int>(height);
  a.width = static_cast<int>(width);
  a.channels = static_cast<int>(channels);
  a.own_channels = static_cast<int>(c);
  a.units = gpu::depthwise_units<T>(a.channels);
  a.map = map.data();
  a.direct = with_direct ? direct.data() : nullptr;
  a.grad_map = with_map ? out.data() : nullptr;
  std::vector<DeviceMap<T>> maps;
  std::vector<Array> grads, weights;
  maps.reserve(5 * Convolutions);
  for (int i = 0; i < Convolutions; ++i) {
    const DeviceMap<T>& grad = maps.emplace_back(random_map(3 + i));
    const DeviceMap<T>& weight = maps.emplace_back(reference::random_array(1, c, 3, 3, 5 + i));
    grads.push_back(grad.read());
    weights.push_back(weight.read());
    const DeviceMap<T>&grad_weight = maps.emplace_back(1, 9, 1, c), &grad_bias = maps.emplace_back(1, c, 1, 1);
    a.convolution[i] = {grad.data(), weight.data(), {1, 3 * c, c}, grad_weight.data(), grad_bias.data()};
  }
  const gpu::DepthwiseTiling<T> tiling(a);
  const DeviceMap<A> sums(1, int64_t{tiling.blocks()} * Convolutions * gpu::kRowsOfSums, 1, channels);
  a.sums = sums.data();
  gpu::launch_depthwise_backward<T, Convolutions>(a, nullptr);

  Array none(n, channels, height, width);
  const Expected expected = obvious(map.read(), with_direct ? direct.read() : none, grads, weights);
  const std::string what = std::string("gradient of a convolution, ") + name_of<T>();
  if (with_map) expect_close(what + ", map", out.read(), expected.map, kTolerance<T>);
  for (int i = 0; i < Convolutions; ++i) {
    const Array taps = maps[4 * i + 2].read(), bias = maps[4 * i + 3].read();
    Array got(1, channels, 1, 10);
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t tap = 0; tap < 9; ++tap) got.at(0, k, 0, tap) = taps.at(0, tap, 0, k);
      got.at(0, k, 0, 9) = bias.at(0, k, 0, 0);
    }
    expect_close(what + ", weights", got, expected.sums[i], kTolerance<T>);
  }
}

template <typename T>
void convolutions_of() {
  // More than a row of strips and more than a chunk of channels, few channels, one pixel, a column, a row.
  depthwise_case<T, 2>(2, 72, 43, 7, false, true);
  depthwise_case<T, 2>(1, 8, 5, 50, false, false);
  depthwise_case<T, 1>(2, 66, 42, 8, true, true, 6);
  depthwise_case<T, 1>(1, 3, 1, 1, false, true, 5);
  depthwise_case<T, 1>(1, 8, 70, 1, true, true);
  depthwise_case<T, 2>(1, 16, 1, 30, false, true);
}

void convolutions() {
  convolutions_of<float>();
  convolutions_of<double>();
  convolutions_of<gpu::Half>();
  convolutions_of<gpu::BFloat16>();
}

const Registration kConvolutions("depthwise", "gradients of depthwise convolutions", &convolutions);

}  // namespace
}  // namespace standalone
