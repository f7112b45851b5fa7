#pragma once

#include <vector>

#include "../cpu/parallel.h"
#include "../cpu/tensors.h"
#include "math.h"
#include "params.h"

namespace arseg {

// A motion argument as the kernels take it; owns the tables of blocks, so it must outlive what uses field().
class MotionOf {
 public:
  // A block field for feature maps of the size of `feature`.
  MotionOf(const Tensor& feature, const Tensor& motion, int64_t block, const std::vector<int64_t>& frame, Grid grid) {
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
    field_.block_row = rows_.data();
    field_.block_column = columns_.data();
    if (!rows_.empty()) field_.y_scale = quarter_pel<double>(vertical);
    if (!columns_.empty()) field_.x_scale = quarter_pel<double>(horizontal);
  }

  // A dense flow.
  MotionOf(const Tensor& flow, Grid grid) { set(flow, grid); }

  MotionOf(const MotionOf&) = delete;
  MotionOf& operator=(const MotionOf&) = delete;

  const MotionField& field() const { return field_; }

 private:
  void set(const Tensor& motion, Grid grid) {
    field_.data = motion.const_data_ptr();
    field_.element = element_of(motion);
    for (int i = 0; i < 4; ++i) field_.stride[i] = motion.stride(i);
    field_.grid = grid;
  }

  MotionField field_;
  std::vector<int32_t> rows_, columns_;
};

}  // namespace arseg
