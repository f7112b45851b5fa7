// Which decoded pictures an H.264 picture may refer to: order count, marking and list construction (ITU-T H.264,
// clauses 8.2.1, 8.2.4 and 8.2.5). Frames only: fields are counted and ordered, but get no lists.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "h264_syntax.h"

namespace arseg::motion::h264 {

// A frame marked as "used for reference".
struct Reference {
  int64_t index;  // who it is, as given to begin(); -1 for a "non-existing" frame that fills a gap in frame_num
  int frame_num;
  int64_t pic_num;  // FrameNumWrap, which is PicNum for frames; as of the current picture (8.2.4.1)
  int64_t poc;
  bool long_term;
  int long_term_idx;  // LongTermFrameIdx, which is LongTermPicNum for frames
};

// Entries of a list; nullptr where there is no reference picture.
using ReferenceList = std::vector<const Reference*>;

// Reference pictures of a stream, picture by picture: begin() with the first slice, lists() for each slice, end().
class References {
 public:
  // Starts the picture `index`: fills a gap in frame_num, finds the order count.
  void begin(const SliceHeader& header, int64_t index);

  // Takes in a slice of the other field of the current picture.
  void join_field(const SliceHeader& header);

  // List 0 and 1 of a slice of the current picture; empty for fields. Good until end().
  void lists(const SliceHeader& header, ReferenceList (&out)[2]) const;

  // Ends the picture: decides what stays for reference.
  void end();

  int64_t poc() const { return poc_; }            // of the current or last picture; after operation 5 if it has one
  int64_t sequence() const { return sequence_; }  // counts IDR pictures and operations 5
  int gap() const { return gap_; }                // reference frames missing before the picture, by frame_num
  const std::vector<Reference>& marked() const { return frames_; }

 private:
  struct OrderCount {
    int64_t top, bottom;
  };

  bool pairs_with_previous(const SliceHeader& header) const;
  void fill_gap(const Sps& sps, int frame_num);
  OrderCount order_count(const SliceHeader& header);
  OrderCount order_count_from_frame_num(const Sps& sps, const SliceHeader& header);
  void number(const Sps& sps, int frame_num);
  void make_room(const Sps& sps);
  void mark_adaptively(const SliceHeader& header);
  void remove_short_term(int64_t pic_num);
  void remove_long_term(int idx);
  ReferenceList initial_p() const;
  void initial_b(ReferenceList (&out)[2]) const;
  void modify(const std::vector<Modification>& modifications, ReferenceList& list) const;

  std::vector<Reference> frames_;  // at most kMaxReferences
  SliceHeader current_;            // first slice of the current or last picture
  int64_t index_ = -1;
  int64_t sequence_ = 0;
  int64_t poc_ = 0;          // as others see it
  int64_t list_poc_ = 0;     // as the lists of the current picture use it: before operation 5
  OrderCount fields_{0, 0};  // before operation 5
  int gap_ = 0;
  bool second_field_ = false;  // the current picture is the second field of the one before
  bool lone_field_ = false;    // the last picture was a first field

  bool begun_ = false;  // a picture has been seen: what follows is known
  int previous_reference_frame_num_ = 0;
  int previous_frame_num_ = 0;
  int64_t previous_frame_num_offset_ = 0, frame_num_offset_ = 0;
  int64_t previous_poc_msb_ = 0, poc_msb_ = 0;
  int64_t previous_poc_lsb_ = 0;
};

}  // namespace arseg::motion::h264
