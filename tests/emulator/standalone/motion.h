// Motion for the kernels that warp.
#pragma once

#include "case.h"
#include "mv_warp/sampling.cuh"

namespace standalone {

struct Size {
  int64_t n, c, h, w;
};

inline gpu::MotionParams make_motion_params(const reference::Motion& from, const Size& size, bool dense,
                                            Element element) {
  gpu::MotionParams motion;
  motion.data = from.field.data;
  motion.dense = dense;
  motion.element = element;
  std::copy(from.field.stride, from.field.stride + 4, motion.stride);
  const arseg::BlockAxis vertical{size.h, 8 * size.h, 16, (8 * size.h + 15) / 16};
  const arseg::BlockAxis horizontal{size.w, 8 * size.w, 16, (8 * size.w + 15) / 16};
  motion.block_row = gpu::BlockIndex(vertical);
  motion.block_column = gpu::BlockIndex(horizontal);
  motion.y_scale = {arseg::quarter_pel<double>(vertical), arseg::quarter_pel<float>(vertical)};
  motion.x_scale = {arseg::quarter_pel<double>(horizontal), arseg::quarter_pel<float>(horizontal)};
  motion.height = static_cast<int>(size.h);
  motion.width = static_cast<int>(size.w);
  motion.grid = from.field.grid;
  return motion;
}

inline reference::Motion random_motion(const Size& size, bool dense, arseg::Grid grid, Element element) {
  return dense ? reference::dense_motion(size.n, size.h, size.w, grid, 3, element, Layout::Odd)
               : reference::block_motion(size.n, size.h, size.w, grid, 4);
}

// Rounds dense motion of floats to whole pixels.
inline void make_whole(reference::Motion& motion) {
  Array& moved = motion.displacement;
  const int64_t* stride = motion.field.stride;
  auto* vectors = static_cast<float*>(const_cast<void*>(motion.field.data));
  for (int64_t i = 0; i < static_cast<int64_t>(moved.values.size()); ++i) {
    const int64_t x = i % moved.w, y = i / moved.w % moved.h, axis = i / moved.w / moved.h % 2,
                  n = i / moved.w / moved.h / 2;
    double& value = moved.at(n, axis, y, x);
    value = std::round(value);
    vectors[n * stride[0] + y * stride[1] + x * stride[2] + axis * stride[3]] = static_cast<float>(value);
  }
}

}  // namespace standalone
