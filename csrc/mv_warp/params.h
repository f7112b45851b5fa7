// What the kernels of the warps are given, and the sizes that they are compiled with. No torch.
#pragma once

#include <cstdint>

#include "../common/base.h"
#include "../cpu/map.h"

namespace arseg {

// Aligned: a displacement of 0 is the identity.
// Legacy: the grid of the published checkpoints, normalised as align_corners=True and sampled as
// align_corners=False, which stretches the map by size / (size - 1) and shifts it by half a pixel.
enum class Grid { Aligned, Legacy };

// The geometry of a block field along one axis.
struct BlockAxis {
  int64_t size;    // feature pixels
  int64_t frame;   // video pixels
  int64_t block;   // video pixels a block
  int64_t blocks;  // blocks in the field
};

// --- on the CPU ------------------------------------------------------------------------------------------------------

// A block field (int16 [N, Hb, Wb, 2] in quarter video pixels) or, with no block tables, a dense flow
// ([N, H, W, 2] in feature pixels). Strides in elements.
struct MotionParams {
  const void* data = nullptr;
  Element element = Element::Float;  // of a dense flow
  int64_t stride[4] = {0, 0, 0, 0};
  const int32_t* block_row = nullptr;     // [H]: the block of each feature row
  const int32_t* block_column = nullptr;  // [W]
  double x_scale = 0, y_scale = 0;        // feature pixels for one unit of a vector
  Grid grid = Grid::Aligned;
};

// Warps rows [first, last) of the N * H rows of `out`. The channels of `feature` lie together.
struct WarpParams {
  Map feature, out;  // [N, C, H, W]
  MotionParams motion;
  bool streaming = false;  // streaming stores
};

// --- on CUDA ---------------------------------------------------------------------------------------------------------

namespace gpu {

struct WarpTraits {
  static constexpr int kThreads = 256;
  static constexpr int kMaxThreadsOfPixel = 32;  // a warp
  static constexpr int kVectorsOfThread = 2;     // of channels, at a time
  // Pixels of a block lie in up to four rows, whose taps share lines of the first-level cache.
  static constexpr int kRows = 4;
  static constexpr ARSEG_HD int tile_rows(int pixels) { return pixels >= 16 ? kRows : 1; }
  // That a map should have before a warp works on more pixels than it can at a time.
  static constexpr int kEnoughWarps = 8192;

  // The gradient of the feature.
  static constexpr int kVectorsOfSum = 4;     // that a thread adds up at a time: what an entry costs is shared by them
  static constexpr int kSortedEntries = 128;  // of a list that one thread sorts; 2^7 for the runs of sort_list
  static constexpr int kStrips = 256;         // of an image, for the counting sort of longer lists
  static constexpr int kPieceEntries = 256;   // that are added up at a time
  static constexpr int kMaxListBlocks = 1 << 20, kMaxLongListBlocks = 1024;
};

// block_of of math.h with a multiplication in place of the division: exact while 2 * size * frame and
// 2 * size * block fit 32 bits.
struct BlockIndex {
  uint64_t reciprocal = 0;  // 2^64 / (2 * size * block), rounded up
  uint32_t frame = 0;
  int last = 0;

  BlockIndex() = default;
  explicit BlockIndex(const BlockAxis& axis)
      : reciprocal(~uint64_t{0} / static_cast<uint64_t>(2 * axis.size * axis.block) + 1),
        frame(static_cast<uint32_t>(axis.frame)),
        last(static_cast<int>(axis.blocks - 1)) {}

  ARSEG_HD int of(int pixel) const {
    const uint64_t scaled = (2 * static_cast<uint32_t>(pixel) + 1) * frame;
    const uint64_t low = scaled * static_cast<uint32_t>(reciprocal) >> 32;
    const int block = static_cast<int>((scaled * (reciprocal >> 32) + low) >> 32);
    return block < last ? block : last;
  }
};

// Feature pixels for one quarter of a video pixel, in the precision that a kernel works in.
struct QuarterPel {
  double wide = 0;
  float single = 0;

  template <typename A>
  ARSEG_HD A as() const {
    if constexpr (std::is_same_v<A, double>) return wide;
    return single;
  }
};

// A block field (int16 [N, Hb, Wb, 2] in quarter video pixels) or a dense flow ([N, H, W, 2] in feature pixels) for
// maps of height x width. Strides in elements.
struct MotionParams {
  const void* data = nullptr;
  bool dense = false;
  Element element = Element::Float;  // of a dense flow
  int64_t stride[4] = {0, 0, 0, 0};
  BlockIndex block_row, block_column;  // of a block field
  QuarterPel y_scale, x_scale;
  int height = 0, width = 0;
  Grid grid = Grid::Aligned;
};

// Maps are dense channels-last.
template <typename T>
struct WarpParams {
  const T* feature;        // [N, H, W, C]; forward: what is warped; backward: the gradient of the result
  int64_t feature_stride;  // from one image to the next; 0 where all are one
  T* out;                  // [N, H, W, C]; forward: the result; backward: the gradient of what was warped
  int64_t batch;
  int channels;
  MotionParams motion;
};

template <typename T, typename F>
struct FlowGradientParams {
  const T* grad;     // [N, H, W, C]
  const T* feature;  // [N, H, W, C]
  bool one_feature;  // for all images of the batch
  F* out;            // [N, H, W, 2]
  int64_t batch;
  int channels;
  MotionParams motion;
};

}  // namespace gpu
}  // namespace arseg
