#include "tensors.h"

#include "capability.h"
#include "parallel.h"

namespace arseg {

Tensor contiguous_channels_last(const Tensor& map) {
  if (map.stride(1) == 1 || map.size(1) == 1) return map;
  if (is_one_image(map)) {
    const Tensor copy = contiguous_channels_last(first_image(map));
    return view(copy, {map.size(0), map.size(1), map.size(2), map.size(3)},
                {0, copy.stride(1), copy.stride(2), copy.stride(3)});
  }
  Tensor copy = empty(map, {map.size(0), map.size(1), map.size(2), map.size(3)}, map.scalar_type(), true);
  const CopyParams params{map_of(map), map_of(copy)};
  const CpuKernels& kernels = cpu_kernels();
  for_each_task(map.size(0) * map.size(2), kernels.copy_scratch(params),
                [&](int64_t row, void* scratch) { kernels.copy(params, row, row + 1, scratch); });
  return copy;
}

}  // namespace arseg
