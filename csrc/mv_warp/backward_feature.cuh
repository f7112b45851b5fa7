// The gradient of what was warped, on CUDA.
//
// The forward gathers, so its transpose scatters; sums by float atomics would come in another order each time. Instead
// each pixel of the feature gets a list of the taps that read it, put in order before it is added up: the same bits
// every time, at the price of one integer exchange a tap.
//
// Usual lists have four entries, and a thread sorts each. MotionParams may send any number of pixels to one, up to all
// of them: what a thread does must not grow with that. Lists of more than WarpTraits::kSortedEntries entries are put in
// order by a counting sort instead: the image's pixels are cut into strips, each list's entries from each strip are
// counted, so that each strip knows where its own go, and a warp a strip puts them there. They are added up in pieces,
// and the pieces then.
#pragma once

#include "forward.cuh"

namespace arseg::gpu {

// heads: [N, H, W], next: [N, H, W, 4]. An entry is 4 * (y * W + x) + tap of a pixel of the result; -1 ends a list.
// -2 - k in heads: long list k of the image.
struct TapLists {
  int32_t* heads;
  int32_t* next;
};

// No pixel is in a list twice, so that small images have no long lists. They have 4 * pixels entries in all.
inline int64_t max_long_lists(int64_t pixels) {
  return pixels > WarpTraits::kSortedEntries ? 4 * pixels / (WarpTraits::kSortedEntries + 1) : 0;
}
inline int64_t max_pieces(int64_t pixels) {
  return max_long_lists(pixels) > 0 ? 4 * pixels / WarpTraits::kPieceEntries + max_long_lists(pixels) : 0;
}

struct Piece {
  int32_t first, count;
};

// What there is of an image, each from -1 on, as all of TapLists.heads is -1 at first: one fill for both.
struct LongCounts {
  int32_t lists, entries, pieces;
};

struct LongLists {
  int32_t lists, pieces;  // of an image, at most
  LongCounts* counts;     // [N]
  int32_t*
      strips;  // [N, lists, WarpTraits::kStrips]: entries from that strip, then where in `entries` its next one goes
  int32_t* entries;  // [N, H, W, 4]
  Piece* of_list;    // [N, lists], in `of_piece`
  Piece* of_piece;   // [N, pieces], in `entries`

  // 32-bit words for a batch, counts apart.
  static int64_t words(int64_t batch, int64_t pixels) {
    const int64_t lists = max_long_lists(pixels);
    return lists == 0 ? 0 : batch * (lists * (WarpTraits::kStrips + 2) + 4 * pixels + 2 * max_pieces(pixels));
  }

  LongLists(LongCounts* counts, int32_t* words, int64_t batch, int64_t pixels)
      : lists(static_cast<int32_t>(max_long_lists(pixels))),
        pieces(static_cast<int32_t>(max_pieces(pixels))),
        counts(counts),
        strips(words),
        entries(strips + batch * lists * WarpTraits::kStrips),
        of_list(reinterpret_cast<Piece*>(entries + batch * 4 * pixels)),
        of_piece(of_list + batch * lists) {}
};

// A length of the strips of an image, in pixels.
ARSEG_DEVICE int strip_length(int64_t pixels) {
  return static_cast<int>((pixels + WarpTraits::kStrips - 1) / WarpTraits::kStrips);
}

// weights: [N, H, W, 4], of the entries. A warp's pixels are in one row.
template <typename A>
__global__ void __launch_bounds__(WarpTraits::kThreads)
    link_taps(MotionParams motion, int64_t batch, TapLists lists, A* weights) {
  const int64_t plane = static_cast<int64_t>(motion.height) * motion.width;
  const int lane = static_cast<int>(threadIdx.y) % 32;
  for_pixels(batch, motion.height, [&](int64_t n, int y, int x) {
    const bool inside = x < motion.width;
    const auto taps = taps_of<A>(motion, n, y, inside ? x : 0);
    const int64_t pixel = static_cast<int64_t>(y) * motion.width + x;
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      const bool used = inside && taps.used(i);
      const int32_t target = used ? static_cast<int32_t>(taps.pixel(i, motion.width)) : -1;
      const int32_t entry = static_cast<int32_t>(4 * pixel + i);
      int32_t* const next = lists.next + n * 4 * plane;
      if (used) weights[n * 4 * plane + entry] = taps.weight[i];
      // Where a whole warp reads one pixel, it is one exchange: those of one address are made one after another.
      const int32_t target_of_first = __shfl_sync(kAllLanes, target, 0);
      if (__all_sync(kAllLanes, used && target == target_of_first)) {
        int32_t before = 0;
        if (lane == 0) before = atomicExch(lists.heads + n * plane + target, entry);
        before = __shfl_sync(kAllLanes, before, 0);
        next[entry] = lane < 31 ? entry + 4 : before;
      } else if (used) {
        next[entry] = atomicExch(lists.heads + n * plane + target, entry);
      }
    }
  });
}

