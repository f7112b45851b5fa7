#include "vectors.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <utility>

// libde265's private headers: the public ones know nothing of motion.
#include "libde265/decctx.h"
#include "libde265/image.h"
#include "libde265/nal.h"
#include "libde265/slice.h"

namespace arseg::hevc {
namespace {

using motion::Record;

// The queue of pictures under way is a private member. Explicit instantiation may name it all the same.
std::vector<image_unit*>& pictures_under_way(decoder_context& context);
template <std::vector<image_unit*> decoder_context::* Member>
struct Access {
  friend std::vector<image_unit*>& pictures_under_way(decoder_context& context) { return context.*Member; }
};
template struct Access<&decoder_context::image_units>;

[[noreturn]] void refuse(const std::string& sentence) { throw std::invalid_argument(sentence); }

int nal_type(Bytes nal) { return nal.data[0] >> 1 & 0x3f; }

int nal_layer(Bytes nal) { return (nal.data[0] & 1) << 5 | nal.data[1] >> 3; }

bool is_slice(int type) { return type <= NAL_UNIT_RASL_R || (type >= NAL_UNIT_BLA_W_LP && type <= NAL_UNIT_CRA_NUT); }

// What decides over vectors. Further layers, messages and reserved types do not.
bool is_wanted(Bytes nal) {
  if (nal.size < 3 || nal_layer(nal) != 0) {
    return false;
  }
  const int type = nal_type(nal);
  return is_slice(type) || type == NAL_UNIT_VPS_NUT || type == NAL_UNIT_SPS_NUT || type == NAL_UNIT_PPS_NUT;
}

// Start of the next 00 00 01 at or after `from`, or the end.
size_t start_code(Bytes bytes, size_t from) {
  for (size_t at = from + 2; at < bytes.size; ++at) {
    const auto* one = static_cast<const uint8_t*>(std::memchr(bytes.data + at, 1, bytes.size - at));
    if (one == nullptr) {
      break;
    }
    at = static_cast<size_t>(one - bytes.data);
    if (bytes.data[at - 1] == 0 && bytes.data[at - 2] == 0) {
      return at - 2;
    }
  }
  return bytes.size;
}

std::vector<Bytes> split_annex_b(Bytes bytes) {
  std::vector<Bytes> nals;
  size_t begin = start_code(bytes, 0);
  while (begin < bytes.size) {
    begin += 3;
    const size_t next = start_code(bytes, begin);
    size_t end = next;
    while (end > begin && bytes.data[end - 1] == 0) {
      --end;
    }
    nals.push_back({bytes.data + begin, end - begin});
    begin = next;
  }
  return nals;
}

// Big-endian number of 1 to 4 bytes.
size_t number(const uint8_t* data, size_t bytes) {
  size_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value = value << 8 | data[i];
  }
  return value;
}

// `whole` tells whether the lengths filled the packet exactly.
std::vector<Bytes> split_lengths(Bytes bytes, size_t length_size, bool* whole) {
  std::vector<Bytes> nals;
  size_t at = 0;
  while (at + length_size <= bytes.size) {
    const size_t length = number(bytes.data + at, length_size);
    at += length_size;
    if (length > bytes.size - at) {
      *whole = false;
      return nals;
    }
    nals.push_back({bytes.data + at, length});
    at += length;
  }
  *whole = at == bytes.size;
  return nals;
}

// ISO/IEC 14496-15, HEVCDecoderConfigurationRecord: the parameter sets and the size of a packet's length fields.
std::vector<Bytes> split_hvcc(Bytes bytes, size_t* length_size) {
  constexpr const char* kBroken = "extradata: the hvcC box is broken";
  if (bytes.size < 23) {
    refuse(kBroken);
  }
  *length_size = size_t{1} + (bytes.data[21] & 3u);
  std::vector<Bytes> nals;
  size_t at = 23;
  for (int array = 0; array < bytes.data[22]; ++array) {
    if (bytes.size - at < 3) {
      refuse(kBroken);
    }
    const size_t count = number(bytes.data + at + 1, 2);
    at += 3;
    for (size_t i = 0; i < count; ++i) {
      if (bytes.size - at < 2) {
        refuse(kBroken);
      }
      const size_t length = number(bytes.data + at, 2);
      at += 2;
      if (bytes.size - at < length) {
        refuse(kBroken);
      }
      nals.push_back({bytes.data + at, length});
      at += length;
    }
  }
  return nals;
}

// In HEVC no bit of the syntax and no vector depends on a sample, so without them the stream parses to the same
// vectors. This empties the kernels that make samples.
template <class... Arguments>
void skip(void (*&kernel)(Arguments...)) {
  kernel = [](Arguments...) {};
}

template <class Kernel, size_t N>
void skip(Kernel (&kernels)[N]) {
  for (Kernel& kernel : kernels) {
    skip(kernel);
  }
}

void skip_samples(acceleration_functions& f) {
  skip(f.put_weighted_pred_avg_8);
  skip(f.put_unweighted_pred_8);
  skip(f.put_weighted_pred_8);
  skip(f.put_weighted_bipred_8);
  skip(f.put_weighted_pred_avg_16);
  skip(f.put_unweighted_pred_16);
  skip(f.put_weighted_pred_16);
  skip(f.put_weighted_bipred_16);
  skip(f.put_hevc_epel_8);
  skip(f.put_hevc_epel_h_8);
  skip(f.put_hevc_epel_v_8);
  skip(f.put_hevc_epel_hv_8);
  skip(f.put_hevc_qpel_8);
  skip(f.put_hevc_epel_16);
  skip(f.put_hevc_epel_h_16);
  skip(f.put_hevc_epel_v_16);
  skip(f.put_hevc_epel_hv_16);
  skip(f.put_hevc_qpel_16);
  skip(f.transform_4x4_dst_add_8);
  skip(f.transform_add_8);
  skip(f.transform_4x4_dst_add_16);
  skip(f.transform_add_16);
  skip(f.dequant_coeff_block);
  skip(f.add_residual_8);
  skip(f.add_residual_16);
  skip(f.intra_pred_dc_8);
  skip(f.intra_pred_dc_16);
  skip(f.intra_pred_planar_8);
  skip(f.intra_pred_planar_16);
  skip(f.intra_pred_angular_8);
  skip(f.intra_pred_angular_16);
}

const char* integrity_text(uint8_t integrity) {
  switch (integrity) {
    case INTEGRITY_CORRECT:
      return "";
    case INTEGRITY_NOT_DECODED:
      return "a slice cannot be decoded";
    case INTEGRITY_DERIVED_FROM_FAULTY_REFERENCE:
      return "it is predicted from a picture that is missing or damaged";
    default:
      return "the data is damaged";
  }
}

// For each slice, list and entry: 1 + position in Picture::references, 0 for a picture that never came.
using ReferenceFlags = std::vector<std::array<std::array<uint8_t, 16>, 2>>;

ReferenceFlags read_references(const decoder_context& context, const de265_image& image, Picture* picture) {
  ReferenceFlags flags(image.slices.size());
  int strongest = 0;
  for (size_t s = 0; s < image.slices.size(); ++s) {
    const slice_segment_header& slice = *image.slices[s];
    const int lists = slice.slice_type == SLICE_TYPE_B ? 2 : slice.slice_type == SLICE_TYPE_P ? 1 : 0;
    strongest = std::max(strongest, lists);
    for (int list = 0; list < lists; ++list) {
      const int count = std::min<int>(list == 0 ? slice.num_ref_idx_l0_active : slice.num_ref_idx_l1_active, 16);
      std::vector<int64_t>& known = picture->references[static_cast<size_t>(list)];
      for (int i = 0; i < count; ++i) {
        const de265_image* reference = context.get_image(static_cast<uint16_t>(slice.RefPicList[list][i]));
        // In a damaged stream its place in the buffer may have been given away: then the order count differs.
        if (reference == nullptr || reference == &image || reference->integrity == INTEGRITY_UNAVAILABLE_REFERENCE ||
            reference->PicOrderCntVal != slice.RefPicList_POC[list][i]) {
          continue;
        }
        auto found = std::find(known.begin(), known.end(), reference->pts);
        if (found == known.end()) {
          if (known.size() == UINT8_MAX) {
            continue;
          }
          found = known.insert(known.end(), reference->pts);
        }
        flags[s][static_cast<size_t>(list)][static_cast<size_t>(i)] = static_cast<uint8_t>(found - known.begin() + 1);
      }
    }
  }
  picture->kind = "IPB"[strongest];
  return flags;
}

struct Rectangle {
  int x, y, w, h;
};

// The prediction blocks of a coding block, first one first; returns their number.
int partition(PartMode mode, int x, int y, int side, Rectangle blocks[4]) {
  const int half = side / 2;
  const int quarter = side / 4;
  const auto rows = [&](int first) {
    blocks[0] = {x, y, side, first};
    blocks[1] = {x, y + first, side, side - first};
    return 2;
  };
  const auto columns = [&](int first) {
    blocks[0] = {x, y, first, side};
    blocks[1] = {x + first, y, side - first, side};
    return 2;
  };
  switch (mode) {
    case PART_2NxN:
      return rows(half);
    case PART_2NxnU:
      return rows(quarter);
    case PART_2NxnD:
      return rows(side - quarter);
    case PART_Nx2N:
      return columns(half);
    case PART_nLx2N:
      return columns(quarter);
    case PART_nRx2N:
      return columns(side - quarter);
    case PART_NxN:
      for (int i = 0; i < 4; ++i) {
        blocks[i] = {x + (i & 1) * half, y + (i >> 1) * half, half, half};
      }
      return 4;
    default:
      blocks[0] = {x, y, side, side};
      return 1;
  }
}

Record make_record(const Rectangle& block, int list, const MotionVector& vector, uint8_t flags) {
  Record record;
  std::memset(&record, 0, sizeof record);  // the padding goes to Python too
  record.source = list == 0 ? -1 : 1;
  record.w = static_cast<uint8_t>(block.w);
  record.h = static_cast<uint8_t>(block.h);
  record.dst_x = static_cast<int16_t>(block.x + block.w / 2);
  record.dst_y = static_cast<int16_t>(block.y + block.h / 2);
  record.src_x = motion::saturate(record.dst_x + vector.x / 4);
  record.src_y = motion::saturate(record.dst_y + vector.y / 4);
  record.flags = flags;
  record.motion_x = vector.x;
  record.motion_y = vector.y;
  record.motion_scale = 4;
  return record;
}

// Returns whether coding blocks fill the picture.
bool read_records(const de265_image& image, const ReferenceFlags& flags, std::vector<Record>* records) {
  const seq_parameter_set& sps = image.get_sps();
  const int width = image.get_width();
  const int height = image.get_height();
  int64_t area = 0;
  for (int cell_y = 0; cell_y < sps.PicHeightInMinCbsY; ++cell_y) {
    for (int cell_x = 0; cell_x < sps.PicWidthInMinCbsY; ++cell_x) {
      const int log2_side = image.get_log2CbSize_cbUnits(cell_x, cell_y);
      if (log2_side == 0) {  // not the first cell of a coding block
        continue;
      }
      const int x = cell_x << sps.Log2MinCbSizeY;
      const int y = cell_y << sps.Log2MinCbSizeY;
      const int side = std::min(1 << log2_side, 64);
      area += int64_t{std::min(side, width - x)} * std::min(side, height - y);
      const size_t slice = image.get_SliceHeaderIndex(x, y);
      if (slice >= flags.size() || image.get_pred_mode(x, y) == MODE_INTRA) {
        continue;
      }
      Rectangle blocks[4];
      const int count = partition(image.get_PartMode(x, y), x, y, side, blocks);
      for (int i = 0; i < count; ++i) {
        Rectangle& block = blocks[i];
        block.w = std::min(block.w, width - block.x);  // only damaged data reaches over the edge
        block.h = std::min(block.h, height - block.y);
        if (block.w <= 0 || block.h <= 0) {
          continue;
        }
        const PBMotion& motion = image.get_mv_info(block.x, block.y);
        for (int list = 0; list < 2; ++list) {
          if (motion.predFlag[list] == 0 || motion.refIdx[list] >= 16) {
            continue;
          }
          if (const uint8_t flag = flags[slice][static_cast<size_t>(list)][motion.refIdx[list]]) {
            records->push_back(make_record(block, list, motion.mv[list], flag));
          }
        }
      }
    }
  }
  return area == int64_t{width} * height;
}

void copy_luma(const de265_image& image, Picture* picture) {
  const auto bytes = static_cast<size_t>(image.get_bit_depth(0) > 8 ? 2 : 1);
  const size_t row = static_cast<size_t>(picture->width) * bytes;
  const size_t pitch = static_cast<size_t>(image.get_image_stride(0)) * bytes;
  const uint8_t* from = image.get_image_plane(0) + static_cast<size_t>(picture->crop[1]) * pitch +
                        static_cast<size_t>(picture->crop[0]) * bytes;
  picture->luma_bytes = static_cast<int>(bytes);
  picture->luma.resize(row * static_cast<size_t>(picture->height));
  for (size_t y = 0; y < static_cast<size_t>(picture->height); ++y) {
    std::memcpy(picture->luma.data() + y * row, from + y * pitch, row);
  }
}

Picture read_picture(const decoder_context& context, const de265_image& image, bool luma) {
  const seq_parameter_set& sps = image.get_sps();
  const uint8_t type = image.nal_hdr.nal_unit_type;
  Picture picture;
  picture.index = image.pts;
  picture.poc = image.PicOrderCntVal;
  picture.irap = isIRAP(type);
  picture.idr = isIDR(type);
  picture.crop = {sps.conf_win_left_offset * image.SubWidthC, sps.conf_win_top_offset * image.SubHeightC,
                  sps.conf_win_right_offset * image.SubWidthC, sps.conf_win_bottom_offset * image.SubHeightC};
  picture.width = image.get_width() - picture.crop[0] - picture.crop[2];
  picture.height = image.get_height() - picture.crop[1] - picture.crop[3];
  picture.error = integrity_text(image.integrity);
  if (image.get_width() > motion::kMaxSide || image.get_height() > motion::kMaxSide) {
    picture.error = "the picture is larger than " + std::to_string(motion::kMaxSide) + " pixels a side";
    return picture;
  }
  const ReferenceFlags flags = read_references(context, image, &picture);
  const bool whole = read_records(image, flags, &picture.records);
  if (!whole && picture.error.empty()) {
    picture.error = "a part of the picture is missing";
  }
  if (luma) {
    copy_luma(image, &picture);
  }
  return picture;
}

}  // namespace

