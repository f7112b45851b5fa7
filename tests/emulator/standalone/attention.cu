#include "case.h"
#include "local_attention/launch.cuh"

// For the fusion's kernels as well.
template void arseg::gpu::launch_attention(const AttentionParams<float>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<double>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<arseg::gpu::Half>&, void*);
template void arseg::gpu::launch_attention(const AttentionParams<arseg::gpu::BFloat16>&, void*);

namespace standalone {
namespace {

using arseg::Outside;
using arseg::Window;

struct AttentionCase {
  int64_t n, h, w, channels, value_channels;
  int64_t window_height, window_width;
  bool masked, residual;
};

gpu::AttentionShape shape_of(const AttentionCase& of) {
  return {of.n,
          static_cast<int>(of.h),
          static_cast<int>(of.w),
          static_cast<int>(of.channels),
          static_cast<int>(of.value_channels),
          static_cast<int>(of.window_height),
          static_cast<int>(of.window_width),
          of.masked};
}

template <typename T>
void attention_case(const AttentionCase& of, bool tf32 = false) {
  using A = gpu::accumulator<T>;
  const double tolerance = tf32 ? kTolerance<gpu::Half> : kTolerance<T>;
  const std::string what = std::string(tf32 ? "TF32" : name_of<T>()) + ", " + std::to_string(of.channels) +
                           " channels, window " + std::to_string(of.window_height) + " x " +
                           std::to_string(of.window_width);
  const Window window{of.window_height, of.window_width};
  const Outside outside = of.masked ? Outside::Masked : Outside::Zero;
  constexpr double kScale = 0.7;
  const DeviceMap<T> query(reference::random_array(of.n, of.channels, of.h, of.w, 1, 0.5));
  const DeviceMap<T> key(reference::random_array(of.n, of.channels, of.h, of.w, 2, 0.5));
  const DeviceMap<T> value(reference::random_array(of.n, of.value_channels, of.h, of.w, 3));
  const DeviceMap<T> residual(reference::random_array(of.n, of.value_channels, of.h, of.w, 4));
  const DeviceMap<T> out(of.n, of.value_channels, of.h, of.w);
  const DeviceMap<A> logsumexp(of.n, 1, of.h, of.w);
  const T* added = of.residual ? residual.data() : nullptr;
  gpu::launch_attention<T>({shape_of(of), static_cast<A>(kScale), query.data(), key.data(), value.data(), added,
                            out.data(), of.residual ? nullptr : logsumexp.data(), tf32},
                           nullptr);
  const auto expected = reference::attention(query.read(), key.read(), value.read(), window, outside, kScale);
  expect_close("attention, " + what, out.read(),
               of.residual ? reference::sum(expected.out, residual.read()) : expected.out, tolerance);
  if (of.residual) return;
  expect_close("log of the sum, " + what, logsumexp.read(), expected.logsumexp,
               std::is_same_v<T, double> ? 1e-12
               : tf32                    ? tolerance
                                         : 1e-4);
  if (tf32) return;  // a matter of the forward alone

  const DeviceMap<T> grad(reference::random_array(of.n, of.value_channels, of.h, of.w, 5));
  const DeviceMap<A> delta(of.n, 1, of.h, of.w);
  const DeviceMap<T> grad_query(of.n, of.channels, of.h, of.w), grad_key(of.n, of.channels, of.h, of.w);
  const DeviceMap<T> grad_value(of.n, of.value_channels, of.h, of.w);
  gpu::launch_attention_backward<T>(
      {shape_of(of), static_cast<A>(kScale), grad.data(), query.data(), key.data(), value.data(), logsumexp.data(),
       delta.data(), grad_query.data(), grad_key.data(), grad_value.data()},
      nullptr);
  const auto gradients =
      reference::attention_backward(grad.read(), query.read(), key.read(), value.read(), window, outside, kScale);
  expect_close("gradient of the query, " + what, grad_query.read(), gradients.query, 2 * kTolerance<T>);
  expect_close("gradient of the key, " + what, grad_key.read(), gradients.key, 2 * kTolerance<T>);
  expect_close("gradient of the value, " + what, grad_value.read(), gradients.value, 2 * kTolerance<T>);
}

// A tile and a rest of one, several tiles, more images than one, one pixel; up to four chunks of channels, as buffers
// are used again from the third on.
const AttentionCase kCases[] = {{1, 9, 19, 64, 64, 7, 7, false, false},  {2, 5, 7, 32, 64, 3, 5, true, false},
                                {1, 18, 33, 64, 32, 5, 5, true, false},  {1, 6, 5, 72, 136, 9, 3, false, false},
                                {1, 1, 1, 16, 8, 3, 3, false, false},    {1, 10, 17, 64, 64, 7, 7, true, true},
                                {2, 7, 18, 128, 128, 7, 7, false, true}, {1, 9, 18, 136, 200, 3, 3, true, false},
                                {1, 5, 9, 24, 32, 5, 5, false, false},   {1, 9, 17, 40, 40, 9, 9, false, false},
                                {2, 3, 5, 16, 24, 9, 9, true, false}};

void tensor_cores() {
  for (const AttentionCase& each : kCases) {
    attention_case<gpu::Half>(each);
    attention_case<gpu::BFloat16>(each);
  }
}

void tf32() {
  for (const AttentionCase& each : kCases) attention_case<float>(each, true);
}

void other_types() {
  for (const AttentionCase& each : kCases) {
    if (each.channels == 128) continue;  // many channels are no other code here
    attention_case<float>(each);
    if (each.h * each.w <= 60) attention_case<double>(each);
  }
}

// Two blocks for all pixels, as in a launch of the largest grid: a warp goes on to other pixels.
void few_blocks() {
  using T = float;
  const AttentionCase of{1, 5, 7, 40, 8, 3, 5, false, false};
  const Window window{3, 5};
  const DeviceMap<T> query(reference::random_array(1, 40, 5, 7, 1, 0.5)), key(reference::random_array(1, 40, 5, 7, 2));
  const DeviceMap<T> value(reference::random_array(1, 8, 5, 7, 3)), grad(reference::random_array(1, 8, 5, 7, 4));
  const DeviceMap<T> out(1, 8, 5, 7), logsumexp(1, 1, 5, 7), delta(1, 1, 5, 7);
  const DeviceMap<T> grad_query(1, 40, 5, 7), grad_key(1, 40, 5, 7), grad_value(1, 8, 5, 7);
  const dim3 grid(2), block(32, gpu::AttentionTraits::Fallback::kWarps);
  const size_t bytes = sizeof(T) * gpu::AttentionTraits::Fallback::kWarps * 15;
  const gpu::AttentionParams<T> forward{shape_of(of), 1.0f,    query.data(), key.data(),
                                        value.data(), nullptr, out.data(),   logsumexp.data()};
  ARSEG_LAUNCH(gpu::fallback_forward<T>, grid, block, bytes, nullptr, forward);
  const gpu::AttentionBackwardParams<T> backward{
      shape_of(of),     1.0f,         grad.data(),       query.data(),    key.data(),       value.data(),
      logsumexp.data(), delta.data(), grad_query.data(), grad_key.data(), grad_value.data()};
  ARSEG_LAUNCH(gpu::fallback_backward_query<T>, grid, block, 2 * bytes, nullptr, backward);
  ARSEG_LAUNCH(gpu::fallback_backward_key<T>, grid, block, 2 * bytes, nullptr, backward);
  const auto expected = reference::attention(query.read(), key.read(), value.read(), window, Outside::Zero, 1);
  const auto gradients =
      reference::attention_backward(grad.read(), query.read(), key.read(), value.read(), window, Outside::Zero, 1);
  expect_close("attention of few blocks", out.read(), expected.out, kTolerance<T>);
  expect_close("gradient of the query of few blocks", grad_query.read(), gradients.query, kTolerance<T>);
  expect_close("gradient of the key of few blocks", grad_key.read(), gradients.key, kTolerance<T>);
  expect_close("gradient of the value of few blocks", grad_value.read(), gradients.value, kTolerance<T>);
}

const Registration kSixteenBits("local_attention", "16-bit types", &tensor_cores);
const Registration kTf32("local_attention", "TF32", &tf32);
const Registration kOtherTypes("local_attention", "float and double", &other_types);
const Registration kFewBlocks("local_attention", "few blocks", &few_blocks);

}  // namespace
}  // namespace standalone
