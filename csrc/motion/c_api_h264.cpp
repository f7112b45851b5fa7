// The H.264 header reader as python/arseg/_motion.py calls it.
#include <memory>

#include "c_api.h"
#include "h264_reader.h"

using namespace arseg::motion;

namespace {

// Picture, with lists and texts that are valid until the next push to the same reader.
struct CPicture {
  int64_t index, poc, sequence;
  const int64_t* past;
  const int64_t* future;
  int64_t past_count, future_count;
  const char* kind;
  const char* error;
  int32_t recovery, frame_num, entries, gap, references, slices;
  int32_t crop_left, crop_top, crop_right, crop_bottom, width, height;
  uint8_t idr, reference, weighted, started, interlaced, changed, reorders;
};

struct OpenReader {
  h264::Reader reader;
  h264::Picture picture;  // of the last push
};

CPicture view_of(const h264::Picture& p) {
  CPicture c{};
  c.index = p.index;
  c.poc = p.poc;
  c.sequence = p.sequence;
  c.past = p.past.data();
  c.future = p.future.data();
  c.past_count = static_cast<int64_t>(p.past.size());
  c.future_count = static_cast<int64_t>(p.future.size());
  c.kind = p.kind.c_str();
  c.error = p.error.c_str();
  c.recovery = p.recovery;
  c.frame_num = p.frame_num;
  c.entries = p.entries;
  c.gap = p.gap;
  c.references = p.references;
  c.slices = p.slices;
  c.crop_left = p.crop_left;
  c.crop_top = p.crop_top;
  c.crop_right = p.crop_right;
  c.crop_bottom = p.crop_bottom;
  c.width = p.width;
  c.height = p.height;
  c.idr = p.idr;
  c.reference = p.reference;
  c.weighted = p.weighted;
  c.started = p.started;
  c.interlaced = p.interlaced;
  c.changed = p.changed;
  c.reorders = p.reorders;
  return c;
}

}  // namespace

ARSEG_MOTION_API int32_t arseg_h264_open(const uint8_t* extradata, int64_t size, OpenReader** reader) {
  return guarded([&] { *reader = new OpenReader{{extradata, static_cast<size_t>(size)}, {}}; });
}

ARSEG_MOTION_API void arseg_h264_close(OpenReader* reader) { delete reader; }

ARSEG_MOTION_API int32_t arseg_h264_set_extradata(OpenReader* reader, const uint8_t* extradata, int64_t size) {
  return guarded([&] { reader->reader.set_extradata(extradata, static_cast<size_t>(size)); });
}

ARSEG_MOTION_API const char* arseg_h264_extradata_error(const OpenReader* reader) {
  return reader->reader.extradata_error().c_str();
}

ARSEG_MOTION_API int32_t arseg_h264_push(OpenReader* reader, const uint8_t* packet, int64_t size, CPicture* picture) {
  return guarded([&] {
    reader->picture = reader->reader.push(packet, static_cast<size_t>(size));
    *picture = view_of(reader->picture);
  });
}
