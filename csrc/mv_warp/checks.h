#pragma once

#include <string>
#include <vector>

#include "../common/checks.h"
#include "../common/indexing.h"
#include "params.h"

namespace arseg {

inline Grid parse_grid(const char* op, const std::string& grid) {
  check(grid == "aligned" || grid == "legacy", op, ": grid must be 'aligned' or 'legacy', got '", grid, "'");
  return grid == "legacy" ? Grid::Legacy : Grid::Aligned;
}

inline void check_map(const char* op, const char* name, const torch::stable::Tensor& map) {
  check_dims(op, name, map, 4, "[N, C, H, W]");
  check_floating(op, name, map);
}

// Side of a macroblock: what codecs pad a frame to whole ones of.
inline constexpr int64_t kMacroblock = 16;

// motion: int16 [N, Hb, Wb, 2], a vector for each block of the frame, or of the frame padded to whole macroblocks.
inline void check_motion(const char* op, const char* map_name, const torch::stable::Tensor& map,
                         const torch::stable::Tensor& motion, int64_t block, const std::vector<int64_t>& frame) {
  check(motion.scalar_type() == torch::headeronly::ScalarType::Short, op, ": motion must be int16, got ",
        dtype_name(motion.scalar_type()));
  check(motion.dim() == 4 && motion.size(3) == 2, op, ": motion must have shape [N, Hb, Wb, 2], got ",
        shape_text(motion));
  check(motion.size(0) == map.size(0), op, ": motion must have the batch size of ", map_name, ", ", map.size(0),
        ", got ", motion.size(0));
  check(block == 4 || block == 8 || block == 16, op, ": block must be 4, 8 or 16, got ", block);
  check(frame.size() == 2 && frame[0] > 0 && frame[1] > 0, op,
        ": frame_size must be (height, width) in video pixels, both positive, got ", list_text(frame));
  const std::vector<int64_t> blocks = {motion.size(1), motion.size(2)};
  const std::vector<int64_t> exact = {ceil_div(frame[0], block), ceil_div(frame[1], block)};
  const int64_t in_macroblock = kMacroblock / block;
  const std::vector<int64_t> padded = {ceil_div(frame[0], kMacroblock) * in_macroblock,
                                       ceil_div(frame[1], kMacroblock) * in_macroblock};
  check(blocks == exact || blocks == padded, op, ": motion must have ", list_text(exact), " blocks of ", block,
        " pixels for frame_size ", list_text(frame), ", or ", list_text(padded),
        " where the frame is padded to whole macroblocks of ", kMacroblock, ", got ", list_text(blocks));
}

// flow: floating [N, H, W, 2]
inline void check_flow(const char* op, const torch::stable::Tensor& map, const torch::stable::Tensor& flow) {
  check_floating(op, "flow", flow);
  check_shape(op, "flow", flow, {map.size(0), map.size(2), map.size(3), 2});
}

}  // namespace arseg
