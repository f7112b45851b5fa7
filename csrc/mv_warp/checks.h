#pragma once

#include <array>
#include <string>
#include <vector>

#include "../common/base.h"
#include "../common/checks.h"
#include "params.h"

namespace arseg {

inline Grid parse_grid(const char* op, const std::string& grid) {
  const bool known = grid == "aligned" || grid == "legacy";
  if (!known) require<Message::choice>(false, op, "grid", "aligned", "legacy", "'" + grid + "'");
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
  constexpr auto int16 = torch::headeronly::ScalarType::Short;
  check_same_device(op, "motion", motion, map_name, map);
  require<Message::dtype>(motion.scalar_type() == int16, op, "motion", int16, motion.scalar_type());
  require<Message::shape>(motion.dim() == 4 && motion.size(3) == 2, op, "motion", "[N, Hb, Wb, 2]", motion);
  require<Message::batch>(motion.size(0) == map.size(0), op, "motion", map_name, map.size(0), motion.size(0));
  require<Message::block>(block == 4 || block == 8 || block == 16, op, block);
  require<Message::frame_size>(frame.size() == 2 && frame[0] > 0 && frame[1] > 0, op, frame);
  using Sides = std::array<int64_t, 2>;
  const Sides blocks = {motion.size(1), motion.size(2)};
  const Sides exact = {ceil_div(frame[0], block), ceil_div(frame[1], block)};
  const int64_t in_macroblock = kMacroblock / block;
  const Sides padded = {ceil_div(frame[0], kMacroblock) * in_macroblock,
                        ceil_div(frame[1], kMacroblock) * in_macroblock};
  require<Message::blocks>(blocks == exact || blocks == padded, op, exact, block, frame, padded, kMacroblock, blocks);
}

// flow: floating [N, H, W, 2]
inline void check_flow(const char* op, const char* map_name, const torch::stable::Tensor& map,
                       const torch::stable::Tensor& flow) {
  check_same_device(op, "flow", flow, map_name, map);
  check_floating(op, "flow", flow);
  check_shape(op, "flow", flow, {map.size(0), map.size(2), map.size(3), 2});
}

}  // namespace arseg
