// The whole fusion on CUDA, for inference: memory, and what the kernels are given.

#include <limits>
#include <numeric>
#include <vector>

#include "../common/torch_utils.cuh"
#include "../mv_warp/motion_params.h"
#include "forward_mma.cuh"
#include "operators.h"
#include "unfused.cuh"

namespace arseg {
namespace {

// Arguments made ready for the kernels, and the memory behind them.
class Fusion {
 public:
  Fusion(const char* op, const FusionInputs& in, const FusionOptions& options)
      : device_(in.reference),
        dtype_(in.reference.scalar_type()),
        window_(options.window),
        outside_(options.outside),
        allow_tf32_(options.allow_tf32),
        channels_(padded_channels(in.reference.size(1), dtype_)),
        batch_(in.reference.size(0)),
        reference_(dense_images(in.reference, channels_)),
        low_res_(dense_channels_last(in.low_res, channels_)),
        low_res_of_caller_(in.low_res),
        weights_(scratch({3 * kDepthwiseRows * channels_}, accumulator_dtype(dtype_))) {
    motion_ = options.dense ? gpu::make_motion_params(op, in.motion, options.grid)
                            : gpu::make_motion_params(op, in.reference, in.motion, options.block, options.frame_size,
                                                      options.grid);
    for (const int64_t size : {low_res_.size(2), low_res_.size(3), channels_}) {
      check(size <= 1 << 30, op, ": a size of ", size, " is too large for CUDA");
    }
    const int64_t pixels = in.reference.size(2) * in.reference.size(3);
    check(pixels <= std::numeric_limits<int32_t>::max(), op, ": a map of ", pixels, " pixels is too large for CUDA");
    if (is_empty()) return;
    dispatch_device(dtype_, [&](auto tag) {
      using T = decltype(tag);
      using A = gpu::accumulator<T>;
      gpu::PackDepthwiseAllParams<T> all;
      int i = 0;
      for (const auto* from : {&in.query, &in.key, &in.value}) {
        gpu::PackDepthwiseParams<T>& to = all.convolution[i];
        to.weight = data_of<T>(from->weight);
        to.bias = data_of<T>(from->bias);
        for (int d = 0; d < 4; ++d) to.weight_stride[d] = from->weight.stride(d);
        to.bias_stride = from->bias.stride(0);
        to.channels = static_cast<int>(from->bias.size(0));
        to.padded = static_cast<int>(channels_);
        to.to = mutable_data_of<A>(weights_) + i++ * kDepthwiseRows * channels_;
      }
      gpu::launch_pack_depthwise(all, device_.stream());
    });
  }

  bool is_empty() const { return batch_ * reference_.map.size(2) * reference_.map.size(3) == 0; }

  void features(Tensor& out) {
    if (is_empty()) return;
    Tensor buffer = result_buffer(out, channels_);
    dispatch_device(dtype_, [&](auto tag) {
      using T = decltype(tag);
      const gpu::FusionParams<T> a = params<T>(buffer);
      if constexpr (gpu::is_half_type<T>) {
        if (gpu::can_use_fused(a, 0)) {
          return with_scratch<T>(
              a, {gpu::CreffTraits::Mma::kChannels, gpu::CreffTraits::Mma::kChannels},
              [&](const gpu::FusionScratch<T>& maps) { gpu::launch_fused<0, T>(a, maps, {}, device_.stream()); });
        }
      }
      unfused(a, true);
    });
    finish_result(out, buffer);
  }

  // Logits into `logits` or labels into `labels`, whichever is not null.
  void classify(const Tensor& classifier, const Tensor& bias, Tensor* logits, Tensor* labels) {
    if (is_empty()) return;
    const int64_t classes = classifier.size(0);
    Tensor buffer = logits ? result_buffer(*logits, classes) : reference_.map;
    dispatch_device(dtype_, [&](auto tag) {
      using T = decltype(tag);
      T* to = logits ? mutable_data_of<T>(buffer) : nullptr;
      uint8_t* to_labels = labels ? mutable_data_of<uint8_t>(*labels) : nullptr;
      if constexpr (gpu::is_half_type<T>) {
        if (gpu::can_use_fused(params<T>(reference_.map), static_cast<int>(classes))) {
          return classify_fused<T>(classifier, bias, to, to_labels);
        }
        if (gpu::can_use_patches(params<T>(reference_.map), static_cast<int>(classes))) {
          return classify_in_chunks<T>(classifier, bias, to, to_labels);
        }
      }
      classify_unfused<T>(classifier, bias, to, to_labels);
    });
    if (logits) finish_result(*logits, buffer);
  }