// Two ordered lists as one.
ARSEG_DEVICE int32_t merge_lists(int32_t* next, int32_t a, int32_t b) {
  int32_t head = -1, tail = -1;
  while (a >= 0 && b >= 0) {
    count_step();
    int32_t& least = a < b ? a : b;
    const int32_t entry = least;
    least = next[entry];
    if (tail >= 0) {
      next[tail] = entry;
    } else {
      head = entry;
    }
    tail = entry;
  }
  const int32_t rest = a >= 0 ? a : b;
  if (tail < 0) return rest;
  next[tail] = rest;
  return head;
}

// Merge sort: runs[i] is empty or an ordered list of 2^i entries, as the digits of a binary counter.
ARSEG_DEVICE int32_t sort_list(int32_t* next, int32_t entry) {
  constexpr int kRuns = 8;  // of up to WarpTraits::kSortedEntries entries
  int32_t runs[kRuns];
  for (int i = 0; i < kRuns; ++i) runs[i] = -1;
  while (entry >= 0) {
    count_step();
    const int32_t following = next[entry];
    next[entry] = -1;
    int i = 0;
    while (runs[i] >= 0) {
      entry = merge_lists(next, runs[i], entry);
      runs[i++] = -1;
    }
    runs[i] = entry;
    entry = following;
  }
  int32_t sorted = -1;
  for (int i = 0; i < kRuns; ++i) {
    if (runs[i] >= 0) sorted = merge_lists(next, runs[i], sorted);
  }
  return sorted;
}

// An ordered list of the entries of an unordered one, in registers, if they are no more than MOST; else -1, and nothing
// is changed.
template <int MOST>
ARSEG_DEVICE int32_t sort_short_list(int32_t* next, int32_t head) {
  constexpr int32_t kNone = INT32_MAX;
  int32_t entries[MOST];
  int32_t entry = head;
  ARSEG_UNROLL
  for (int i = 0; i < MOST; ++i) {
    entries[i] = entry >= 0 ? entry : kNone;
    if (entry >= 0) entry = next[entry];
  }
  if (entry >= 0) return -1;
  ARSEG_UNROLL
  for (int last = MOST - 1; last > 0; --last) {
    ARSEG_UNROLL
    for (int i = 0; i < last; ++i) {
      const int32_t least = min(entries[i], entries[i + 1]), most = max(entries[i], entries[i + 1]);
      entries[i] = least;
      entries[i + 1] = most;
    }
  }
  ARSEG_UNROLL
  for (int i = 0; i < MOST; ++i) {
    if (entries[i] != kNone) next[entries[i]] = i + 1 < MOST && entries[i + 1] != kNone ? entries[i + 1] : -1;
  }
  return entries[0];
}

// Whether a list has more than WarpTraits::kSortedEntries entries.
ARSEG_DEVICE bool is_long(const int32_t* next, int32_t entry) {
  int count = 0;
  for (; entry >= 0 && count <= WarpTraits::kSortedEntries; entry = next[entry]) {
    count_step();
    ++count;
  }
  return count > WarpTraits::kSortedEntries;
}

// One thread a list: sorts it, or makes it a long one.
static __global__ void __launch_bounds__(WarpTraits::kThreads)
    sort_taps(int64_t pixels_of_image, int64_t count, TapLists lists, LongLists longs) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int32_t head = lists.heads[i];
    if (head < 0) continue;
    const int64_t n = i / pixels_of_image;
    int32_t* next = lists.next + n * 4 * pixels_of_image;
    if (next[head] < 0) continue;
    // Up to four taps come from one smooth piece of motion, and few pixels are where more than a few pieces meet.
    int32_t sorted = sort_short_list<8>(next, head);
    if (sorted < 0) sorted = sort_short_list<24>(next, head);
    if (sorted < 0 && longs.lists > 0 && is_long(next, head)) {
      const int32_t k = atomicAdd(&longs.counts[n].lists, 1) + 1;
      int32_t* strips = longs.strips + (n * longs.lists + k) * WarpTraits::kStrips;
      for (int strip = 0; strip < WarpTraits::kStrips; ++strip) strips[strip] = 0;
      lists.heads[i] = -2 - k;
      continue;
    }
    lists.heads[i] = sorted >= 0 ? sorted : sort_list(next, head);
  }
}