class Vectors::Decoder {
 public:
  Decoder(Bytes extradata, int threads, bool luma) : threads_(threads), luma_(luma) {
    read_extradata(extradata);
    restart();
  }

  void set_extradata(Bytes extradata) {
    if (extradata.size == 0 || ended_) {
      return;
    }
    read_extradata(extradata);
    for (const std::vector<uint8_t>& set : parameter_sets_) {
      decode({set.data(), set.size()}, 0);
    }
  }

  void push(Bytes packet, int64_t index) {
    if (ended_) {
      refuse("packet " + std::to_string(index) + " comes after flush: make a new HevcVectors");
    }
    bool whole = true;
    const std::vector<Bytes> nals =
        length_size_ > 0 ? split_lengths(packet, length_size_, &whole) : split_annex_b(packet);
    if (packet.size > 0 && nals.empty()) {
      whole = false;
    }
    bool begun = false;
    std::string trouble = whole ? "" : "its NAL units are broken";
    const auto note = [&](const char* text) {
      if (trouble.empty()) {
        trouble = text;
      }
    };
    for (const Bytes nal : nals) {
      if (!is_wanted(nal)) {
        continue;
      }
      if (!is_slice(nal_type(nal))) {
        decode(nal, index);
        continue;
      }
      const bool first = (nal.data[2] & 0x80) != 0;
      if (!first && !begun) {  // libde265 would draw it into the picture before
        note("its first slice is missing");
        continue;
      }
      const image_unit* last = units().empty() ? nullptr : units().back();
      const de265_error error = decode(nal, index);
      if (first) {
        begun = !units().empty() && units().back() != last;
        if (!begun) {
          note(error != DE265_OK ? de265_get_error_text(error) : "its header or parameter sets cannot be read");
        }
      }
      if (error == DE265_ERROR_IMAGE_BUFFER_FULL) {  // references that a damaged stream never releases
        restart();
        note("there were too many pictures at once; decoding starts anew");
        break;
      }
    }
    if (!trouble.empty()) {
      refuse("packet " + std::to_string(index) + " cannot be decoded: " + trouble);
    }
  }

