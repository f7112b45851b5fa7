// Types shared by the motion code: the codec's record, block fields, frames and their references, limits.
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
  int32_t source;  // < 0: the reference is in list 0 (the past), > 0: in list 1 (the future)
  uint8_t w, h;    // size of the block, pixels
  int16_t src_x, src_y;
  int16_t dst_x, dst_y;        // centre of the block in the current frame, before cropping
  uint64_t flags;              // FFmpeg leaves 0; 1 + position in the list where a decoder tells the reference
  int32_t motion_x, motion_y;  // current -> reference, in 1/motion_scale pixels
  uint16_t motion_scale;
};
static_assert(sizeof(Record) == 40, "AVMotionVector has 40 bytes");

// One cell: where its content was, reference = current + vector, in quarter pixels.
struct Vec {
  int16_t x, y;
};
static_assert(sizeof(Vec) == 4, "a field is int16 [rows, cols, 2]");

// A field and its mask, both [rows, cols].
struct ConstField {
  const Vec* vectors = nullptr;
  const uint8_t* valid = nullptr;
};
struct Field {
  Vec* vectors = nullptr;
  uint8_t* valid = nullptr;
};

// The brightness of a decoded frame, [height, width] samples of 1 or 2 bytes. Without data: not known.
struct Luma {
  const uint8_t* data = nullptr;
  int64_t pitch = 0;  // bytes from row to row
  int sample_bytes = 1;
};

// A decoded frame that vectors may point to.
struct Reference {
  enum class Reach {
    Key,      // it is the keyframe itself
    Field,    // `to_key` leads from it to the keyframe
    Nothing,  // no way from it to the keyframe
  };
  Reach reach = Reach::Nothing;
  ConstField to_key;
  Luma luma;
  int time = -1;  // when it is shown, from the current frame on, in any unit; not 0
};

// The frame that a field is made for.
struct Frame {
  int width = 0, height = 0;        // as delivered, pixels
  int crop_left = 0, crop_top = 0;  // cut off before: records count from the uncropped corner
  Luma luma;
};

inline int16_t saturate(int64_t value) {
  constexpr int64_t low = std::numeric_limits<int16_t>::min();
  constexpr int64_t high = std::numeric_limits<int16_t>::max();
  return static_cast<int16_t>(value < low ? low : value > high ? high : value);
}

// a / b for b > 0, to the nearest integer, halves away from zero.
inline int64_t divide_round(int64_t a, int64_t b) { return a >= 0 ? (a + b / 2) / b : -((-a + b / 2) / b); }

inline int64_t cells(int64_t side, int64_t block) { return (side + block - 1) / block; }

}  // namespace arseg::motion