// The long list that a tap is in, or -1.
template <typename A>
ARSEG_DEVICE int32_t long_list_of(const PixelTaps<A>& taps, int i, const int32_t* heads, int width) {
  if (!taps.used(i)) return -1;
  const int32_t head = heads[taps.pixel(i, width)];
  return head <= -2 ? -2 - head : -1;
}

template <typename A>
__global__ void __launch_bounds__(WarpTraits::kThreads)
    count_long_taps(MotionParams motion, int64_t batch, TapLists lists, LongLists longs) {
  const int64_t plane = static_cast<int64_t>(motion.height) * motion.width;
  const int length = strip_length(plane);
  for_pixels(batch, motion.height, [&](int64_t n, int y, int x) {
    if (x >= motion.width || longs.counts[n].lists < 0) return;
    const auto taps = taps_of<A>(motion, n, y, x);
    const int strip = static_cast<int>(static_cast<int64_t>(y) * motion.width + x) / length;
    ARSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int32_t k = long_list_of(taps, i, lists.heads + n * plane, motion.width);
      if (k >= 0) atomicAdd(longs.strips + (n * longs.lists + k) * WarpTraits::kStrips + strip, 1);
    }
  });
}

// Counts into places; a warp a list.
static __global__ void __launch_bounds__(WarpTraits::kThreads) place_strips(int64_t batch, LongLists longs) {
  constexpr int kOfLane = WarpTraits::kStrips / 32;
  const int lane = static_cast<int>(threadIdx.x);
  for (int64_t n = blockIdx.y; n < batch; n += gridDim.y) {
    LongCounts* counts = longs.counts + n;
    const int lists = counts->lists + 1;
    for (int k = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y); k < lists;
         k += static_cast<int>(gridDim.x * blockDim.y)) {
      count_step();
      int32_t* strips = longs.strips + (n * longs.lists + k) * WarpTraits::kStrips + lane * kOfLane;
      int32_t own = 0;
      for (int i = 0; i < kOfLane; ++i) own += strips[i];
      int32_t through = own;
      for (int step = 1; step < 32; step *= 2) {
        const int32_t other = __shfl_up_sync(kAllLanes, through, step);
        if (lane >= step) through += other;
      }
      const int32_t count = __shfl_sync(kAllLanes, through, 31);
      const int32_t pieces = (count + WarpTraits::kPieceEntries - 1) / WarpTraits::kPieceEntries;
      int32_t first = 0, first_piece = 0;
      if (lane == 0) {
        first = atomicAdd(&counts->entries, count) + 1;
        first_piece = atomicAdd(&counts->pieces, pieces) + 1;
        longs.of_list[n * longs.lists + k] = {first_piece, pieces};
      }
      first = __shfl_sync(kAllLanes, first, 0);
      first_piece = __shfl_sync(kAllLanes, first_piece, 0);
      int32_t at = first + through - own;
      for (int i = 0; i < kOfLane; ++i) {
        const int32_t entries = strips[i];
        strips[i] = at;
        at += entries;
      }
      for (int32_t piece = lane; piece < pieces; piece += 32) {
        count_step();
        longs.of_piece[n * longs.pieces + first_piece + piece] = {
            first + piece * WarpTraits::kPieceEntries,
            min(WarpTraits::kPieceEntries, count - piece * WarpTraits::kPieceEntries)};
      }
    }
  }
}

// A warp a strip: the entries of long lists, in the order of the pixels but for the four taps of 32 pixels.
template <typename A>
__global__ void __launch_bounds__(WarpTraits::kThreads)
    place_long_taps(MotionParams motion, int64_t batch, TapLists lists, LongLists longs) {
  const int64_t plane = static_cast<int64_t>(motion.height) * motion.width;
  const int length = strip_length(plane), lane = static_cast<int>(threadIdx.x);
  const int strip = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y);
  const int64_t begin = static_cast<int64_t>(strip) * length;
  const int64_t end = begin + length < plane ? begin + length : plane;
  for (int64_t n = blockIdx.y; n < batch; n += gridDim.y) {
    if (longs.counts[n].lists < 0) continue;
    for (int64_t group = begin; group < end; group += 32) {
      count_step();
      const int64_t pixel = group + lane;
      const bool inside = pixel < end;
      const int y = inside ? static_cast<int>(pixel / motion.width) : 0;
      const int x = inside ? static_cast<int>(pixel - static_cast<int64_t>(y) * motion.width) : 0;
      const auto taps = taps_of<A>(motion, n, y, x);
      ARSEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int32_t k = inside ? long_list_of(taps, i, lists.heads + n * plane, motion.width) : -1;
        if (!__any_sync(kAllLanes, k >= 0)) continue;
        int leader = 32, before = 0, all = 0;
        ARSEG_NO_UNROLL
        for (int other = 0; other < 32; ++other) {
          if (__shfl_sync(kAllLanes, k, other) != k) continue;
          leader = min(leader, other);
          before += other < lane;
          ++all;
        }
        int32_t at = 0;
        if (k >= 0 && leader == lane) {
          int32_t* next = longs.strips + (n * longs.lists + k) * WarpTraits::kStrips + strip;
          at = *next;
          *next = at + all;
        }
        at = __shfl_sync(kAllLanes, at, leader);
        if (k >= 0) longs.entries[n * 4 * plane + at + before] = static_cast<int32_t>(4 * pixel + i);
        __syncwarp(kAllLanes);  // the next that leads the list may be another lane
      }
    }
  }
}