  void flush() {
    if (ended_) {
      return;
    }
    ended_ = true;
    de265_flush_data(handle_.get());
    bool worked = true;
    while (worked && !units().empty()) {
      step([&] { return context().decode_some(&worked); });
    }
  }

  std::vector<Picture> pull() { return std::exchange(finished_, {}); }

 private:
  struct Free {
    void operator()(de265_decoder_context* handle) const { de265_free_decoder(handle); }
  };

  decoder_context& context() { return *reinterpret_cast<decoder_context*>(handle_.get()); }
  std::vector<image_unit*>& units() { return pictures_under_way(context()); }

  // Length fields and parameter sets; nothing changes where it throws.
  void read_extradata(Bytes extradata) {
    // The same test as FFmpeg's: hvcC begins with its version, 1, Annex-B with zeros.
    const bool hvcc = extradata.size > 3 && (extradata.data[0] != 0 || extradata.data[1] != 0 || extradata.data[2] > 1);
    size_t length_size = 0;
    const std::vector<Bytes> nals = hvcc ? split_hvcc(extradata, &length_size) : split_annex_b(extradata);
    length_size_ = length_size;
    parameter_sets_.clear();
    for (const Bytes nal : nals) {
      if (is_wanted(nal) && !is_slice(nal_type(nal))) {
        parameter_sets_.emplace_back(nal.data, nal.data + nal.size);
      }
    }
  }

