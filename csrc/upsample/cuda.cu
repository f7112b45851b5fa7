#include <vector>

#include "../common/torch_utils.cuh"
#include "backward.cuh"
#include "checks.h"

namespace arseg {
namespace {

Tensor upsample_backward(const Tensor& grad, std::vector<int64_t> size) {
  check_upsample_backward(grad, size);
  const DeviceGuard device(grad);
  UpsampleBackward of(grad, size);
  dispatch_device(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = gpu::accumulator<T>;
    A* rows = mutable_data_of<A>(of.rows);
    gpu::launch_upsample_backward<A, T, A>({size[0], grad.size(2)}, of.along_y, data_of<T>(of.grad), rows,
                                           device.stream());
    gpu::launch_upsample_backward<A, A, T>({size[1], grad.size(3)}, of.along_x, rows, mutable_data_of<T>(of.out),
                                           device.stream());
  });
  return of.out;
}

}  // namespace

ARSEG_CUDA_LIBRARY(m) { m.impl("_upsample_backward", TORCH_BOX(&upsample_backward)); }

}  // namespace arseg
