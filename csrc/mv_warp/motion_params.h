// From a motion argument to what the kernels take: make_motion_params, for the CPU and for CUDA.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "../common/checks.h"
#include "../cpu/tensors.h"
#include "math.h"
#include "params.h"

namespace arseg {

// A motion argument as the CPU kernels take it, and the tables of blocks that it points to: it must outlive its
// params().
class OwnedMotionParams {
 public:
  // A block field for feature maps of the size of `feature`.
  OwnedMotionParams(const Tensor& feature, const Tensor& motion, int64_t block, const std::vector<int64_t>& frame,
                    Grid grid) {
    const BlockAxis vertical{feature.size(2), frame[0], block, motion.size(1)};
    const BlockAxis horizontal{feature.size(3), frame[1], block, motion.size(2)};
    rows_.resize(feature.size(2));
    columns_.resize(feature.size(3));
    for (size_t y = 0; y < rows_.size(); ++y) {
      rows_[y] = static_cast<int32_t>(block_of(static_cast<int64_t>(y), vertical));
    }
    for (size_t x = 0; x < columns_.size(); ++x) {
      columns_[x] = static_cast<int32_t>(block_of(static_cast<int64_t>(x), horizontal));
    }
    set(motion, grid);
    params_.block_row = rows_.data();
    params_.block_column = columns_.data();
    if (!rows_.empty()) params_.y_scale = quarter_pel<double>(vertical);
    if (!columns_.empty()) params_.x_scale = quarter_pel<double>(horizontal);
  }

  // A dense flow.
  OwnedMotionParams(const Tensor& flow, Grid grid) { set(flow, grid); }

  OwnedMotionParams(const OwnedMotionParams&) = delete;
  OwnedMotionParams& operator=(const OwnedMotionParams&) = delete;

  const MotionParams& params() const { return params_; }

 private:
  void set(const Tensor& motion, Grid grid) {
    params_.data = motion.const_data_ptr();
    params_.element = element_of(motion);
    for (int i = 0; i < 4; ++i) params_.stride[i] = motion.stride(i);
    params_.grid = grid;
  }

  MotionParams params_;
  std::vector<int32_t> rows_, columns_;
};

namespace gpu {

inline MotionParams with_motion(const char* op, const Tensor& motion, int64_t height, int64_t width, Grid grid) {
  check(height <= std::numeric_limits<int>::max() / 2 && width <= std::numeric_limits<int>::max() / 2, op,
        ": a map of ", height, " x ", width, " is too large for CUDA");
  MotionParams result;
  result.data = motion.const_data_ptr();
  for (int i = 0; i < 4; ++i) result.stride[i] = motion.stride(i);
  result.height = static_cast<int>(height);
  result.width = static_cast<int>(width);
  result.grid = grid;
  return result;
}

// A block field, for maps of the size of `map`.
inline MotionParams make_motion_params(const char* op, const Tensor& map, const Tensor& motion, int64_t block,
                                       const std::vector<int64_t>& frame, Grid grid) {
  MotionParams result = with_motion(op, motion, map.size(2), map.size(3), grid);
  const BlockAxis vertical{map.size(2), frame[0], block, motion.size(1)};
  const BlockAxis horizontal{map.size(3), frame[1], block, motion.size(2)};
  for (const BlockAxis& axis : {vertical, horizontal}) {
    constexpr int64_t most = std::numeric_limits<uint32_t>::max();
    check(2 * axis.size * axis.frame <= most && 2 * axis.size * axis.block <= most, op, ": a map side of ", axis.size,
          " with a frame side of ", axis.frame, " is too large for CUDA");
  }
  if (map.size(2) * map.size(3) == 0) return result;  // no pixel will ask
  result.block_row = BlockIndex(vertical);
  result.block_column = BlockIndex(horizontal);
  result.y_scale = {quarter_pel<double>(vertical), quarter_pel<float>(vertical)};
  result.x_scale = {quarter_pel<double>(horizontal), quarter_pel<float>(horizontal)};
  return result;
}

// A dense flow.
inline MotionParams make_motion_params(const char* op, const Tensor& flow, Grid grid) {
  MotionParams result = with_motion(op, flow, flow.size(1), flow.size(2), grid);
  result.dense = true;
  result.element = element_of(flow);
  return result;
}

}  // namespace gpu
}  // namespace arseg
