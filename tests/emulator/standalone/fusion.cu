#include "case.h"
#include "creff/classes_mma.cuh"
#include "creff/forward_mma.cuh"
#include "creff/unfused.cuh"
#include "motion.h"

namespace standalone {
namespace {

using arseg::Grid;
using arseg::Outside;
using arseg::Window;

struct FusionCase {
  Size size;
  int64_t low_height, low_width, window;
  int64_t classes;
  bool dense, masked, whole = false;
};

enum class Result { Features, Logits, Labels };

// The inputs of one case in device memory.
template <typename T>
struct Inputs {
  using A = gpu::accumulator<T>;

  explicit Inputs(const FusionCase& of)
      : reference_map(reference::random_array(of.size.n, of.size.c, of.size.h, of.size.w, 1)),
        low_res(reference::random_array(of.size.n, of.size.c, of.low_height, of.low_width, 2)),
        motion(random_motion(of.size, of.dense, Grid::Aligned, Element::Float)),
        packed(3 * arseg::kDepthwiseRows * of.size.c * static_cast<int64_t>(sizeof(A))),
        classifier(reference::random_array(1, of.classes, of.size.c, 1, 6, 0.2)),
        low_res_logits(reference::random_array(of.size.n, of.classes, of.low_height, of.low_width, 7)),
        bias(reference::random_array(1, of.classes, 1, 1, 8)) {
    if (of.whole) make_whole(motion);
    gpu::PackDepthwiseAllParams<T> all;
    for (int i = 0; i < 3; ++i) {
      // [1, C, 10, 1]: nine taps and the bias of a channel lie together.
      convolutions.emplace_back(reference::random_array(1, of.size.c, 10, 1, 3 + static_cast<unsigned>(i), 0.3),
                                kElement<T>, Layout::First);
      const T* weights = reinterpret_cast<const T*>(convolutions.back().memory.data());
      all.convolution[i] = {
          weights, weights + 9, {10, 0, 3, 1}, 10, static_cast<int>(of.size.c), static_cast<int>(of.size.c), rows(i)};
    }
    gpu::launch_pack_depthwise(all, nullptr);
  }
  A* rows(int convolution) {
    return reinterpret_cast<A*>(packed.data()) + convolution * arseg::kDepthwiseRows * reference_map.map.size[1];
  }