 private:
  // run(classifier): with its weights as tensor cores take them.
  template <typename T, typename F>
  void with_classifier(const Tensor& classifier, const Tensor& bias, T* logits, uint8_t* labels, F&& run) const {
    using Traits = gpu::CreffTraits::Mma;
    const int classes = static_cast<int>(classifier.size(0));
    const int chunks = static_cast<int>(ceil_div(channels_, Traits::kChannels));
    Tensor weights = scratch({chunks * Traits::kClasses * Traits::kChannels}, dtype_);
    Tensor biases = scratch({Traits::kClasses}, accumulator_dtype(dtype_));
    gpu::launch_pack_classifier_operands<T>({data_of<T>(classifier),
                                             data_of<T>(bias),
                                             {classifier.stride(0), classifier.stride(1)},
                                             bias.stride(0),
                                             classes,
                                             static_cast<int>(classifier.size(1)),
                                             chunks,
                                             mutable_data_of<T>(weights),
                                             mutable_data_of<float>(biases)},
                                            device_.stream());
    run(gpu::FusedClassifier<T>{data_of<T>(weights), data_of<float>(biases), classes, logits, labels});
  }

  template <typename T>
  void classify_fused(const Tensor& classifier, const Tensor& bias, T* logits, uint8_t* labels) {
    const gpu::FusionParams<T> a = params<T>(reference_.map);  // no features come out
    with_classifier<T>(classifier, bias, logits, labels, [&](const gpu::FusedClassifier<T>& of) {
      gpu::dispatch_classes(of.classes, [&](auto columns) {
        with_scratch<T>(a, {gpu::CreffTraits::Mma::kChannels, columns}, [&](const gpu::FusionScratch<T>& maps) {
          gpu::launch_fused<columns>(a, maps, of, device_.stream());
        });
      });
    });
  }

  // Of more channels than a tile of the fused attention holds.
  template <typename T>
  void classify_in_chunks(const Tensor& classifier, const Tensor& bias, T* logits, uint8_t* labels) {
    const gpu::FusionParams<T> a = params<T>(reference_.map);  // no features come out
    with_classifier<T>(classifier, bias, logits, labels, [&](const gpu::FusedClassifier<T>& of) {
      gpu::dispatch_classes(of.classes, [&](auto columns) {
        Tensor low_res = scratch({a.batch * a.low_height * a.low_width * columns}, accumulator_dtype(dtype_));
        with_scratch<T>(a, {a.channels, columns, a.channels}, [&](const gpu::FusionScratch<T>& maps) {
          gpu::launch_classes<columns>(a, maps, mutable_data_of<float>(low_res), of, device_.stream());
        });
      });
    });
  }

  template <typename T>
  void classify_unfused(const Tensor& classifier, const Tensor& bias, T* logits, uint8_t* labels) {
    using A = gpu::accumulator<T>;
    const Tensor low_logits = low_res_logits(low_res_of_caller_, classifier);
    const int64_t classes = classifier.size(0);
    gpu::ClassifyParams<T> a{};
    a.batch = batch_;
    a.height = static_cast<int>(reference_.map.size(2));
    a.width = static_cast<int>(reference_.map.size(3));
    a.channels = static_cast<int>(channels_);
    a.classes = static_cast<int>(classes);
    a.low_height = static_cast<int>(low_res_.size(2));
    a.low_width = static_cast<int>(low_res_.size(3));
    a.row_ratio = gpu::resize_ratio<A>(a.low_height, a.height);
    a.column_ratio = gpu::resize_ratio<A>(a.low_width, a.width);
    a.low_res_logits = data_of<T>(low_logits);
    const int64_t low_row = low_res_.size(3) * classes;
    const int64_t strides[4] = {low_res_.size(2) * low_row, 1, low_row, classes};
    std::copy(strides, strides + 4, a.low_stride);
    a.bias = data_of<T>(bias);
    a.bias_stride = bias.stride(0);
    a.logits = logits;
    a.labels = labels;
    Tensor sums = empty_channels_last(reference_.map, a.batch, channels_, a.height, a.width);
    unfused(params<T>(sums), false);
    a.padded_classes = static_cast<int>(round_up(classes, 32));
    Tensor packed = scratch({channels_ * a.padded_classes}, accumulator_dtype(dtype_));
    gpu::launch_pack_classifier<T>({data_of<T>(classifier),
                                    {classifier.stride(0), classifier.stride(1)},
                                    a.classes,
                                    static_cast<int>(classifier.size(1)),
                                    a.padded_classes,
                                    a.channels,
                                    mutable_data_of<A>(packed)},
                                   device_.stream());
    a.values = data_of<T>(sums);
    a.classifier = data_of<A>(packed);
    gpu::launch_classify(a, device_.stream());
  }

