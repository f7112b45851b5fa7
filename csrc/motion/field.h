// Types shared by the motion code: the codec's record, the cell of a block field, limits.
#pragma once

#include <cstdint>
#include <limits>

namespace arseg::motion {

// Video pixels per cell while vectors are drawn and chained. The smallest H.264 partition is 4x4.
constexpr int kCell = 4;

// Largest width or height taken: a record keeps its position in 16 bits.
constexpr int kMaxSide = 32767;

// FFmpeg's AVMotionVector (libavutil/motion_vector.h), byte for byte.
struct Record {
  int32_t source;  // < 0: the reference is in the past, > 0: in the future
  uint8_t w, h;    // size of the block, pixels
  int16_t src_x, src_y;
  int16_t dst_x, dst_y;  // centre of the block in the current frame
  uint64_t flags;
  int32_t motion_x, motion_y;  // current -> reference, in 1/motion_scale pixels
  uint16_t motion_scale;
};
static_assert(sizeof(Record) == 40, "AVMotionVector has 40 bytes");

// One cell: where its content was, reference = current + vector, in quarter pixels.
struct Vec {
  int16_t x, y;
};
static_assert(sizeof(Vec) == 4, "a field is int16 [rows, cols, 2]");

inline int16_t saturate(int64_t value) {
  constexpr int64_t low = std::numeric_limits<int16_t>::min();
  constexpr int64_t high = std::numeric_limits<int16_t>::max();
  return static_cast<int16_t>(value < low ? low : value > high ? high : value);
}

// a / b for b > 0, to the nearest integer, halves away from zero.
inline int64_t divide_round(int64_t a, int64_t b) { return a >= 0 ? (a + b / 2) / b : -((-a + b / 2) / b); }

inline int64_t cells(int64_t side, int64_t block) { return (side + block - 1) / block; }

}  // namespace arseg::motion
