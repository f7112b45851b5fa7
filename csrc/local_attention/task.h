#pragma once

#include <cstdint>

#include "../cpu/map.h"
#include "params.h"

// What a kernel of attention gets. No torch.
namespace arseg {

// Where the result of a tile goes.
struct AttentionTask {
  Map out;  // for labels: the shape alone, with classes for channels
  Window window{};
  Outside outside = Outside::Zero;
  void* logsumexp = nullptr;  // [N, H, W] of the type that computes, or null
  uint8_t* labels = nullptr;  // [N, H, W]: the class of the largest logit, instead of `out`
  bool direct = false;        // `out` has the type that computes, channels together, whole vectors of them
  bool past_caches = false;   // and is aligned and large
};

struct MapAttentionTask : AttentionTask {
  Map query, key, value;
  double scale = 1;
};

struct AttentionBackwardTask {
  Map grad, query, key, value, logsumexp, delta;  // the last two [N, 1, H, W], of the type that computes
  Map grad_query, grad_key, grad_value;
  Window window{};
  Outside outside = Outside::Zero;
  double scale = 1;
};

// A strip of columns and a band of rows.
struct Tile {
  int64_t n, x, y_begin, y_end;
};

}  // namespace arseg
