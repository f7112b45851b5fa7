// What the kernels of local attention are given, and the sizes that they are compiled with. No torch.
#pragma once

#include <cstdint>

#include "../common/base.h"
#include "../cpu/map.h"

namespace arseg {

// What a key outside the image is. Zero: it stays in the softmax with logit 0 and value 0, as in the
// published networks. Masked: it is left out.
enum class Outside { Zero, Masked };

struct Window {
  int64_t height, width;  // odd

  int64_t keys() const { return height * width; }
  int64_t y_radius() const { return height / 2; }
  int64_t x_radius() const { return width / 2; }
};

// --- on the CPU ------------------------------------------------------------------------------------------------------

// Where the result of a tile goes.
struct AttentionParams {
  Map out;  // [N, Cv, H, W]; for labels: the shape alone, with classes for channels
  Window window{};
  Outside outside = Outside::Zero;
  void* logsumexp = nullptr;  // [N, H, W] of the type that computes, or null
  uint8_t* labels = nullptr;  // [N, H, W]: the class of the largest logit, instead of `out`
  bool direct = false;        // `out` has the type that computes, channels together, as many as are written
  bool streaming = false;     // and is aligned and large: streaming stores
};

struct MapAttentionParams : AttentionParams {
  Map query, key;  // [N, C, H, W]
  Map value;       // [N, Cv, H, W]
  double scale = 1;
};

struct AttentionBackwardParams {
  Map grad;              // [N, Cv, H, W]
  Map query, key;        // [N, C, H, W]
  Map value;             // [N, Cv, H, W]
  Map logsumexp, delta;  // [N, 1, H, W], of the type that computes
  Map grad_query, grad_key, grad_value;
  Window window{};
  Outside outside = Outside::Zero;
  double scale = 1;
};

// A strip of columns and a band of rows.
struct Tile {
  int64_t n, x, y_begin, y_end;
};

// --- on CUDA ---------------------------------------------------------------------------------------------------------

namespace gpu {

// Tiles in pixels, chunks in channels.
struct AttentionTraits {
  static constexpr int kMaxTiledWindow = 9;  // side of a square window; larger ones are the fallback's

  // Tensor cores: a block has a tile, each warp of it a patch; chunks of the small size while both maps fit one.
  struct Mma {
    static constexpr int kTileHeight = 8, kTileWidth = 16, kPatchHeight = 2, kPatchWidth = 8;
    static constexpr int kWarps = kTileHeight * kTileWidth / (kPatchHeight * kPatchWidth), kThreads = 32 * kWarps;
    static constexpr int kSmallChunk = 32, kLargeChunk = 64;
    static constexpr int blocks_of_multiprocessor(int window) { return window <= 7 ? 2 : 1; }
  };

  // float32: a thread has one or two pixels, one below the other.
  struct Simt {
    static constexpr int kTileHeight = 16, kTileWidth = 16, kChunk = 8;
    static constexpr int forward_pixels(int window) { return window <= 7 ? 2 : 1; }
    static constexpr int kBackwardPixels = 1;
    static constexpr int threads(int pixels) { return kTileHeight * kTileWidth / pixels; }
  };

  // A warp a pixel.
  struct Fallback {
    static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  };
};

struct AttentionShape {
  int64_t batch;
  int height, width;
  int channels;        // of queries and keys
  int value_channels;  // of values and the result
  int window_height, window_width;
  bool masked;  // keys outside the image are left out; otherwise they have logit 0 and value 0

  ARSEG_HD bool in_bounds(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
  ARSEG_HD int64_t pixel(int64_t n, int y, int x) const { return (n * height + y) * width + x; }
};

// Maps are dense channels-last.
template <typename T>
struct AttentionParams {
  AttentionShape shape;
  accumulator<T> scale;
  const T* query;             // [N, H, W, C]
  const T* key;               // [N, H, W, C]
  const T* value;             // [N, H, W, Cv]
  const T* residual;          // [N, H, W, Cv], added to the result; null: nothing is
  T* out;                     // [N, H, W, Cv]
  accumulator<T>* logsumexp;  // [N, H, W]; null: not wanted
  bool allow_tf32 = false;    // products of float32 may be TF32
};

template <typename T>
struct AttentionBackwardParams {
  AttentionShape shape;
  accumulator<T> scale;
  const T* grad;                    // [N, H, W, Cv], of the result
  const T* query;                   // [N, H, W, C]
  const T* key;                     // [N, H, W, C]
  const T* value;                   // [N, H, W, Cv]
  const accumulator<T>* logsumexp;  // [N, H, W]
  accumulator<T>* delta;            // [N, H, W]: the sum over the window of probability times its gradient; scratch
  T* grad_query;                    // [N, H, W, C]
  T* grad_key;                      // [N, H, W, C]
  T* grad_value;                    // [N, H, W, Cv]
};

// The backward gathers, it never scatters: the gradient of a query sums over its window, and those of a key and its
// value over the queries whose window holds it, which are the pixels of its own window. So one kernel makes two passes,
// with the maps exchanged:
//
//               a pixel's own          of the window's pixels
//   queries     query, grad            key, value       -> delta, gradient of the query
//   keys        key, value             query, grad      -> gradients of the value and the key
template <typename T>
struct BackwardPassParams {
  const T* own;          // [N, H, W, C]; with `other`: the logits
  const T* own_value;    // [N, H, W, Cv]; with `other_value`: the gradients of the probabilities
  const T* other;        // [N, H, W, C]
  const T* other_value;  // [N, H, W, Cv]
  T* grad;               // [N, H, W, C], of own
  T* grad_value;         // [N, H, W, Cv], of own_value, for keys
};

template <typename T>
BackwardPassParams<T> query_pass(const AttentionBackwardParams<T>& a) {
  return {a.query, a.grad, a.key, a.value, a.grad_query, nullptr};
}

template <typename T>
BackwardPassParams<T> key_pass(const AttentionBackwardParams<T>& a) {
  return {a.key, a.value, a.query, a.grad, a.grad_key, a.grad_value};
}

// Compiled once, in csrc/local_attention/cuda.cu; the fusion's kernels call the first.
template <typename T>
void launch_attention(const AttentionParams<T>& a, void* stream);

template <typename T>
void launch_attention_backward(const AttentionBackwardParams<T>& a, void* stream);

// run(std::integral_constant<int, window>{}) for the windows of the tiled kernels.
template <typename F>
void dispatch_window(int window, F&& run) {
  switch (window) {
    case 3:
      return run(std::integral_constant<int, 3>{});
    case 5:
      return run(std::integral_constant<int, 5>{});
    case 7:
      return run(std::integral_constant<int, 7>{});
    default:
      return run(std::integral_constant<int, AttentionTraits::kMaxTiledWindow>{});
  }
}

}  // namespace gpu
}  // namespace arseg
