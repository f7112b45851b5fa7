#include "h264_reader.h"

#include <algorithm>

namespace arseg::motion::h264 {
namespace {

// Some muxers leave start codes in packets that should have lengths.
bool has_lengths(const uint8_t* data, size_t size, int length_size) {
  NalUnits units(data, size, length_size);
  for (Nal nal; units.next(nal);) {
  }
  return !units.length_too_long();
}

bool begins_with_start_code(const uint8_t* data, size_t size) {
  return size > 4 && data[0] == 0 && data[1] == 0 && (data[2] == 1 || (data[2] == 0 && data[3] == 1));
}

// Some streams carry a new avcC box as a packet of its own. Such a packet is not told from pictures by its first bytes
// alone, so the NAL units that it lists are looked at, too.
bool is_avcc(const uint8_t* data, size_t size) {
  if (size < 9 || data[0] != 1 || data[2] != 0 || (data[4] & 0xfc) != 0xfc) {
    return false;
  }
  size_t at = 5;
  int count = 0;
  for (const NalType type : {kSps, kPps}) {
    count = at < size ? data[at] & (type == kSps ? 31 : 255) : 0;
    ++at;
    for (int i = 0; i < count; ++i) {
      const size_t length = at + 2 < size ? size_t{data[at]} << 8 | data[at + 1] : 0;
      if (length == 0 || length > size - at - 2 || Nal{data + at + 2, length}.type() != type) {
        return false;
      }
      at += 2 + length;
    }
  }
  return count > 0;
}

void add_new(const ReferenceList& list, std::vector<int64_t>& indices) {
  for (const Reference* frame : list) {
    if (frame != nullptr && frame->index >= 0 &&
        std::find(indices.begin(), indices.end(), frame->index) == indices.end()) {
      indices.push_back(frame->index);
    }
  }
}

}  // namespace

void Reader::set_extradata(const uint8_t* extradata, size_t size) {
  if (size == 0) {
    return;
  }
  extradata_error_.clear();
  if (extradata[0] == 1) {
    read_avcc(extradata, size);
    return;
  }
  if (!begins_with_start_code(extradata, size)) {
    extradata_error_ = "the extradata is neither an avcC box nor has it start codes";
    return;
  }
  length_size_ = 0;
  NalUnits units(extradata, size, 0);
  for (Nal nal; units.next(nal);) {
    const std::string error = read_parameter_set(nal);
    if (extradata_error_.empty()) {
      extradata_error_ = error;
    }
  }
}

// AVCDecoderConfigurationRecord, ISO 14496-15, 5.3.3.1
void Reader::read_avcc(const uint8_t* data, size_t size) {
  length_size_ = size > 4 ? (data[4] & 3) + 1 : 4;
  size_t at = 5;
  for (int kind = 0; kind < 2; ++kind) {
    int count = at < size ? data[at] & (kind == 0 ? 31 : 255) : -1;
    if (count < 0) {
      extradata_error_ = "the avcC box is cut off";
      return;
    }
    ++at;
    for (; count > 0; --count) {
      const size_t length = size - at >= 2 ? size_t{data[at]} << 8 | data[at + 1] : size;
      if (length > size - at - std::min<size_t>(2, size - at)) {
        extradata_error_ = "the avcC box is cut off";
        return;
      }
      at += 2;
      if (length > 0) {
        const std::string error = read_parameter_set({data + at, length});
        if (extradata_error_.empty()) {
          extradata_error_ = error;
        }
      }
      at += length;
    }
  }
}

std::string Reader::read_parameter_set(Nal nal) {
  return nal.type() == kSps ? read_sps(nal, sets_) : nal.type() == kPps ? read_pps(nal, sets_) : "";
}

void Reader::add_slice(Nal nal, Picture& picture) {
  ++picture.slices;
  std::string error = picture.slices > kMaxSlices ? "more than " + std::to_string(kMaxSlices) + " slices"
                                                  : read_slice_header(nal, sets_, header_);
  if (!error.empty()) {
    if (picture.error.empty()) {
      const bool missing = !extradata_error_.empty() && (!header_.pps || !header_.sps);
      picture.error = missing ? error + " (" + extradata_error_ + ")" : error;
    }
    return;
  }
  if (header_.redundant) {
    return;  // another version of what a primary slice has, 7.4.3
  }
  const Sps& sps = *header_.sps;
  if (picture.kind.empty()) {
    references_.begin(header_, picture.index);
    picture.kind = "I";
    picture.idr = header_.idr;
    picture.reference = header_.reference;
    picture.frame_num = header_.frame_num;
    picture.sequence = references_.sequence();
    picture.gap = started_ && !sps.gaps_allowed ? references_.gap() : 0;
    picture.interlaced = header_.field || (sps.mb_adaptive_frame_field && !sps.frame_mbs_only);
    picture.crop_left = sps.crop_left;
    picture.crop_top = sps.crop_top;
    picture.crop_right = sps.crop_right;
    picture.crop_bottom = sps.crop_bottom;
    picture.width = sps.width - sps.crop_left - sps.crop_right;
    picture.height = sps.height - sps.crop_top - sps.crop_bottom;
    picture.references = sps.max_num_ref_frames;
    picture.changed = last_sps_ && last_sps_->nal != sps.nal;
    picture.reorders = sps.reorders;
    last_sps_ = header_.sps;
  } else if (header_.frame_num != picture.frame_num) {
    return;  // a second picture where only one belongs
  } else if (header_.field) {
    references_.join_field(header_);
  }
  if (header_.kind == SliceKind::kB) {
    picture.kind = "B";
  } else if (header_.kind == SliceKind::kP && picture.kind == "I") {
    picture.kind = "P";
  }
  picture.poc = references_.poc();
  picture.weighted = picture.weighted || header_.weighted;
  picture.entries = std::max(picture.entries, header_.num_ref_idx[0]);
  ReferenceList lists[2];
  references_.lists(header_, lists);
  add_new(lists[0], picture.past);
  add_new(lists[1], picture.future);
}

Picture Reader::push(const uint8_t* packet, size_t size) {
  Picture picture;
  picture.index = pushed_++;
  picture.sequence = references_.sequence();
  picture.started = started_;
  if (length_size_ > 0 && is_avcc(packet, size)) {
    set_extradata(packet, size);
    picture.error = extradata_error_;
    return picture;
  }
  int length_size = length_size_;
  if (length_size > 0 && !has_lengths(packet, size, length_size)) {
    if (!begins_with_start_code(packet, size)) {
      picture.error = "a NAL unit is longer than the packet";  // a decoder drops such a packet altogether
      return picture;
    }
    length_size = 0;
  }
  NalUnits units(packet, size, length_size);
  for (Nal nal; units.next(nal);) {
    if (nal.forbidden_bit()) {
      if (picture.error.empty()) {
        picture.error = "a NAL unit has its forbidden_zero_bit set";
      }
      continue;
    }
    switch (nal.type()) {
      case kSlice:
      case kPartitionA:
      case kIdrSlice:
        if (picture.slices <= kMaxSlices) {
          add_slice(nal, picture);
        }
        break;
      case kSei:
        picture.recovery = std::max(picture.recovery, read_recovery_point(nal));
        break;
      case kSps:
      case kPps: {
        const std::string error = read_parameter_set(nal);
        if (picture.error.empty()) {
          picture.error = error;
        }
        break;
      }
      default:
        break;
    }
  }
  if (!picture.kind.empty()) {
    references_.end();
    started_ = started_ || picture.idr || picture.kind == "I";
    picture.started = started_;
  }
  return picture;
}

}  // namespace arseg::motion::h264
