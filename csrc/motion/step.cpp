#include "step.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "chain.h"
#include "fill.h"

namespace arseg::motion {
namespace {

// Index of the first reference that leads to the keyframe, -1 without one.
int64_t first_reachable(const References& references) {
  for (int64_t i = 0; i < references.size(); ++i) {
    if (references.at(i).reach != Reference::Reach::Nothing) {
      return i;
    }
  }
  return -1;
}

// a / b in 1/256, at most 16 either way: a vector is not stretched beyond what motion can mean.
int32_t ratio(int a, int b) {
  if (b == 0) {
    return 256;
  }
  const int64_t size = divide_round(256 * std::abs(int64_t{a}), std::abs(int64_t{b}));
  const auto limited = static_cast<int32_t>(std::min<int64_t>(size, 256 * 16));
  return (a < 0) == (b < 0) ? limited : -limited;
}

}  // namespace

int64_t step(const void* records, int64_t count, const Frame& frame, const References& references, Field out) {
  const int64_t rows = cells(frame.height, kCell);
  const int64_t cols = cells(frame.width, kCell);
  // Kept from frame to frame: fresh pages would cost more than the drawing.
  thread_local std::vector<Vec> vectors;
  thread_local std::vector<uint8_t> reference;
  vectors.resize(static_cast<size_t>(rows * cols));
  reference.resize(static_cast<size_t>(rows * cols));
  const Hop hop{vectors.data(), reference.data()};
  draw(records, count, frame, references, hop);
  const int64_t holes = std::count(reference.begin(), reference.end(), uint8_t{0});

  const int64_t through = first_reachable(references);
  if (through < 0) {
    std::fill_n(out.vectors, rows * cols, Vec{0, 0});
    std::fill_n(out.valid, rows * cols, uint8_t{0});
    return holes;
  }
  if (references.size() == 1) {
    fill_holes(hop.vectors, hop.reference, rows, cols);
  } else {
    int32_t scale[1 + kMaxReferences] = {};
    for (int64_t i = 0; i < references.size(); ++i) {
      scale[1 + i] = ratio(references.at(through).time, references.at(i).time);
    }
    fill_holes(hop.vectors, hop.reference, rows, cols, scale);
  }
  chain({hop.vectors, hop.reference}, references, through, rows, cols, out);
  return holes;
}

}  // namespace arseg::motion