  void restart() {
    handle_.reset();
    handle_.reset(de265_new_decoder());
    if (!handle_) {
      throw std::bad_alloc();
    }
    // Vectors need neither; the samples, where asked for, need both.
    de265_set_parameter_bool(handle_.get(), DE265_DECODER_PARAM_DISABLE_DEBLOCKING, !luma_);
    de265_set_parameter_bool(handle_.get(), DE265_DECODER_PARAM_DISABLE_SAO, !luma_);
    if (!luma_) {
      skip_samples(context().acceleration);
    }
    de265_get_security_limits(handle_.get())->max_NAL_size_bytes = INT_MAX;  // it is in memory already
    if (threads_ > 0 && de265_start_worker_threads(handle_.get(), threads_) != DE265_OK) {
      refuse("threads: they cannot be started");
    }
    for (const std::vector<uint8_t>& set : parameter_sets_) {
      decode({set.data(), set.size()}, 0);
    }
  }

  de265_error decode(Bytes nal, int64_t index) {
    if (nal.size > INT_MAX / 2) {
      return DE265_ERROR_NAL_SIZE_EXCEEDS_SECURITY_LIMIT;
    }
    de265_error error = de265_push_NAL(handle_.get(), nal.data, static_cast<int>(nal.size), index, nullptr);
    while (error == DE265_OK && context().nal_parser.get_NAL_queue_length() > 0) {
      error = step([&] { return context().decode(nullptr); });
    }
    while (de265_get_warning(handle_.get()) != DE265_OK) {  // its queue is short
    }
    return error;
  }

