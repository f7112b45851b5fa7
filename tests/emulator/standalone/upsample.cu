#include "case.h"
#include "upsample/backward.cuh"

namespace standalone {
namespace {

// Rows, then columns, of a channels-last gradient; resizing each pixel of the input alone says what it gave to whom.
template <typename T>
void upsample_case(int64_t h, int64_t w, int64_t height, int64_t width, int64_t c = 3) {
  using A = gpu::accumulator<T>;
  const int64_t n = 2;
  const DeviceMap<T> grad(reference::random_array(n, c, height, width, 1));
  const DeviceMap<A> rows(n, c, h, width);
  const DeviceMap<T> out(n, c, h, w);
  gpu::launch_upsample_backward<A, T, A>({h, height}, {n, width * c}, grad.data(), rows.data(), nullptr);
  gpu::launch_upsample_backward<A, A, T>({w, width}, {n * h, c}, rows.data(), out.data(), nullptr);
  const Array values = grad.read();
  Array expected(n, c, h, w);
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      Array one(1, 1, h, w);
      one.at(0, 0, y, x) = 1;
      const Array shares = reference::resize(one, height, width);
      for (int64_t i = 0; i < n * c; ++i) {
        for (int64_t k = 0; k < height * width; ++k) {
          expected.at(i / c, i % c, y, x) +=
              shares.at(0, 0, k / width, k % width) * values.at(i / c, i % c, k / width, k % width);
        }
      }
    }
  }
  expect_close(std::string("gradient of upsampling, ") + name_of<T>(), out.read(), expected, 2 * kTolerance<T>);
}

template <typename T>
void upsampling_of() {
  upsample_case<T>(3, 5, 7, 10);
  upsample_case<T>(1, 4, 6, 1);
  upsample_case<T>(9, 8, 4, 3);
  upsample_case<T>(3, 5, 7, 10, 16);  // whole vectors of channels
}

void upsampling() {
  upsampling_of<float>();
  upsampling_of<double>();
  upsampling_of<gpu::Half>();
  upsampling_of<gpu::BFloat16>();
}

const Registration kUpsampling("upsample", "gradients of upsampling", &upsampling);

}  // namespace
}  // namespace standalone