// Calls run(c, step) for this thread's channels: those of WarpTraits::kVectorsOfSum vectors, the first from c on and
// each `step` after the one before.
template <typename T, typename F>
ARSEG_DEVICE void for_channels(int channels, F&& run) {
  const int step = static_cast<int>(blockDim.x) * kVector<T>;
  for (int c = static_cast<int>(threadIdx.x) * kVector<T>; c < channels; c += WarpTraits::kVectorsOfSum * step)
    run(c, step);
}

// Stores what for_channels gave; nothing past `channels`.
template <typename T>
ARSEG_DEVICE void store_vectors(T* to, int channels, int c, int step,
                                const accumulator<T> (&values)[WarpTraits::kVectorsOfSum][kVector<T>]) {
  ARSEG_UNROLL
  for (int k = 0; k < WarpTraits::kVectorsOfSum; ++k) {
    if (c + k * step < channels) store_vector(to + c + k * step, values[k]);
  }
}

// Adds what the entry's pixel of the result gave, for the channels that for_channels calls with.
template <typename T>
ARSEG_DEVICE void add_tap(const T* grad, int channels, int c, int step, int32_t entry, accumulator<T> weight,
                          accumulator<T> (&sums)[WarpTraits::kVectorsOfSum][kVector<T>]) {
  const T* from = grad + static_cast<int64_t>(entry / 4) * channels + c;
  ARSEG_UNROLL
  for (int k = 0; k < WarpTraits::kVectorsOfSum; ++k) {
    if (c + k * step >= channels) continue;
    accumulator<T> values[kVector<T>];
    load_vector(from + k * step, values);
    ARSEG_UNROLL
    for (int e = 0; e < kVector<T>; ++e) sums[k][e] += weight * values[e];
  }
}

// partial: [N, pieces, channels].
template <typename T>
__global__ void __launch_bounds__(WarpTraits::kThreads)
    sum_pieces(WarpParams<T> a, LongLists longs, const accumulator<T>* weights, accumulator<T>* partial) {
  using A = accumulator<T>;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * a.motion.width;
  for (int64_t n = blockIdx.y; n < a.batch; n += gridDim.y) {
    const int pieces = longs.counts[n].pieces + 1;
    for (int p = static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y); p < pieces;
         p += static_cast<int>(gridDim.x * blockDim.y)) {
      const Piece piece = longs.of_piece[n * longs.pieces + p];
      const int32_t* entries = longs.entries + n * 4 * plane + piece.first;
      for_channels<T>(a.channels, [&](int c, int step) {
        A sums[WarpTraits::kVectorsOfSum][kVector<T>] = {};
        for (int32_t i = 0; i < piece.count; ++i) {
          count_step();
          add_tap(a.feature + n * a.feature_stride, a.channels, c, step, entries[i],
                  weights[n * 4 * plane + entries[i]], sums);
        }
        A* to = partial + (n * longs.pieces + p) * a.channels + c;
        ARSEG_UNROLL
        for (int k = 0; k < WarpTraits::kVectorsOfSum; ++k) {
          if (c + k * step >= a.channels) continue;
          ARSEG_UNROLL
          for (int e = 0; e < kVector<T>; ++e) to[k * step + e] = sums[k][e];
        }
      });
    }
  }
}

