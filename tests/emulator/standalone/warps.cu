#include "case.h"
#include "motion.h"
#include "mv_warp/backward_feature.cuh"
#include "mv_warp/backward_flow.cuh"
#include "resize_labels/forward.cuh"

namespace standalone {
namespace {

using arseg::Grid;

// Calls run(tap, weight, row, column) for the taps of a pixel inside the image; rows then columns, in double.
template <typename F>
void for_taps(const Array& displacement, Grid grid, int64_t n, int64_t y, int64_t x, F&& run) {
  const auto taps = [&](int64_t at, int64_t size, int64_t axis) {
    const double shift = arseg::sample_shift(at, displacement.at(n, axis, y, x), size, grid);
    return arseg::sample_taps(at, shift, size);
  };
  const auto v = taps(y, displacement.h, 1), h = taps(x, displacement.w, 0);
  for (int tap = 0; tap < 4; ++tap) {
    const int64_t row = tap / 2 ? v.upper : v.lower, column = tap % 2 ? h.upper : h.lower;
    const double down = tap / 2 ? v.fraction : 1 - v.fraction, across = tap % 2 ? h.fraction : 1 - h.fraction;
    if (row >= 0 && column >= 0) run(tap, down, across, row, column);
  }
}

template <typename T>
void warp_case(const Size& size, bool dense, Grid grid, Element element, const reference::Motion& motion) {
  const std::string what = std::string(name_of<T>()) + (dense ? " flow" : " blocks") + " of " + std::to_string(size.h) +
                           " x " + std::to_string(size.w);
  const gpu::MotionParams device_motion = make_motion_params(motion, size, dense, element);
  const DeviceMap<T> feature(reference::random_array(size.n, size.c, size.h, size.w, 1));
  const DeviceMap<T> out(size.n, size.c, size.h, size.w);
  gpu::WarpParams<T> a{feature.data(), size.c * size.h * size.w, out.data(),
                       size.n,         static_cast<int>(size.c), device_motion};
  gpu::launch_warp(a, nullptr);
  const Array values = feature.read();
  expect_close("warp, " + what, out.read(), reference::warp(values, motion.displacement, grid), kTolerance<T>);

  const gpu::FeatureGradientMemory memory(size.n, size.h * size.w, size.c);
  Memory words(memory.words * 4);
  auto* const first = reinterpret_cast<int32_t*>(words.data());
  std::fill(first, first + memory.minus_ones, -1);
  const Memory sums((memory.weights + memory.partial) * static_cast<int64_t>(sizeof(gpu::accumulator<T>)));
  gpu::launch_warp_backward(a, first, reinterpret_cast<gpu::accumulator<T>*>(sums.data()), nullptr);
  Array gradient(size.n, size.c, size.h, size.w);
  for (int64_t n = 0; n < size.n; ++n) {
    for (int64_t y = 0; y < size.h; ++y) {
      for (int64_t x = 0; x < size.w; ++x) {
        for_taps(motion.displacement, grid, n, y, x, [&](int, double down, double across, int64_t row, int64_t column) {
          for (int64_t c = 0; c < size.c; ++c) gradient.at(n, c, row, column) += down * across * values.at(n, c, y, x);
        });
      }
    }
  }
  expect_close("gradient of the feature, " + what, out.read(), gradient, 2 * kTolerance<T>);
}

// Every pixel is taken from somewhere between the first 5 x 5: lists of thousands of entries.
reference::Motion crowded_motion(const Size& size) {
  Array flow = reference::random_array(size.n, 2, size.h, size.w, 5, 2);
  for (int64_t n = 0; n < size.n; ++n) {
    for (int64_t y = 0; y < size.h; ++y) {
      for (int64_t x = 0; x < size.w; ++x) {
        flow.at(n, 0, y, x) += 2 - static_cast<double>(x);
        flow.at(n, 1, y, x) += 2 - static_cast<double>(y);
      }
    }
  }
  reference::Buffer buffer(flow, Element::Double, reference::Layout::Last);
  reference::Motion motion{{}, {}, reference::Memory(1), {}, buffer.read()};
  const int64_t* stride = buffer.map.stride;
  motion.field = {
      buffer.map.data, Element::Double, {stride[0], stride[2], stride[3], stride[1]}, nullptr, nullptr, 0, 0,
      Grid::Aligned};
  motion.memory = std::move(buffer.memory);
  return motion;
}

template <typename T, typename F>
void flow_case(const Size& size, Grid grid) {
  const reference::Motion motion = random_motion(size, true, grid, kElement<F>);
  const DeviceMap<T> grad(reference::random_array(size.n, size.c, size.h, size.w, 1));
  const DeviceMap<T> feature(reference::random_array(size.n, size.c, size.h, size.w, 2));
  const DeviceMap<F> out(size.n, 2, size.h, size.w);
  gpu::launch_flow_gradient<T, F>({grad.data(), feature.data(), false, out.data(), size.n, static_cast<int>(size.c),
                                   make_motion_params(motion, size, true, kElement<F>)},
                                  nullptr);
  const Array grads = grad.read(), values = feature.read();
  Array expected(size.n, 2, size.h, size.w);
  for (int64_t n = 0; n < size.n; ++n) {
    for (int64_t y = 0; y < size.h; ++y) {
      for (int64_t x = 0; x < size.w; ++x) {
        for_taps(motion.displacement, grid, n, y, x,
                 [&](int tap, double down, double across, int64_t row, int64_t column) {
                   double product = 0;
                   for (int64_t c = 0; c < size.c; ++c) product += grads.at(n, c, y, x) * values.at(n, c, row, column);
                   expected.at(n, 0, y, x) += (tap % 2 ? product : -product) * down;
                   expected.at(n, 1, y, x) += (tap / 2 ? product : -product) * across;
                 });
        expected.at(n, 0, y, x) *= arseg::sample_slope<double>(size.w, grid);
        expected.at(n, 1, y, x) *= arseg::sample_slope<double>(size.h, grid);
      }
    }
  }
  expect_close(std::string("gradient of the flow, ") + name_of<T>(), out.read(), expected,
               2 * std::max(kTolerance<T>, kTolerance<F>));
}

template <typename T>
void warps_of() {
  for (const Size& size : {Size{2, 8, 5, 7}, Size{1, 72, 3, 37}, Size{1, 264, 2, 3}, Size{1, 8, 1, 1}}) {
    for (const Grid grid : {Grid::Aligned, Grid::Legacy}) {
      const Element element = size.n == 2 ? Element::Half : Element::Double;
      warp_case<T>(size, false, grid, Element::Float, random_motion(size, false, grid, Element::Float));
      warp_case<T>(size, true, grid, element, random_motion(size, true, grid, element));
    }
  }
}

void warps() {
  warps_of<float>();
  warps_of<double>();
  warps_of<gpu::Half>();
  warps_of<gpu::BFloat16>();
}

// More than 32 pixels a strip of the counting sort, so that a list is led by one lane and then another.
void crowds() {
  const Size size{2, 8, 68, 130};
  warp_case<float>(size, true, Grid::Aligned, Element::Double, crowded_motion(size));
}

void flow_gradients() {
  for (const Size& size : {Size{2, 8, 5, 7}, Size{1, 72, 3, 37}, Size{1, 264, 2, 3}}) {
    flow_case<double, double>(size, Grid::Legacy);
    flow_case<float, float>(size, Grid::Aligned);
    flow_case<gpu::BFloat16, float>(size, Grid::Aligned);
  }
}

template <typename T>
void labels_of(bool align_corners) {
  const DeviceMap<T> logits(reference::random_array(2, 11, 4, 5, 7));
  const Array resized = reference::resize(logits.read(), 9, 133, align_corners);
  Memory labels(2 * 9 * 133);
  gpu::ResizeLabelsParams<T> a{};
  a.logits = logits.data();
  std::copy(logits.map.stride, logits.map.stride + 4, a.stride);
  a.batch = 2;
  a.classes = 11;
  a.from_height = 4;
  a.from_width = 5;
  a.height = 9;
  a.width = 133;
  a.align_corners = align_corners;
  a.labels = labels.data();
  gpu::launch_resize_labels(a, nullptr);
  bool right = true;
  for (int64_t i = 0; i < labels.bytes(); ++i) {
    const int64_t n = i / (9 * 133), y = i / 133 % 9, x = i % 133;
    if (labels.data()[i] >= 11) {
      right = false;
      continue;
    }
    for (int64_t k = 0; k < 11; ++k) {
      right = right && resized.at(n, labels.data()[i], y, x) >= resized.at(n, k, y, x) - 1e-5;
    }
  }
  expect(right, std::string("labels of ") + name_of<T>());
}

void labels() {
  for (const bool align_corners : {false, true}) {
    labels_of<float>(align_corners);
    labels_of<double>(align_corners);
    labels_of<gpu::Half>(align_corners);
    labels_of<gpu::BFloat16>(align_corners);
  }
}

const Registration kWarps("mv_warp", "warps and gradients of features", &warps);
const Registration kCrowds("mv_warp", "gradients of features where all pixels come from few", &crowds);
const Registration kFlowGradients("mv_warp", "gradients of flows", &flow_gradients);
const Registration kLabels("resize_labels", "labels", &labels);

}  // namespace
}  // namespace standalone
