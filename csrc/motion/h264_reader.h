// H.264 packets -> what each picture is and which earlier packets its motion vectors may point to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "h264_references.h"

namespace arseg::motion::h264 {

constexpr int kMaxSlices = 16384;  // read of a picture

// One packet. Everything but index, sequence and started keeps its default where there is no readable picture.
struct Picture {
  int64_t index = 0;  // number of the packet
  std::string kind;   // "I", "P", "B", or "" where there is no picture
  bool idr = false;
  int recovery = -1;  // recovery_frame_cnt
  bool reference = false;
  int frame_num = 0;
  int64_t poc = 0;
  int64_t sequence = 0;               // (sequence, poc) is the order of output
  std::vector<int64_t> past, future;  // packets in list 0 and 1, over all slices, without repeats
  int entries = 0;                    // largest num_ref_idx_l0_active
  bool weighted = false;
  int gap = 0;           // reference frames lost before this picture
  bool started = false;  // an IDR or I picture has come
  bool interlaced = false;
  bool changed = false;   // its SPS says other things than that of the picture before
  bool reorders = false;  // pictures of its sequence may be shown in another order than they are coded in
  int crop_left = 0, crop_top = 0, crop_right = 0, crop_bottom = 0;
  int width = 0, height = 0;  // after cropping
  int references = 0;         // max_num_ref_frames
  int slices = 0;
  std::string error;
};

// Reads packets in decoding order. Takes any bytes: what is damaged shows in `error`, and the next packet is read.
class Reader {
 public:
  // An avcC box (ISO 14496-15), parameter sets behind start codes, or nothing.
  Reader(const uint8_t* extradata, size_t size) { set_extradata(extradata, size); }

  // Extradata that takes the place of the former from the next packet on, as containers send it where an encoder starts
  // anew. Parameter sets that it does not have stay.
  void set_extradata(const uint8_t* extradata, size_t size);

  Picture push(const uint8_t* packet, size_t size);

  // Why the extradata cannot be used, "" where it can.
  const std::string& extradata_error() const { return extradata_error_; }

  const References& references() const { return references_; }

 private:
  void read_avcc(const uint8_t* data, size_t size);
  std::string read_parameter_set(Nal nal);
  void add_slice(Nal nal, Picture& picture);

  ParameterSets sets_;
  References references_;
  std::shared_ptr<const Sps> last_sps_;  // of the last picture
  SliceHeader header_;                   // of the slice last read; kept for its storage
  int length_size_ = 0;                  // bytes before each NAL unit, 0: start codes
  std::string extradata_error_;
  int64_t pushed_ = 0;
  bool started_ = false;
};

}  // namespace arseg::motion::h264
