// H.264 parameter sets and slice headers (ITU-T H.264, clauses 7.3 and 7.4), as far as reference pictures, order and
// size depend on them. No slice data.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "h264_bits.h"

namespace arseg::motion::h264 {

constexpr int kMaxSize = 16384;     // luma pixels a side
constexpr int kMaxReferences = 16;  // frames
constexpr int kMaxOperations = 66;  // list modifications of a list, or marking operations of a picture

enum NalType { kSlice = 1, kPartitionA = 2, kIdrSlice = 5, kSei = 6, kSps = 7, kPps = 8 };

// Sequence parameter set, 7.3.2.1.1.
struct Sps {
  int id = 0;
  int chroma_format_idc = 1;
  bool separate_planes = false;
  int log2_max_frame_num = 4;
  int poc_type = 0;
  int log2_max_poc_lsb = 4;
  bool delta_poc_always_zero = false;
  int32_t offset_for_non_ref_pic = 0;
  int32_t offset_for_top_to_bottom = 0;
  std::vector<int32_t> offset_for_ref_frame;  // at most 255
  int max_num_ref_frames = 0;
  bool gaps_allowed = false;
  bool frame_mbs_only = true;
  bool mb_adaptive_frame_field = false;
  int width = 0, height = 0;                                         // of the coded frame, luma pixels
  int crop_left = 0, crop_top = 0, crop_right = 0, crop_bottom = 0;  // luma pixels
  bool reorders = true;  // pictures may be shown in another order than they are coded in
  std::vector<uint8_t> nal;

  int chroma_array_type() const { return separate_planes ? 0 : chroma_format_idc; }
  int max_frame_num() const { return 1 << log2_max_frame_num; }
};

// Picture parameter set, 7.3.2.2, up to redundant_pic_cnt_present_flag.
struct Pps {
  int id = 0;
  int sps_id = 0;
  bool bottom_field_poc_present = false;
  int num_ref_idx_default[2] = {1, 1};
  bool weighted_pred = false;
  int weighted_bipred_idc = 0;
  bool redundant_pic_cnt_present = false;
};

// Parameter sets by id; a set in use stays alive while a new one takes its place.
struct ParameterSets {
  std::array<std::shared_ptr<const Sps>, 32> sps;
  std::array<std::shared_ptr<const Pps>, 256> pps;
};

enum class SliceKind { kP, kB, kI };  // SP counts as P, SI as I

// modification_of_pic_nums_idc 0, 1 or 2 and its value
struct Modification {
  int idc;
  uint32_t value;
};

// memory_management_control_operation 1..6 and its values
struct Marking {
  int operation;
  uint32_t difference_of_pic_nums_minus1;  // 1, 3
  int long_term;  // 2: long_term_pic_num, 3, 6: long_term_frame_idx, 4: max_long_term_frame_idx_plus1
};

// Slice header, 7.3.3, up to dec_ref_pic_marking.
struct SliceHeader {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  bool idr = false;
  bool reference = false;  // nal_ref_idc > 0
  SliceKind kind = SliceKind::kI;
  int frame_num = 0;
  bool field = false;
  bool bottom_field = false;
  int poc_lsb = 0;
  int32_t delta_poc_bottom = 0;
  int32_t delta_poc[2] = {0, 0};
  bool redundant = false;
  int num_ref_idx[2] = {0, 0};  // entries of list 0 and 1, after the override
  std::vector<Modification> modifications[2];
  bool weighted = false;             // P: a table is present, B: weighted_bipred_idc is not 0
  bool long_term_reference = false;  // IDR
  bool adaptive_marking = false;
  std::vector<Marking> markings;

  bool resets() const;  // memory_management_control_operation 5
};

// Each returns "" or why the unit cannot be used; what it came into is then unchanged, or for the slice undefined.
std::string read_sps(Nal nal, ParameterSets& sets);
std::string read_pps(Nal nal, ParameterSets& sets);
std::string read_slice_header(Nal nal, const ParameterSets& sets, SliceHeader& header);

// recovery_frame_cnt of a recovery point message (D.1.8), -1 where the SEI unit has none.
int read_recovery_point(Nal nal);

}  // namespace arseg::motion::h264
