// The gradient of the flow, on CUDA.
#pragma once

#include "forward.cuh"

namespace arseg::gpu {

template <typename T, typename F>
__global__ void __launch_bounds__(WarpTraits::kThreads) flow_gradient(FlowGradientParams<T, F> a) {
  using A = accumulator<T>;
  const int width = a.motion.width;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    const bool inside = x < width;  // all threads of a warp take part in the shuffles
    A along_x = A(0), along_y = A(0);
    const int64_t pixel = n * plane + static_cast<int64_t>(y) * width + x;
    if (inside) {
      const auto taps = taps_of<A>(a.motion, n, y, x);
      const T* image = a.feature + (a.one_feature ? 0 : n) * plane * a.channels;
      for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < a.channels;
           c += static_cast<int>(blockDim.x) * kVector<T>) {
        A grad[kVector<T>], values[4][kVector<T>];
        load_vector(a.grad + pixel * a.channels + c, grad);
        ARSEG_UNROLL
        for (int i = 0; i < 4; ++i) {
          // Not only the taps that are used: a value of weight 0 may have a slope.
          if (taps.inside(i)) {
            load_vector(image + taps.pixel(i, width) * a.channels + c, values[i]);
          } else {
            ARSEG_UNROLL
            for (int e = 0; e < kVector<T>; ++e) values[i][e] = A(0);
          }
        }
        const A fx = taps.x_fraction, fy = taps.y_fraction;
        ARSEG_UNROLL
        for (int e = 0; e < kVector<T>; ++e) {
          along_x += grad[e] * ((values[1][e] - values[0][e]) * (A(1) - fy) + (values[3][e] - values[2][e]) * fy);
          along_y += grad[e] * ((values[2][e] - values[0][e]) * (A(1) - fx) + (values[3][e] - values[1][e]) * fx);
        }
      }
    }
    for (int step = static_cast<int>(blockDim.x) / 2; step > 0; step /= 2) {
      along_x += __shfl_xor_sync(kAllLanes, along_x, step);
      along_y += __shfl_xor_sync(kAllLanes, along_y, step);
    }
    if (inside && threadIdx.x == 0) {
      a.out[2 * pixel] = from_accumulator<F>(along_x * sample_slope<A>(width, a.motion.grid));
      a.out[2 * pixel + 1] = from_accumulator<F>(along_y * sample_slope<A>(a.motion.height, a.motion.grid));
    }
  });
}

template <typename T, typename F>
void launch_flow_gradient(const FlowGradientParams<T, F>& a, void* stream) {
  const PixelGrid g = pixel_grid<T>(a.batch, a.motion.height, a.motion.width, a.channels);
  const auto kernel = flow_gradient<T, F>;
  ARSEG_LAUNCH(kernel, g.grid, g.block, 0, stream, a);
}

}  // namespace arseg::gpu