  // Takes over the picture that `work` finished. Now and not when libde265 shows it: by then its references may
  // have made room for others. Each piece of work finishes one picture at most.
  template <class Work>
  de265_error step(const Work& work) {
    const image_unit* front = units().empty() ? nullptr : units().front();
    const de265_image* image = front == nullptr ? nullptr : front->img;
    const de265_error error = work();
    const bool done = image != nullptr && (units().empty() || units().front() != front);
    // Pictures that are not to be shown, such as undecodable leading ones, are only references.
    if (done && image->PicOutputFlag) {
      finished_.push_back(read_picture(context(), *image, luma_));
    }
    while (de265_get_next_picture(handle_.get()) != nullptr) {  // makes room
    }
    return error;
  }

  const int threads_;
  const bool luma_;
  size_t length_size_ = 0;  // 0: Annex-B
  std::vector<std::vector<uint8_t>> parameter_sets_;
  std::unique_ptr<de265_decoder_context, Free> handle_;
  std::vector<Picture> finished_;
  bool ended_ = false;
};

Vectors::Vectors(Bytes extradata, int threads, bool luma)
    : decoder_(std::make_unique<Decoder>(extradata, threads, luma)) {}
Vectors::~Vectors() = default;

void Vectors::set_extradata(Bytes extradata) { decoder_->set_extradata(extradata); }
void Vectors::push(Bytes packet, int64_t index) { decoder_->push(packet, index); }
void Vectors::flush() { decoder_->flush(); }
std::vector<Picture> Vectors::pull() { return decoder_->pull(); }

}  // namespace arseg::hevc
