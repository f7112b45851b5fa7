// Motion vectors of HEVC, out of libde265. Optional: built where ARSEG_LIBDE265 names libde265's source tree.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../motion/field.h"

namespace arseg::hevc {

constexpr int kMaxThreads = 32;

struct Bytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// What one picture predicts from. Positions and sizes are in coded pixels, before the conformance window.
struct Picture {
  int64_t index = 0;  // of the packet that it came in
  int poc = 0;        // picture order count
  char kind = 'I';    // the strongest slice type present: I, P, B
  bool irap = false;
  bool idr = false;
  std::array<std::vector<int64_t>, 2> references;  // by list: packets of the pictures that the slices' lists hold
  std::vector<motion::Record> records;
  std::array<int, 4> crop{};  // left, top, right, bottom
  int width = 0, height = 0;  // after the crop
  std::string error;
  std::vector<uint8_t> luma;  // [height, width], after the crop; empty unless asked for
  int luma_bytes = 1;         // per sample
};

// One stream. Throws std::invalid_argument for what cannot be decoded; pictures before and after it still come.
class Vectors {
 public:
  // extradata: hvcC, Annex-B parameter sets, or nothing (then the packets are Annex-B and bring them).
  // luma: decode the samples too; the vectors do not need them.
  Vectors(Bytes extradata, int threads, bool luma);
  ~Vectors();

  // Extradata that takes the place of the former from the next packet on, where an encoder starts anew.
  void set_extradata(Bytes extradata);

  // A packet is one access unit. A picture is finished when the next one begins.
  void push(Bytes packet, int64_t index);
  void flush();
  std::vector<Picture> pull();

 private:
  class Decoder;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace arseg::hevc
