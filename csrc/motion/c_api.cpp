// The functions on block fields as python/arseg/_motion.py calls them, which has checked shapes and sizes.
#include "c_api.h"

#include <cstring>

#include "chain.h"
#include "hole_filling.h"
#include "pool.h"
#include "raster.h"
#include "step.h"
#include "unchain.h"

using namespace arseg::motion;

namespace {

struct CFrame {
  int32_t width, height, crop_left, crop_top;
  const uint8_t* luma;
  int64_t pitch;
  int32_t sample_bytes;
};

struct CReference {
  int32_t reach;  // Reference::Reach
  int32_t time;
  const void* vectors;
  const void* valid;
  const uint8_t* luma;
  int64_t pitch;
  int32_t sample_bytes;
};

ConstField field(const void* vectors, const void* valid) {
  return {static_cast<const Vec*>(vectors), static_cast<const uint8_t*>(valid)};
}

Field field(void* vectors, void* valid) { return {static_cast<Vec*>(vectors), static_cast<uint8_t*>(valid)}; }

Reference reference_of(const CReference& given) {
  Reference reference;
  reference.reach = static_cast<Reference::Reach>(given.reach);
  reference.to_key = field(given.vectors, given.valid);
  reference.luma = {given.luma, given.pitch, given.sample_bytes};
  reference.time = given.time;
  return reference;
}

}  // namespace

ARSEG_MOTION_API int32_t arseg_motion_interface() { return kInterface; }

ARSEG_MOTION_API const char* arseg_motion_error() { return last_error().c_str(); }

ARSEG_MOTION_API int32_t arseg_motion_rasterize(const void* records, int64_t count, int32_t width, int32_t height,
                                                void* vectors, void* valid) {
  return guarded([&] {
    References references;
    references.past.resize(1);
    references.past[0].reach = Reference::Reach::Key;
    Frame frame;
    frame.width = width;
    frame.height = height;
    const Field out = field(vectors, valid);
    draw(records, count, frame, references, 2, {out.vectors, out.valid});
  });
}

// `references`: those of list 0, then those of list 1; `key` is a frame, of which the luma alone is read.
ARSEG_MOTION_API int32_t arseg_motion_step(const void* records, int64_t count, const CFrame* frame, const CFrame* key,
                                           const CReference* references, int64_t past, int64_t future, void* vectors,
                                           void* valid, int64_t* holes) {
  return guarded([&] {
    References list;
    list.key = {key->luma, key->pitch, key->sample_bytes};
    for (int64_t i = 0; i < past + future; ++i) {
      (i < past ? list.past : list.future).push_back(reference_of(references[i]));
    }
    const Frame own{frame->width,
                    frame->height,
                    frame->crop_left,
                    frame->crop_top,
                    {frame->luma, frame->pitch, frame->sample_bytes}};
    *holes = step(records, count, own, list, field(vectors, valid));
  });
}

ARSEG_MOTION_API int32_t arseg_motion_fill_holes(const void* vectors, const void* valid, int64_t rows, int64_t cols,
                                                 void* filled) {
  return guarded([&] {
    std::memcpy(filled, vectors, static_cast<size_t>(rows * cols) * sizeof(Vec));
    fill_holes(static_cast<Vec*>(filled), static_cast<const uint8_t*>(valid), rows, cols);
  });
}

ARSEG_MOTION_API int32_t arseg_motion_chain(const void* step_vectors, const void* step_valid,
                                            const void* reference_vectors, const void* reference_valid, int64_t rows,
                                            int64_t cols, void* vectors, void* valid) {
  return guarded([&] {
    const ConstField hop = field(step_vectors, step_valid);
    Reference one_back;
    one_back.reach = Reference::Reach::Field;
    one_back.to_key = field(reference_vectors, reference_valid);
    const ChainTarget target{rows, cols, field(vectors, valid)};
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < cols; ++x) {
        const int64_t i = y * cols + x;
        chain_cell(target, y, x, hop.vectors[i], hop.valid[i] != 0, one_back);
      }
    }
  });
}

ARSEG_MOTION_API int32_t arseg_motion_unchain(const void* now_vectors, const void* now_valid, const void* other,
                                              int64_t rows, int64_t cols, int64_t cell, void* vectors, void* valid) {
  return guarded([&] {
    unchain(field(now_vectors, now_valid), static_cast<const Vec*>(other), rows, cols, cell, field(vectors, valid));
  });
}

ARSEG_MOTION_API int32_t arseg_motion_pool(const void* vectors, const void* valid, int64_t rows, int64_t cols,
                                           int32_t factor, void* out_vectors, void* out_valid) {
  return guarded([&] { pool(field(vectors, valid), rows, cols, factor, field(out_vectors, out_valid)); });
}
