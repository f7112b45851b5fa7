// The sizes that the CUDA kernels are compiled with, from the traits of csrc/*/params.h, as lines of "name value" for
// kernel_traits.py. Needs neither CUDA nor torch.
#include <cstdio>

#include "creff/params.h"
#include "depthwise/params.h"
#include "local_attention/params.h"
#include "mv_warp/params.h"
#include "resize_labels/params.h"
#include "upsample/params.h"

int main() {
  using namespace arseg::gpu;
  const auto print = [](const char* name, long long value) { std::printf("%s %lld\n", name, value); };
#define ARSEG_TRAIT(name) print(#name, name)
  ARSEG_TRAIT(AttentionTraits::kMaxTiledWindow);
  ARSEG_TRAIT(AttentionTraits::Mma::kTileHeight);
  ARSEG_TRAIT(AttentionTraits::Mma::kTileWidth);
  ARSEG_TRAIT(AttentionTraits::Mma::kWarps);
  ARSEG_TRAIT(AttentionTraits::Mma::kThreads);
  ARSEG_TRAIT(AttentionTraits::Mma::kSmallChunk);
  ARSEG_TRAIT(AttentionTraits::Mma::kLargeChunk);
  for (int window = 3; window <= AttentionTraits::kMaxTiledWindow; window += 2) {
    char name[64];
    std::snprintf(name, sizeof name, "AttentionTraits::Mma::blocks_of_multiprocessor(%d)", window);
    print(name, AttentionTraits::Mma::blocks_of_multiprocessor(window));
    std::snprintf(name, sizeof name, "AttentionTraits::Simt::forward_threads(%d)", window);
    print(name, AttentionTraits::Simt::threads(AttentionTraits::Simt::forward_pixels(window)));
  }
  ARSEG_TRAIT(AttentionTraits::Simt::kTileHeight);
  ARSEG_TRAIT(AttentionTraits::Simt::kTileWidth);
  ARSEG_TRAIT(AttentionTraits::Simt::kChunk);
  print("AttentionTraits::Simt::backward_threads",
        AttentionTraits::Simt::threads(AttentionTraits::Simt::kBackwardPixels));
  ARSEG_TRAIT(AttentionTraits::Fallback::kThreads);
  ARSEG_TRAIT(CreffTraits::Depthwise::kTile);
  ARSEG_TRAIT(CreffTraits::Depthwise::kThreads);
  ARSEG_TRAIT(CreffTraits::Depthwise::kThreadsOfPixel);
  ARSEG_TRAIT(CreffTraits::Depthwise::kBlocksOfMultiprocessor);
  ARSEG_TRAIT(CreffTraits::Depthwise::kBlocksWithSums);
  ARSEG_TRAIT(CreffTraits::Depthwise::kShared);
  ARSEG_TRAIT(CreffTraits::Mma::kThreads);
  ARSEG_TRAIT(CreffTraits::Mma::kChannels);
  ARSEG_TRAIT(CreffTraits::Mma::kClasses);
  ARSEG_TRAIT(CreffTraits::Mma::kFewClasses);
  ARSEG_TRAIT(CreffTraits::Classify::kThreads);
  ARSEG_TRAIT(CreffTraits::Pack::kThreads);
  ARSEG_TRAIT(DepthwiseTraits::kThreads);
  ARSEG_TRAIT(DepthwiseTraits::kBlocksOfMultiprocessor);
  ARSEG_TRAIT(DepthwiseTraits::kRows);
  ARSEG_TRAIT(WarpTraits::kThreads);
  ARSEG_TRAIT(WarpTraits::kSortedEntries);
  ARSEG_TRAIT(WarpTraits::kStrips);
  ARSEG_TRAIT(WarpTraits::kPieceEntries);
  ARSEG_TRAIT(ResizeLabelsTraits::kThreads);
  ARSEG_TRAIT(UpsampleTraits::kThreads);
  return 0;
}
