#include "h264_syntax.h"

#include <algorithm>

namespace arseg::motion::h264 {
namespace {

std::string problem(const BitReader& in, const std::string& what) {
  return what + (in.past_end() ? " runs past its end" : " has a value out of range");
}

bool has_chroma_format(int profile_idc) {
  static constexpr int profiles[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
  return std::find(std::begin(profiles), std::end(profiles), profile_idc) != std::end(profiles);
}

// 7.3.2.1.1.1; the list itself is of no use here
void skip_scaling_list(BitReader& in, int size) {
  int64_t last = 8, next = 8;
  for (int i = 0; i < size && next != 0; ++i) {
    next = (last + in.se()) & 255;
    last = next == 0 ? last : next;
  }
}

void read_high_profile(BitReader& in, Sps& sps) {
  sps.chroma_format_idc = in.ue(3);
  if (sps.chroma_format_idc == 3) {
    sps.separate_planes = in.flag();
  }
  in.ue(6);   // bit_depth_luma_minus8
  in.ue(6);   // bit_depth_chroma_minus8
  in.flag();  // qpprime_y_zero_transform_bypass_flag
  if (in.flag()) {
    for (int i = 0; i < (sps.chroma_format_idc == 3 ? 12 : 8); ++i) {
      if (in.flag()) {
        skip_scaling_list(in, i < 6 ? 16 : 64);
      }
    }
  }
}

void read_order_count(BitReader& in, Sps& sps) {
  sps.poc_type = in.ue(2);
  if (sps.poc_type == 0) {
    sps.log2_max_poc_lsb = in.ue(12) + 4;
  } else if (sps.poc_type == 1) {
    sps.delta_poc_always_zero = in.flag();
    sps.offset_for_non_ref_pic = in.se();
    sps.offset_for_top_to_bottom = in.se();
    const int count = in.ue(255);
    for (int i = 0; i < count && !in.failed(); ++i) {
      sps.offset_for_ref_frame.push_back(in.se());
    }
  }
}

void read_cropping(BitReader& in, Sps& sps) {
  const int array_type = sps.chroma_array_type();
  const int unit_x = array_type == 1 || array_type == 2 ? 2 : 1;
  const int unit_y = (array_type == 1 ? 2 : 1) * (sps.frame_mbs_only ? 1 : 2);
  sps.crop_left = unit_x * in.ue(kMaxSize);
  sps.crop_right = unit_x * in.ue(kMaxSize);
  sps.crop_top = unit_y * in.ue(kMaxSize);
  sps.crop_bottom = unit_y * in.ue(kMaxSize);
  if (sps.crop_left + sps.crop_right >= sps.width || sps.crop_top + sps.crop_bottom >= sps.height) {
    in.refuse();
  }
}

// E.1.2
void skip_hrd(BitReader& in) {
  const int count = in.ue(31) + 1;
  in.skip(8);  // bit_rate_scale, cpb_size_scale
  for (int i = 0; i < count && !in.failed(); ++i) {
    in.ue();
    in.ue();
    in.flag();
  }
  in.skip(20);  // lengths of delays
}

// max_num_reorder_frames of the VUI, E.1.1; -1 where it does not say.
int read_reorder_frames(BitReader in) {
  if (!in.flag()) {
    return -1;
  }
  if (in.flag() && in.bits(8) == 255) {  // aspect_ratio_idc: Extended_SAR
    in.skip(32);
  }
  if (in.flag()) {
    in.flag();  // overscan_appropriate_flag
  }
  if (in.flag()) {
    in.skip(4);  // video_format, video_full_range_flag
    in.skip(in.flag() ? 24 : 0);
  }
  if (in.flag()) {
    in.ue();  // chroma sample location
    in.ue();
  }
  in.skip(in.flag() ? 65 : 0);  // timing
  const bool nal_hrd = in.flag();
  if (nal_hrd) {
    skip_hrd(in);
  }
  const bool vcl_hrd = in.flag();
  if (vcl_hrd) {
    skip_hrd(in);
  }
  in.skip(nal_hrd || vcl_hrd ? 1 : 0);  // low_delay_hrd_flag
  in.flag();                            // pic_struct_present_flag
  if (!in.flag()) {
    return -1;
  }
  in.flag();  // motion_vectors_over_pic_boundaries_flag
  for (int i = 0; i < 4; ++i) {
    in.ue();  // bytes of a picture, bits of a macroblock, lengths of vectors
  }
  const int frames = in.ue(kMaxReferences);
  return in.failed() ? -1 : frames;
}

// 7.3.3.1
void read_modifications(BitReader& in, std::vector<Modification>& modifications) {
  modifications.clear();
  if (!in.flag()) {
    return;
  }
  while (!in.failed()) {
    const int idc = in.ue(3);
    if (idc == 3) {
      return;
    }
    if (modifications.size() == kMaxOperations) {
      in.refuse();
      return;
    }
    modifications.push_back({idc, in.ue()});
  }
}

// 7.3.3.2; the weights are of no use here
void skip_weights(BitReader& in, const SliceHeader& header) {
  const bool chroma = header.sps->chroma_array_type() != 0;
  in.ue(7);  // luma_log2_weight_denom
  if (chroma) {
    in.ue(7);
  }
  for (int list = 0; list < (header.kind == SliceKind::kB ? 2 : 1); ++list) {
    for (int i = 0; i < header.num_ref_idx[list]; ++i) {
      for (int plane = 0; plane < (chroma ? 2 : 1); ++plane) {
        if (in.flag()) {
          for (int n = 0; n < (plane == 0 ? 2 : 4); ++n) {  // a weight and an offset for each component
            in.se();
          }
        }
      }
    }
  }
}

// 7.3.3.3
void read_marking(BitReader& in, SliceHeader& header) {
  if (header.idr) {
    in.flag();  // no_output_of_prior_pics_flag
    header.long_term_reference = in.flag();
    return;
  }
  header.adaptive_marking = in.flag();
  while (header.adaptive_marking && !in.failed()) {
    Marking marking{in.ue(6), 0, 0};
    if (marking.operation == 0) {
      return;
    }
    if (header.markings.size() == kMaxOperations) {
      in.refuse();
      return;
    }
    if (marking.operation == 1 || marking.operation == 3) {
      marking.difference_of_pic_nums_minus1 = in.ue();
    }
    if (marking.operation != 1 && marking.operation != 5) {
      marking.long_term = in.ue(2 * kMaxReferences);  // twice for fields, and the plus 1 of operation 4
    }
    header.markings.push_back(marking);
  }
}

void read_reference_counts(BitReader& in, SliceHeader& header) {
  const int lists = header.kind == SliceKind::kI ? 0 : header.kind == SliceKind::kP ? 1 : 2;
  const bool override_counts = lists > 0 && in.flag();
  for (int list = 0; list < 2; ++list) {
    header.num_ref_idx[list] = list >= lists     ? 0
                               : override_counts ? in.ue(31) + 1
                                                 : header.pps->num_ref_idx_default[list];
    if (header.num_ref_idx[list] > (header.field ? 32 : 16)) {
      in.refuse();
    }
  }
}

}  // namespace

bool SliceHeader::resets() const {
  return std::any_of(markings.begin(), markings.end(), [](const Marking& m) { return m.operation == 5; });
}

std::string read_sps(Nal nal, ParameterSets& sets) {
  BitReader in = nal.payload();
  Sps sps;
  const auto profile_idc = static_cast<int>(in.bits(8));
  in.bits(16);  // constraint flags, level_idc
  sps.id = in.ue(31);
  if (has_chroma_format(profile_idc)) {
    read_high_profile(in, sps);
  }
  sps.log2_max_frame_num = in.ue(12) + 4;
  read_order_count(in, sps);
  sps.max_num_ref_frames = in.ue(kMaxReferences);
  sps.gaps_allowed = in.flag();
  const int columns = in.ue(kMaxSize / 16 - 1) + 1;
  const int rows = in.ue(kMaxSize / 16 - 1) + 1;
  sps.frame_mbs_only = in.flag();
  if (!sps.frame_mbs_only) {
    sps.mb_adaptive_frame_field = in.flag();
  }
  sps.width = 16 * columns;
  sps.height = 16 * rows * (sps.frame_mbs_only ? 1 : 2);
  if (sps.height > kMaxSize) {
    in.refuse();
  }
  in.flag();  // direct_8x8_inference_flag
  if (in.flag() && !in.failed()) {
    read_cropping(in, sps);
  }
  if (in.failed()) {
    return problem(in, "SPS " + std::to_string(sps.id));
  }
  // What follows (VUI) says nothing about references, and the order of output follows from the order counts alone.
  const int reorder_frames = read_reorder_frames(in);
  constexpr int kBaseline = 66;  // has no B slices
  sps.reorders = reorder_frames < 0 ? sps.poc_type != 2 && profile_idc != kBaseline : reorder_frames > 0;
  sps.nal.assign(nal.data, nal.data + nal.size);
  const auto id = static_cast<size_t>(sps.id);
  sets.sps[id] = std::make_shared<const Sps>(std::move(sps));
  return "";
}

std::string read_pps(Nal nal, ParameterSets& sets) {
  BitReader in = nal.payload();
  Pps pps;
  pps.id = in.ue(255);
  pps.sps_id = in.ue(31);
  in.flag();  // entropy_coding_mode_flag
  pps.bottom_field_poc_present = in.flag();
  const int groups = in.ue(7) + 1;
  if (groups > 1) {
    const int map_type = in.ue(6);
    if (map_type == 0) {
      for (int i = 0; i < groups; ++i) {
        in.ue();  // run_length_minus1
      }
    } else if (map_type == 2) {
      for (int i = 0; i < 2 * (groups - 1); ++i) {
        in.ue();  // top_left, bottom_right
      }
    } else if (map_type >= 3 && map_type <= 5) {
      in.flag();  // slice_group_change_direction_flag
      in.ue();    // slice_group_change_rate_minus1
    } else if (map_type == 6) {
      const uint64_t count = uint64_t{in.ue()} + 1;
      in.skip(count * (groups > 4 ? 3 : groups > 2 ? 2 : 1));  // slice_group_id
    }
  }
  for (int& entries : pps.num_ref_idx_default) {
    entries = in.ue(31) + 1;
  }
  pps.weighted_pred = in.flag();
  pps.weighted_bipred_idc = static_cast<int>(in.bits(2));
  if (pps.weighted_bipred_idc == 3) {
    in.refuse();
  }
  in.se();     // pic_init_qp_minus26
  in.se();     // pic_init_qs_minus26
  in.se();     // chroma_qp_index_offset
  in.bits(2);  // deblocking_filter_control_present_flag, constrained_intra_pred_flag
  pps.redundant_pic_cnt_present = in.flag();
  if (in.failed()) {
    return problem(in, "PPS " + std::to_string(pps.id));
  }
  const auto id = static_cast<size_t>(pps.id);
  sets.pps[id] = std::make_shared<const Pps>(pps);
  return "";
}

std::string read_slice_header(Nal nal, const ParameterSets& sets, SliceHeader& header) {
  BitReader in = nal.payload();
  in.ue();  // first_mb_in_slice
  const int type = in.ue(9) % 5;
  const int pps_id = in.ue(255);
  if (in.failed()) {
    return problem(in, "slice header");
  }
  header.pps = sets.pps[static_cast<size_t>(pps_id)];
  if (!header.pps) {
    return "PPS " + std::to_string(pps_id) + " is missing";
  }
  header.sps = sets.sps[static_cast<size_t>(header.pps->sps_id)];
  if (!header.sps) {
    return "SPS " + std::to_string(header.pps->sps_id) + " is missing";
  }
  const Sps& sps = *header.sps;
  const Pps& pps = *header.pps;
  header.idr = nal.type() == kIdrSlice;
  header.reference = nal.ref_idc() > 0;
  header.kind = type == 0 || type == 3 ? SliceKind::kP : type == 1 ? SliceKind::kB : SliceKind::kI;
  if (sps.separate_planes) {
    in.bits(2);  // colour_plane_id
  }
  header.frame_num = static_cast<int>(in.bits(sps.log2_max_frame_num));
  header.field = !sps.frame_mbs_only && in.flag();
  header.bottom_field = header.field && in.flag();
  if (header.idr) {
    in.ue(65535);  // idr_pic_id
  }

  header.poc_lsb = 0;
  header.delta_poc_bottom = header.delta_poc[0] = header.delta_poc[1] = 0;
  const bool both_fields = pps.bottom_field_poc_present && !header.field;
  if (sps.poc_type == 0) {
    header.poc_lsb = static_cast<int>(in.bits(sps.log2_max_poc_lsb));
    header.delta_poc_bottom = both_fields ? in.se() : 0;
  } else if (sps.poc_type == 1 && !sps.delta_poc_always_zero) {
    header.delta_poc[0] = in.se();
    header.delta_poc[1] = both_fields ? in.se() : 0;
  }
  header.redundant = pps.redundant_pic_cnt_present && in.ue(127) > 0;

  if (header.kind == SliceKind::kB) {
    in.flag();  // direct_spatial_mv_pred_flag
  }
  read_reference_counts(in, header);
  header.modifications[0].clear();
  header.modifications[1].clear();
  for (int list = 0; list < 2 && !in.failed(); ++list) {
    if (header.num_ref_idx[list] > 0) {
      read_modifications(in, header.modifications[list]);
    }
  }
  const bool table = (header.kind == SliceKind::kP && pps.weighted_pred) ||
                     (header.kind == SliceKind::kB && pps.weighted_bipred_idc == 1);
  header.weighted = table || (header.kind == SliceKind::kB && pps.weighted_bipred_idc != 0);
  if (table && !in.failed()) {
    skip_weights(in, header);
  }
  header.long_term_reference = header.adaptive_marking = false;
  header.markings.clear();
  if (header.reference && !in.failed()) {
    read_marking(in, header);
  }
  return in.failed() ? problem(in, "slice header") : "";
}

int read_recovery_point(Nal nal) {
  BitReader in = nal.payload();
  // 7.3.2.3.1: type and size, each a run of 255s and a last byte
  const auto number = [&in] {
    uint64_t sum = 0;
    uint32_t byte = 255;
    while (byte == 255 && !in.failed()) {
      byte = in.bits(8);
      sum += byte;
    }
    return sum;
  };
  while (!in.failed()) {
    const uint64_t type = number();
    const uint64_t size = number();
    if (type == 6 && !in.failed()) {
      const int count = in.ue(65535);
      return in.failed() ? -1 : count;
    }
    in.skip(8 * size);
  }
  return -1;
}

}  // namespace arseg::motion::h264