  DeviceMap<T> reference_map, low_res;
  reference::Motion motion;
  std::vector<Buffer> convolutions;
  Memory packed;
  DeviceMap<T> classifier, low_res_logits, bias;
};

template <typename T>
gpu::FusionParams<T> params_of(const FusionCase& of, Inputs<T>& inputs, T* out) {
  gpu::FusionParams<T> a{};
  a.batch = of.size.n;
  a.height = static_cast<int>(of.size.h);
  a.width = static_cast<int>(of.size.w);
  a.channels = static_cast<int>(of.size.c);
  a.low_height = static_cast<int>(of.low_height);
  a.low_width = static_cast<int>(of.low_width);
  a.row_ratio = gpu::resize_ratio<gpu::accumulator<T>>(a.low_height, a.height);
  a.column_ratio = gpu::resize_ratio<gpu::accumulator<T>>(a.low_width, a.width);
  a.motion = make_motion_params(inputs.motion, of.size, of.dense, Element::Float);
  a.window_height = a.window_width = static_cast<int>(of.window);
  a.masked = of.masked;
  a.reference = inputs.reference_map.data();
  a.reference_stride = of.size.c * of.size.h * of.size.w;
  a.low_res = inputs.low_res.data();
  a.query_weights = inputs.rows(0);
  a.key_weights = inputs.rows(1);
  a.value_weights = inputs.rows(2);
  a.out = out;
  return a;
}

template <typename T>
void run_unfused(const FusionCase& of, Inputs<T>& inputs, T* out, bool with_residual) {
  const Size& s = of.size;
  const DeviceMap<T> query(s.n, s.c, s.h, s.w), key(s.n, s.c, s.h, s.w), value(s.n, s.c, s.h, s.w);
  const DeviceMap<T> upsampled(s.n, s.c, s.h, s.w);
  gpu::launch_unfused<T>(params_of(of, inputs, out), {key.data(), value.data(), query.data(), upsampled.data()},
                         with_residual, false, nullptr);
}

// With queries made by the attention. CLASSES: 0 for features.
template <int CLASSES, typename T>
void run_fused(const FusionCase& of, Inputs<T>& inputs, T* out, const gpu::FusedClassifier<T>& classifier) {
  constexpr int kChannels = gpu::CreffTraits::Mma::kChannels;
  const Size& s = of.size;
  const DeviceMap<T> key(s.n, kChannels, s.h, s.w), value(s.n, CLASSES ? CLASSES : kChannels, s.h, s.w);
  gpu::launch_fused<CLASSES>(params_of(of, inputs, out), {key.data(), value.data(), nullptr, nullptr}, classifier,
                             nullptr);
}

template <typename T>
void run_classified_fused(const FusionCase& of, Inputs<T>& inputs, T* logits, uint8_t* labels) {
  using Traits = gpu::CreffTraits::Mma;
  const Size& s = of.size;
  const int chunks = static_cast<int>(arseg::ceil_div(s.c, Traits::kChannels));
  const Memory weights(chunks * Traits::kClasses * Traits::kChannels * static_cast<int64_t>(sizeof(T)));
  const Memory biases(Traits::kClasses * static_cast<int64_t>(sizeof(float)));
  auto* to = reinterpret_cast<T*>(weights.data());
  auto* to_biases = reinterpret_cast<float*>(biases.data());
  const int64_t* stride = inputs.classifier.map.stride;
  const int classes = static_cast<int>(of.classes);
  gpu::launch_pack_classifier_operands<T>({inputs.classifier.data(),
                                           inputs.bias.data(),
                                           {stride[1], stride[2]},
                                           inputs.bias.map.stride[1],
                                           classes,
                                           static_cast<int>(s.c),
                                           chunks,
                                           to,
                                           to_biases},
                                          nullptr);
  const gpu::FusedClassifier<T> classifier{to, to_biases, classes, logits, labels};
  gpu::dispatch_classes(classes, [&](auto columns) {
    if (chunks == 1) return run_fused<columns, T>(of, inputs, nullptr, classifier);
    const DeviceMap<T> key(s.n, s.c, s.h, s.w), value(s.n, columns, s.h, s.w), query(s.n, s.c, s.h, s.w);
    const DeviceMap<float> low_res(s.n, columns, of.low_height, of.low_width);
    gpu::launch_classes<columns>(params_of(of, inputs, static_cast<T*>(nullptr)),
                                 {key.data(), value.data(), query.data(), nullptr}, low_res.data(), classifier,
                                 nullptr);
  });
}

template <typename T>
void run_classified(const FusionCase& of, Inputs<T>& inputs, bool fused, T* logits, uint8_t* labels) {
  if constexpr (gpu::is_half_type<T>) {
    if (fused) return run_classified_fused<T>(of, inputs, logits, labels);
  }
  using A = gpu::accumulator<T>;
  const Size& s = of.size;
  const int classes = static_cast<int>(of.classes), channels = static_cast<int>(s.c);
  gpu::ClassifyParams<T> a{};
  a.batch = s.n;
  a.height = static_cast<int>(s.h);
  a.width = static_cast<int>(s.w);
  a.channels = channels;
  a.classes = classes;
  a.padded_classes = (classes + 31) / 32 * 32;
  a.low_height = static_cast<int>(of.low_height);
  a.low_width = static_cast<int>(of.low_width);
  a.row_ratio = gpu::resize_ratio<A>(a.low_height, a.height);
  a.column_ratio = gpu::resize_ratio<A>(a.low_width, a.width);
  a.bias = inputs.bias.data();
  a.bias_stride = inputs.bias.map.stride[1];
  a.low_res_logits = inputs.low_res_logits.data();
  std::copy(inputs.low_res_logits.map.stride, inputs.low_res_logits.map.stride + 4, a.low_stride);
  a.logits = logits;
  a.labels = labels;
  const int64_t* stride = inputs.classifier.map.stride;
  const DeviceMap<T> sums(s.n, s.c, s.h, s.w);
  run_unfused<T>(of, inputs, sums.data(), false);
  const Memory packed(s.c * a.padded_classes * static_cast<int64_t>(sizeof(A)));
  auto* to = reinterpret_cast<A*>(packed.data());
  gpu::launch_pack_classifier<T>(
      {inputs.classifier.data(), {stride[1], stride[2]}, classes, channels, a.padded_classes, channels, to}, nullptr);
  a.values = sums.data();
  a.classifier = to;
  gpu::launch_classify(a, nullptr);
}

template <typename T>
void fusion_case(const FusionCase& of, bool fused, Result result) {
  const Size& s = of.size;
  const std::string what = std::string(name_of<T>()) + (fused ? " fused" : " in a pair") + ", " + std::to_string(s.c) +
                           " channels, window " + std::to_string(of.window);
  Inputs<T> inputs(of);
  const Array low_res = inputs.low_res.read();
  const Array warped = reference::warp(inputs.reference_map.read(), inputs.motion.displacement, Grid::Aligned);
  const Array upsampled = reference::resize(low_res, s.h, s.w);
  const auto attended =
      reference::attention(reference::convolve(upsampled, inputs.convolutions[0].read()),
                           reference::convolve(warped, inputs.convolutions[1].read()),
                           reference::convolve(warped, inputs.convolutions[2].read()), Window{of.window, of.window},
                           of.masked ? Outside::Masked : Outside::Zero, 1.0);
  // Maps between the steps are rounded.
  const double tolerance = 2 * kTolerance<T>;
  if (result == Result::Features) {
    const DeviceMap<T> out(s.n, s.c, s.h, s.w);
    if constexpr (gpu::is_half_type<T>) {
      if (fused) run_fused<0, T>(of, inputs, out.data(), {});
    }
    if (!fused) run_unfused<T>(of, inputs, out.data(), true);
    expect_close("features, " + what, out.read(), reference::sum(attended.out, upsampled), tolerance);
    return;
  }
  const Array classifier = inputs.classifier.read();
  const Array low_res_logits =
      fused ? reference::classify(upsampled, classifier) : reference::resize(inputs.low_res_logits.read(), s.h, s.w);
  const Array expected = reference::with_bias(
      reference::sum(reference::classify(attended.out, classifier), low_res_logits), inputs.bias.read());
  if (result == Result::Logits) {
    const DeviceMap<T> logits(s.n, of.classes, s.h, s.w);
    run_classified<T>(of, inputs, fused, logits.data(), nullptr);
    expect_close("logits, " + what, logits.read(), expected, tolerance);
    return;
  }
  const Memory labels(s.n * s.h * s.w);
  run_classified<T>(of, inputs, fused, nullptr, labels.data());
  bool right = true;
  for (int64_t i = 0; i < labels.bytes(); ++i) {
    const int64_t n = i / (s.h * s.w), y = i / s.w % s.h, x = i % s.w, label = labels.data()[i];
    for (int64_t k = 0; k < of.classes; ++k) {
      right = right && label < of.classes && expected.at(n, label, y, x) >= expected.at(n, k, y, x) - 4 * tolerance;
    }
  }
  expect(right, "labels, " + what);
}

template <typename T>
void fusions_of(const FusionCase& of, bool fused) {
  for (const Result result : {Result::Features, Result::Logits, Result::Labels}) fusion_case<T>(of, fused, result);
}

void unfused() {
  const FusionCase wide{{1, 72, 9, 18}, 4, 7, 5, 40, false, false};
  const FusionCase small{{2, 16, 5, 7}, 3, 3, 3, 6, true, true};
  fusions_of<float>(small, false);
  fusions_of<double>(small, false);
  fusions_of<gpu::Half>(small, false);
  fusion_case<gpu::BFloat16>(wide, false, Result::Logits);
  fusion_case<float>(wide, false, Result::Features);
}

void with_own_queries() {
  const FusionCase cases[] = {
      {{1, 64, 9, 18}, 4, 7, 7, 19, false, false},      {{2, 16, 5, 7}, 3, 3, 3, 32, true, true},
      {{1, 40, 17, 16}, 5, 9, 5, 7, true, false},       {{1, 32, 9, 17}, 5, 8, 9, 5, false, true},
      {{1, 48, 18, 17}, 9, 8, 3, 6, true, false, true},
  };
  for (const FusionCase& of : cases) {
    fusions_of<gpu::Half>(of, true);
    fusion_case<gpu::BFloat16>(of, true, Result::Features);
  }
}

void classes_of_many_channels() {
  const FusionCase cases[] = {{{1, 72, 9, 18}, 4, 7, 7, 19, false, false},
                              {{2, 200, 17, 16}, 3, 3, 3, 32, true, true},
                              {{1, 136, 5, 17}, 9, 20, 9, 5, false, true}};
  for (const FusionCase& of : cases) {
    fusion_case<gpu::Half>(of, true, Result::Logits);
    fusion_case<gpu::BFloat16>(of, true, Result::Labels);
  }
}

const Registration kClasses("creff", "classes of many channels", &classes_of_many_channels);
const Registration kPair("creff", "in a pair of kernels", &unfused);
const Registration kFused("creff", "with queries of its own", &with_own_queries);

}  // namespace
}  // namespace standalone
