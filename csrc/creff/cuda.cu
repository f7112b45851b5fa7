// The whole fusion on CUDA, for inference: memory, and what the kernels are given.

#include "../common/torch_utils.cuh"
#include "../mv_warp/motion_params.h"
#include "forward_mma.cuh"
#include "operators.h"

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
          return with_scratch<T>(a, 2, [&](const gpu::FusionScratch<T>& maps) {
            gpu::launch_fused<T>(a, maps, {}, nullptr, device_.stream());
          });
        }
      }
      unfused(a, true);
    });
    finish_result(out, buffer);
  }

  // Logits into `logits` or labels into `labels`, whichever is not null.
  void classify(const Tensor& classifier, const Tensor& bias, Tensor* logits, Tensor* labels) {
    if (is_empty()) return;
    const Tensor low_logits = low_res_logits(low_res_of_caller_, classifier);
    const int64_t classes = classifier.size(0);
    Tensor buffer = logits ? result_buffer(*logits, classes) : reference_.map;
    dispatch_device(dtype_, [&](auto tag) {
      using T = decltype(tag);
      using A = gpu::accumulator<T>;
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
      a.logits = logits ? mutable_data_of<T>(buffer) : nullptr;
      a.labels = labels ? mutable_data_of<uint8_t>(*labels) : nullptr;
      const T* weight = data_of<T>(classifier);
      const int own = static_cast<int>(classifier.size(1));

      if constexpr (gpu::is_half_type<T>) {
        const gpu::FusionParams<T> fusion = params<T>(reference_.map);  // no features come out
        if (gpu::can_use_fused(fusion, a.classes)) {
          Tensor rows = scratch({gpu::CreffTraits::Mma::kClasses * channels_}, dtype_);
          gpu::launch_pack_classifier_rows<T>({weight,
                                               {classifier.stride(0), classifier.stride(1)},
                                               a.classes,
                                               own,
                                               a.channels,
                                               mutable_data_of<T>(rows)},
                                              gpu::CreffTraits::Mma::kClasses, device_.stream());
          return with_scratch<T>(fusion, 2, [&](const gpu::FusionScratch<T>& maps) {
            gpu::launch_fused<T>(fusion, maps, a, data_of<T>(rows), device_.stream());
          });
        }
      }
      Tensor sums = empty_channels_last(reference_.map, a.batch, channels_, a.height, a.width);
      unfused(params<T>(sums), false);
      a.padded_classes = static_cast<int>(round_up(classes, 32));
      Tensor packed = scratch({channels_ * a.padded_classes}, accumulator_dtype(dtype_));
      gpu::launch_pack_classifier<T>({weight,
                                      {classifier.stride(0), classifier.stride(1)},
                                      a.classes,
                                      own,
                                      a.padded_classes,
                                      a.channels,
                                      mutable_data_of<A>(packed)},
                                     device_.stream());
      a.values = data_of<T>(sums);
      a.classifier = data_of<A>(packed);
      gpu::launch_classify(a, device_.stream());
    });
    if (logits) finish_result(*logits, buffer);
  }

 private:
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

  // run(maps): with the first `count` maps of a FusionScratch.
  template <typename T, typename F>
  void with_scratch(const gpu::FusionParams<T>& a, int count, F&& run) const {
    const int64_t elements = a.batch * a.height * a.width * a.channels;
    Tensor maps = scratch({count * elements}, dtype_);
    T* first = mutable_data_of<T>(maps);
    const auto map = [&](int i) { return i < count ? first + i * elements : nullptr; };
    run(gpu::FusionScratch<T>{map(0), map(1), map(2), map(3)});
  }

  // with_residual: features; without: the weighted sum of values alone.
  template <typename T>
  void unfused(const gpu::FusionParams<T>& a, bool with_residual) const {
    with_scratch<T>(a, 4, [&](const gpu::FusionScratch<T>& maps) {
      gpu::launch_unfused<T>(a, maps, with_residual, device_.stream());
    });
  }

  DeviceGuard device_;
  ScalarType dtype_;
  Window window_;
  Outside outside_;
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