  Tensor scratch(std::initializer_list<int64_t> size, ScalarType dtype) const {
    return empty(reference_.map, size, dtype);
  }

  template <typename T>
  gpu::FusionParams<T> params(const Tensor& out) const {
    using A = gpu::accumulator<T>;
    gpu::FusionParams<T> a;
    a.batch = batch_;
    a.height = static_cast<int>(reference_.map.size(2));
    a.width = static_cast<int>(reference_.map.size(3));
    a.channels = static_cast<int>(channels_);
    a.low_height = static_cast<int>(low_res_.size(2));
    a.low_width = static_cast<int>(low_res_.size(3));
    a.row_ratio = gpu::resize_ratio<A>(a.low_height, a.height);
    a.column_ratio = gpu::resize_ratio<A>(a.low_width, a.width);
    a.motion = motion_;
    a.window_height = static_cast<int>(window_.height);
    a.window_width = static_cast<int>(window_.width);
    a.masked = outside_ == Outside::Masked;
    a.reference = data_of<T>(reference_.map);
    a.reference_stride = reference_.stride;
    a.low_res = data_of<T>(low_res_);
    const A* weights = data_of<A>(weights_);
    a.query_weights = weights;
    a.key_weights = weights + kDepthwiseRows * channels_;
    a.value_weights = weights + 2 * kDepthwiseRows * channels_;
    a.out = const_cast<T*>(data_of<T>(out));
    return a;
  }

  // run(maps): with the first maps of a FusionScratch, of so many channels each.
  template <typename T, typename F>
  void with_scratch(const gpu::FusionParams<T>& a, const std::vector<int64_t>& channels, F&& run) const {
    const int64_t pixels = a.batch * a.height * a.width;
    Tensor maps = scratch({pixels * std::accumulate(channels.begin(), channels.end(), int64_t{0})}, dtype_);
    T* next = mutable_data_of<T>(maps);
    T* first[4] = {};
    for (size_t i = 0; i < channels.size(); ++i) {
      first[i] = next;
      next += pixels * channels[i];
    }
    run(gpu::FusionScratch<T>{first[0], first[1], first[2], first[3]});
  }

  // with_residual: features; without: the weighted sum of values alone.
  template <typename T>
  void unfused(const gpu::FusionParams<T>& a, bool with_residual) const {
    with_scratch<T>(a, {a.channels, a.channels, a.channels, a.channels}, [&](const gpu::FusionScratch<T>& maps) {
      gpu::launch_unfused<T>(a, maps, with_residual, allow_tf32_, device_.stream());
    });
  }

  DeviceGuard device_;
  ScalarType dtype_;
  Window window_;
  Outside outside_;
  bool allow_tf32_;
  int64_t channels_;  // padded to whole vectors
  int64_t batch_;
  Images reference_;
  Tensor low_res_;
  const Tensor& low_res_of_caller_;  // without padding: what the classifier is for
  Tensor weights_;
  gpu::MotionParams motion_;
};

}  // namespace

ARSEG_CUDA_LIBRARY(m) { ARSEG_IMPL_CREFF(m, Fusion); }

}  // namespace arseg
