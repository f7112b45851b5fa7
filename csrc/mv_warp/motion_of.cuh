// A motion argument as the CUDA kernels take it.
#pragma once

#include <limits>
#include <vector>

#include "../common/door.cuh"
#include "sampling.cuh"

namespace arseg {

inline gpu::Motion motion_for(const char* op, const Tensor& motion, int64_t height, int64_t width, Grid grid) {
  check(height <= std::numeric_limits<int>::max() / 2 && width <= std::numeric_limits<int>::max() / 2, op,
        ": a map of ", height, " x ", width, " is too large for CUDA");
  gpu::Motion result;
  result.data = motion.const_data_ptr();
  for (int i = 0; i < 4; ++i) result.stride[i] = motion.stride(i);
  result.height = static_cast<int>(height);
  result.width = static_cast<int>(width);
  result.grid = grid;
  return result;
}

// A block field, for maps of the size of `map`.
inline gpu::Motion block_motion(const char* op, const Tensor& map, const Tensor& motion, int64_t block,
                                const std::vector<int64_t>& frame, Grid grid) {
  gpu::Motion result = motion_for(op, motion, map.size(2), map.size(3), grid);
  const BlockAxis vertical{map.size(2), frame[0], block, motion.size(1)};
  const BlockAxis horizontal{map.size(3), frame[1], block, motion.size(2)};
  for (const BlockAxis& axis : {vertical, horizontal}) {
    constexpr int64_t most = std::numeric_limits<uint32_t>::max();
    check(2 * axis.size * axis.frame <= most && 2 * axis.size * axis.block <= most, op, ": a map side of ", axis.size,
          " with a frame side of ", axis.frame, " is too large for CUDA");
  }
  if (map.size(2) * map.size(3) == 0) return result;  // no pixel will ask
  result.block_row = gpu::BlockIndex(vertical);
  result.block_column = gpu::BlockIndex(horizontal);
  result.y_scale = gpu::QuarterPel(vertical);
  result.x_scale = gpu::QuarterPel(horizontal);
  return result;
}

// A dense flow.
inline gpu::Motion dense_motion(const char* op, const Tensor& flow, Grid grid) {
  gpu::Motion result = motion_for(op, flow, flow.size(1), flow.size(2), grid);
  result.dense = true;
  result.element = element_of(flow);
  return result;
}

}  // namespace arseg
