#pragma once

#include <vector>

#include "../common/checks.h"
#include "../cpu/tensors.h"
#include "params.h"

namespace arseg {

// grad: [N, C, H, W]; size: (h, w) of what was upsampled.
inline void check_upsample_backward(const torch::stable::Tensor& grad, const std::vector<int64_t>& size) {
  constexpr const char* op = "_upsample_backward";
  check_dims(op, "grad", grad, 4, "[N, C, H, W]");
  check_floating(op, "grad", grad);
  require<Message::positive_size>(size.size() == 2 && size[0] > 0 && size[1] > 0, op, size);
}

// Two passes, rows then columns, each over an array of [outer, axis, inner] in memory.
struct UpsampleBackward {
  Tensor grad, rows, out;  // [N, C, H, W], [N, C, h, W] of accumulators, [N, C, h, w], all dense and of one format
  UpsampleShape along_y, along_x;

  UpsampleBackward(const Tensor& from, const std::vector<int64_t>& size) {
    using torch::headeronly::MemoryFormat;
    const bool last = is_channels_last(from);
    const int64_t n = from.size(0), c = from.size(1), width = from.size(3);
    grad = torch::stable::contiguous(from, last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
    rows = empty(from, {n, c, size[0], width}, accumulator_dtype(from.scalar_type()), last);
    out = empty_map(from, {n, c, size[0], size[1]});
    along_y = last ? UpsampleShape{n, width * c} : UpsampleShape{n * c, width};
    along_x = last ? UpsampleShape{n * size[0], c} : UpsampleShape{n * c * size[0], 1};
  }
};

}  // namespace arseg