// feature: the gradient of the result. out: the gradient of the feature.
template <typename T>
__global__ void __launch_bounds__(WarpTraits::kThreads)
    gather_taps(WarpParams<T> a, TapLists lists, LongLists longs, const accumulator<T>* weights,
                const accumulator<T>* partial) {
  using A = accumulator<T>;
  const int width = a.motion.width;
  const int64_t plane = static_cast<int64_t>(a.motion.height) * width;
  for_pixels(a.batch, a.motion.height, [&](int64_t n, int y, int x) {
    if (x >= width) return;
    const int64_t pixel = n * plane + static_cast<int64_t>(y) * width + x;
    const int32_t head = lists.heads[pixel];
    for_channels<T>(a.channels, [&](int c, int step) {
      A sums[WarpTraits::kVectorsOfSum][kVector<T>] = {};
      if (head <= -2) {
        const Piece pieces = longs.of_list[n * longs.lists + (-2 - head)];
        const A* from = partial + (n * longs.pieces + pieces.first) * a.channels + c;
        ARSEG_NO_UNROLL
        for (int32_t p = 0; p < pieces.count; ++p, from += a.channels) {
          count_step();
          ARSEG_UNROLL
          for (int k = 0; k < WarpTraits::kVectorsOfSum; ++k) {
            if (c + k * step >= a.channels) continue;
            ARSEG_UNROLL
            for (int e = 0; e < kVector<T>; ++e) sums[k][e] += from[k * step + e];
          }
        }
      }
      for (int32_t entry = head; entry >= 0; entry = lists.next[n * 4 * plane + entry]) {
        count_step();
        add_tap(a.feature + n * a.feature_stride, a.channels, c, step, entry, weights[n * 4 * plane + entry], sums);
      }
      store_vectors(a.out + pixel * a.channels, a.channels, c, step, sums);
    });
  });
}

// What launch_warp_backward needs: 32-bit words, of which the first `minus_ones` must be -1, and sums.
struct FeatureGradientMemory {
  int64_t minus_ones, words, weights, partial;

  FeatureGradientMemory(int64_t batch, int64_t pixels, int64_t channels)
      : minus_ones(batch * (pixels + 3)),
        words(minus_ones + batch * 4 * pixels + LongLists::words(batch, pixels)),
        weights(batch * 4 * pixels),
        partial(batch * max_pieces(pixels) * channels) {}
};

// words, sums: see FeatureGradientMemory; sums has the weights first. 4 * H * W fits 31 bits.
template <typename T>
void launch_warp_backward(const WarpParams<T>& a, int32_t* words, accumulator<T>* sums, void* stream) {
  using A = accumulator<T>;
  const MotionParams& m = a.motion;
  const int64_t plane = static_cast<int64_t>(m.height) * m.width, count = a.batch * plane;
  const TapLists lists{words, words + count + 3 * a.batch};
  const LongLists longs(reinterpret_cast<LongCounts*>(words + count), lists.next + 4 * count, a.batch, plane);
  A* const partial = sums + 4 * count;
  const PixelGrid one = pixel_grid<T>(a.batch, m.height, m.width, 1);
  ARSEG_LAUNCH(link_taps<A>, one.grid, one.block, 0, stream, m, a.batch, lists, sums);
  const dim3 blocks(blocks_for(count, WarpTraits::kThreads, WarpTraits::kMaxListBlocks));
  ARSEG_LAUNCH(sort_taps, blocks, dim3(WarpTraits::kThreads), 0, stream, plane, count, lists, longs);
  const PixelGrid g = pixel_grid<T, WarpTraits::kVectorsOfSum>(a.batch, m.height, m.width, a.channels);
  if (longs.lists > 0) {  // there may be some: these end at once where there are none
    const dim3 warps(32, WarpTraits::kThreads / 32);
    const unsigned images = blocks_for(a.batch, 1, kMaxGridRows);
    const auto enough = [](int64_t items, unsigned of_block) {
      return blocks_for(items, of_block, WarpTraits::kMaxLongListBlocks);
    };
    ARSEG_LAUNCH(count_long_taps<A>, one.grid, one.block, 0, stream, m, a.batch, lists, longs);
    ARSEG_LAUNCH(place_strips, dim3(enough(longs.lists, warps.y), images), warps, 0, stream, a.batch, longs);
    ARSEG_LAUNCH(place_long_taps<A>, dim3(WarpTraits::kStrips / warps.y, images), warps, 0, stream, m, a.batch, lists,
                 longs);
    ARSEG_LAUNCH(sum_pieces<T>, dim3(enough(longs.pieces, g.block.y), images), g.block, 0, stream, a, longs, sums,
                 partial);
  }
  ARSEG_LAUNCH(gather_taps<T>, g.grid, g.block, 0, stream, a, lists, longs, sums, partial);
}

}  // namespace arseg::gpu
