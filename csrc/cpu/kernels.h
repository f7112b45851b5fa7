#pragma once

#include "../creff/params.h"
#include "../local_attention/params.h"
#include "../mv_warp/params.h"
#include "../resize_labels/params.h"

// The kernels of one target, as the operators call them. The sources are compiled once for each target (avx512.cpp
// and its neighbours); capability.cpp chooses.
namespace arseg {

// Kernels that work on tiles. Each is a pair: the bytes of scratch that it needs, and one tile.
template <typename Params>
struct TileKernel {
  int64_t (*scratch)(const Params& params, int64_t pixels) = nullptr;
  void (*run)(const Params& params, int64_t pixels, const Tile& tile, void* scratch) = nullptr;
};

// What computes in one type.
struct AttentionKernels {
  int64_t lanes = 0;                // tiles are a multiple of this wide
  int64_t max_pixels = 0;           // and at most this wide
  Element stored = Element::Float;  // what a tile can write itself
  int64_t block_channels = 0;       // channels are padded to a multiple of this
  TileKernel<MapAttentionParams> attention;
  TileKernel<FusionParams> fusion;
  TileKernel<AttentionBackwardParams> backward_query, backward_key;  // never of bfloat16 pairs
};

// Copies rows [first, last) of N * H from one layout to another, same element.
struct CopyParams {
  Map from, to;
};

struct CpuKernels {
  const char* name;
  AttentionKernels float32, float64;
  AttentionKernels bfloat16;  // pairs of bfloat16; lanes is 0 where the target has no instruction for them
  int64_t (*warp_scratch)(const WarpParams& params);
  void (*warp)(const WarpParams& params, int64_t first_row, int64_t last_row, void* scratch);
  int64_t (*copy_scratch)(const CopyParams& params);
  void (*copy)(const CopyParams& params, int64_t first_row, int64_t last_row, void* scratch);
  int64_t (*resize_labels_scratch)(const ResizeLabelsParams& params);
  void (*resize_labels)(const ResizeLabelsParams& params, int64_t first_row, int64_t last_row, void* scratch);
};

}  // namespace arseg
