#include "h264_references.h"

#include <algorithm>
#include <utility>

namespace arseg::motion::h264 {
namespace {

// Order counts are 32-bit numbers; a damaged stream must not make them overflow further on.
int64_t wrap32(uint64_t value) { return static_cast<int32_t>(static_cast<uint32_t>(value)); }

int64_t sum32(int64_t a, int64_t b) { return wrap32(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }

bool by_pic_num_down(const Reference* a, const Reference* b) { return a->pic_num > b->pic_num; }
bool by_poc_up(const Reference* a, const Reference* b) { return a->poc < b->poc; }
bool by_poc_down(const Reference* a, const Reference* b) { return a->poc > b->poc; }
bool by_long_term_idx(const Reference* a, const Reference* b) { return a->long_term_idx < b->long_term_idx; }

size_t capacity(const Sps& sps) { return static_cast<size_t>(std::max(sps.max_num_ref_frames, 1)); }

}  // namespace

bool References::pairs_with_previous(const SliceHeader& header) const {
  return lone_field_ && header.field && header.bottom_field != current_.bottom_field && !header.idr &&
         header.frame_num == current_.frame_num && (header.reference == current_.reference || current_.reference);
}

void References::begin(const SliceHeader& header, int64_t index) {
  const Sps& sps = *header.sps;
  gap_ = 0;
  second_field_ = pairs_with_previous(header);
  if (second_field_) {
    current_ = header;
    index_ = index;
    const OrderCount count = order_count(header);
    poc_ = header.bottom_field ? count.bottom : count.top;
    return;
  }
  const bool resized = begun_ && (current_.sps->width != sps.width || current_.sps->height != sps.height);
  if (header.idr || resized) {
    frames_.clear();
  }
  if (header.idr) {
    previous_frame_num_ = previous_reference_frame_num_ = 0;
    previous_frame_num_offset_ = previous_poc_msb_ = previous_poc_lsb_ = 0;
  } else if (begun_) {
    fill_gap(sps, header.frame_num);
  }
  begun_ = true;
  current_ = header;
  index_ = index;
  number(sps, header.frame_num);
  fields_ = order_count(header);
  list_poc_ = !header.field         ? std::min(fields_.top, fields_.bottom)
              : header.bottom_field ? fields_.bottom
                                    : fields_.top;
  const bool resets = header.reference && header.resets();
  sequence_ += header.idr || resets ? 1 : 0;
  poc_ = resets ? 0 : list_poc_;
}

void References::join_field(const SliceHeader& header) {
  const OrderCount count = order_count(header);
  const int64_t other = header.bottom_field ? count.bottom : count.top;
  if (!current_.resets()) {
    poc_ = std::min(list_poc_, other);
  }
}

// 8.2.5.2. A decoder fills a gap made by a loss in the same way, so that the entries of the lists keep their places.
void References::fill_gap(const Sps& sps, int frame_num) {
  const int modulus = sps.max_frame_num();
  const int previous = previous_reference_frame_num_ & (modulus - 1);
  if (frame_num == previous || frame_num == ((previous + 1) & (modulus - 1))) {
    return;
  }
  const int missing = (frame_num - previous - 1) & (modulus - 1);
  gap_ = missing;
  for (int ahead = std::min(missing, sps.max_num_ref_frames); ahead > 0; --ahead) {
    const int missed = (frame_num - ahead) & (modulus - 1);
    number(sps, missed);
    SliceHeader header;
    header.reference = true;
    header.frame_num = missed;
    int64_t poc = 0;
    if (sps.poc_type != 0) {
      const OrderCount count = order_count_from_frame_num(sps, header);
      poc = std::min(count.top, count.bottom);
    }
    make_room(sps);
    frames_.push_back({-1, missed, missed, poc, false, 0});
    previous_frame_num_ = missed;
    previous_frame_num_offset_ = frame_num_offset_;
  }
  previous_reference_frame_num_ = (frame_num - 1) & (modulus - 1);
}

References::OrderCount References::order_count(const SliceHeader& header) {
  const Sps& sps = *header.sps;
  if (sps.poc_type != 0) {
    return order_count_from_frame_num(sps, header);
  }
  // 8.2.1.1
  const int64_t modulus = int64_t{1} << sps.log2_max_poc_lsb;
  const int64_t lsb = header.poc_lsb;
  poc_msb_ = previous_poc_msb_;
  if (lsb < previous_poc_lsb_ && previous_poc_lsb_ - lsb >= modulus / 2) {
    poc_msb_ += modulus;
  } else if (lsb > previous_poc_lsb_ && lsb - previous_poc_lsb_ > modulus / 2) {
    poc_msb_ -= modulus;
  }
  const int64_t count = sum32(poc_msb_, lsb);
  return {count, header.field ? count : sum32(count, header.delta_poc_bottom)};
}

// 8.2.1.2 and 8.2.1.3
References::OrderCount References::order_count_from_frame_num(const Sps& sps, const SliceHeader& header) {
  frame_num_offset_ = previous_frame_num_offset_;
  if (header.idr) {
    frame_num_offset_ = 0;
  } else if (previous_frame_num_ > header.frame_num) {
    frame_num_offset_ += sps.max_frame_num();
  }
  const int64_t absolute = frame_num_offset_ + header.frame_num;
  if (sps.poc_type == 2) {
    const int64_t count = header.idr ? 0 : sum32(2 * absolute, header.reference ? 0 : -1);
    return {count, count};
  }
  const auto cycle = static_cast<int64_t>(sps.offset_for_ref_frame.size());
  int64_t position = cycle == 0 ? 0 : absolute;
  if (!header.reference && position > 0) {
    --position;
  }
  int64_t expected = 0;
  if (position > 0) {
    int64_t whole = 0, part = 0;
    for (int64_t i = 0; i < cycle; ++i) {
      const int64_t offset = sps.offset_for_ref_frame[static_cast<size_t>(i)];
      whole += offset;
      part += i <= (position - 1) % cycle ? offset : 0;
    }
    expected = sum32(wrap32(static_cast<uint64_t>((position - 1) / cycle) * static_cast<uint64_t>(whole)), part);
  }
  if (!header.reference) {
    expected = sum32(expected, sps.offset_for_non_ref_pic);
  }
  const int64_t first = sum32(expected, header.delta_poc[0]);
  const int64_t second = sum32(first, sps.offset_for_top_to_bottom);
  return {first, sum32(second, header.delta_poc[1])};
}

// FrameNumWrap, 8.2.4.1
void References::number(const Sps& sps, int frame_num) {
  for (Reference& frame : frames_) {
    frame.pic_num = frame.frame_num > frame_num ? frame.frame_num - sps.max_frame_num() : frame.frame_num;
  }
}

// Sliding window, 8.2.5.3; beyond the standard also where a damaged stream leaves too many long-term frames.
void References::make_room(const Sps& sps) {
  while (frames_.size() >= capacity(sps)) {
    const auto oldest = std::min_element(frames_.begin(), frames_.end(), [](const Reference& a, const Reference& b) {
      return std::make_pair(a.long_term, a.long_term ? a.long_term_idx : a.pic_num) <
             std::make_pair(b.long_term, b.long_term ? b.long_term_idx : b.pic_num);
    });
    frames_.erase(oldest);
  }
}

void References::remove_short_term(int64_t pic_num) {
  frames_.erase(std::remove_if(frames_.begin(), frames_.end(),
                               [=](const Reference& f) { return !f.long_term && f.pic_num == pic_num; }),
                frames_.end());
}

void References::remove_long_term(int idx) {
  frames_.erase(std::remove_if(frames_.begin(), frames_.end(),
                               [=](const Reference& f) { return f.long_term && f.long_term_idx == idx; }),
                frames_.end());
}

// 8.2.5.4, operations on frames that are marked; 6 is the current frame's own
void References::mark_adaptively(const SliceHeader& header) {
  for (const Marking& marking : header.markings) {
    const int64_t pic_num = header.frame_num - (int64_t{marking.difference_of_pic_nums_minus1} + 1);
    switch (marking.operation) {
      case 1:
        remove_short_term(pic_num);
        break;
      case 2:
      case 6:
        remove_long_term(marking.long_term);
        break;
      case 3: {
        const auto named = [=](const Reference& f) { return !f.long_term && f.pic_num == pic_num; };
        if (std::any_of(frames_.begin(), frames_.end(), named)) {
          remove_long_term(marking.long_term);
          const auto frame = std::find_if(frames_.begin(), frames_.end(), named);
          frame->long_term = true;
          frame->long_term_idx = marking.long_term;
        }
        break;
      }
      case 4:
        frames_.erase(
            std::remove_if(frames_.begin(), frames_.end(),
                           [&](const Reference& f) { return f.long_term && f.long_term_idx >= marking.long_term; }),
            frames_.end());
        break;
      case 5:
        frames_.clear();
        break;
      default:
        break;
    }
  }
}

void References::end() {
  const SliceHeader& header = current_;
  const bool first_field = header.field && !second_field_;
  lone_field_ = first_field;
  const bool resets = header.reference && header.resets();
  previous_frame_num_ = resets ? 0 : header.frame_num;
  previous_frame_num_offset_ = resets ? 0 : frame_num_offset_;
  if (!header.reference) {
    return;
  }
  previous_reference_frame_num_ = previous_frame_num_;
  previous_poc_msb_ = resets ? 0 : poc_msb_;
  previous_poc_lsb_ = !resets ? header.poc_lsb : header.field ? 0 : sum32(fields_.top, -list_poc_);
  if (second_field_ && !resets) {
    return;  // the frame was marked with its first field
  }

  Reference frame{index_, previous_frame_num_, previous_frame_num_, poc_, header.long_term_reference, 0};
  // Operations of fields name fields, which are not kept here; the sliding window stands in for them.
  const bool adaptive = header.adaptive_marking && (!header.field || resets);
  if (adaptive) {
    mark_adaptively(header);
    for (const Marking& marking : header.markings) {
      if (marking.operation == 6) {
        frame.long_term = true;
        frame.long_term_idx = marking.long_term;
      }
    }
  }
  if (!frame.long_term) {
    remove_short_term(frame.pic_num);  // a frame of the same number is left from before a loss
  }
  make_room(*header.sps);
  frames_.push_back(frame);
}

// 8.2.4.2.1
ReferenceList References::initial_p() const {
  ReferenceList list, long_term;
  for (const Reference& frame : frames_) {
    (frame.long_term ? long_term : list).push_back(&frame);
  }
  std::sort(list.begin(), list.end(), by_pic_num_down);
  std::sort(long_term.begin(), long_term.end(), by_long_term_idx);
  list.insert(list.end(), long_term.begin(), long_term.end());
  return list;
}

// 8.2.4.2.3
void References::initial_b(ReferenceList (&out)[2]) const {
  ReferenceList before, after, long_term;
  for (const Reference& frame : frames_) {
    if (frame.long_term) {
      long_term.push_back(&frame);
    } else if (frame.index >= 0 || current_.sps->poc_type != 0) {  // frames that fill a gap have no order count
      (frame.poc <= list_poc_ ? before : after).push_back(&frame);
    }
  }
  std::sort(before.begin(), before.end(), by_poc_down);
  std::sort(after.begin(), after.end(), by_poc_up);
  std::sort(long_term.begin(), long_term.end(), by_long_term_idx);
  for (int list = 0; list < 2; ++list) {
    const ReferenceList& first = list == 0 ? before : after;
    const ReferenceList& second = list == 0 ? after : before;
    out[list] = first;
    out[list].insert(out[list].end(), second.begin(), second.end());
    out[list].insert(out[list].end(), long_term.begin(), long_term.end());
  }
  if (out[1].size() > 1 && out[0] == out[1]) {
    std::swap(out[1][0], out[1][1]);
  }
}

// 8.2.4.3
void References::modify(const std::vector<Modification>& modifications, ReferenceList& list) const {
  const int64_t modulus = current_.sps->max_frame_num();
  const int64_t current = current_.frame_num;
  const size_t entries = list.size();
  int64_t predicted = current;
  size_t at = 0;
  for (const Modification& modification : modifications) {
    if (at == entries) {
      return;
    }
    const bool long_term = modification.idc == 2;
    if (!long_term) {
      const int64_t difference = (int64_t{modification.value} + 1) % modulus;
      predicted = (predicted + (modification.idc == 0 ? modulus - difference : difference)) % modulus;
    }
    const int64_t wanted = long_term             ? int64_t{modification.value}
                           : predicted > current ? predicted - modulus
                                                 : predicted;
    const auto found = std::find_if(frames_.begin(), frames_.end(), [=](const Reference& f) {
      return f.long_term == long_term && (long_term ? f.long_term_idx : f.pic_num) == wanted;
    });
    // A missing frame leaves its entry empty: the frames behind it then stand where the encoder had them.
    const Reference* const target = found == frames_.end() ? nullptr : &*found;
    const auto position = list.begin() + static_cast<std::ptrdiff_t>(at);
    if (target != nullptr) {
      list.erase(std::remove(position, list.end(), target), list.end());
    }
    list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), target);
    list.resize(entries, nullptr);
    ++at;
  }
}

void References::lists(const SliceHeader& header, ReferenceList (&out)[2]) const {
  out[0].clear();
  out[1].clear();
  if (header.kind == SliceKind::kI || header.field || current_.field) {
    return;
  }
  if (header.kind == SliceKind::kP) {
    out[0] = initial_p();
  } else {
    initial_b(out);
  }
  for (int list = 0; list < (header.kind == SliceKind::kB ? 2 : 1); ++list) {
    out[list].resize(static_cast<size_t>(header.num_ref_idx[list]), nullptr);
    modify(header.modifications[list], out[list]);
  }
}

}  // namespace arseg::motion::h264
