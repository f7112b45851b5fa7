#include "step.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include "chain.h"
#include "hole_filling.h"

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

// Vectors per cell of a hop. Codecs' blocks are 8 x 8 pixels at least, and FFmpeg exports no smaller ones.
constexpr int kHopShift = 3;
constexpr int64_t kHopCell = 1 << kHopShift;
static_assert(kHopCell == 2 * kCell, "a cell of a hop is a block of chain_block()");

// The hop with its holes filled.
HoleGrid filled(const Hop& hop, int64_t rows, int64_t cols, const References& references, int64_t through) {
  const bool alike = references.size() == 1;
  int32_t scale[1 + kMaxReferences] = {};
  for (int64_t i = 0; i < references.size(); ++i) {
    scale[1 + i] = ratio(references.at(through).time, references.at(i).time);
  }
  HoleGrid grid(rows, cols);
  for (int64_t y = 0; y < rows; ++y) {
    HoleGrid::Cell* line = grid.row(y);
    for (int64_t x = 0; x < cols; ++x) {
      const Vec vec = hop.vectors[y * cols + x];
      const uint8_t reference = hop.reference[y * cols + x];
      if (reference == 0) {
        line[x] = HoleGrid::unknown();
      } else if (alike) {
        line[x] = HoleGrid::known(vec.x, vec.y);
      } else {
        line[x] = HoleGrid::known(saturate(divide_round(int64_t{vec.x} * scale[reference], 256)),
                                  saturate(divide_round(int64_t{vec.y} * scale[reference], 256)));
      }
    }
  }
  grid.fill();
  return grid;
}

}  // namespace

int64_t step(const void* records, int64_t count, const Frame& frame, const References& references, Field out) {
  const int64_t rows = cells(frame.height, kCell), cols = cells(frame.width, kCell);
  const int64_t hop_rows = cells(frame.height, kHopCell), hop_cols = cells(frame.width, kHopCell);
  // Kept from frame to frame: fresh pages would cost more than the drawing.
  thread_local std::vector<Vec> vectors;
  thread_local std::vector<uint8_t> reference;
  vectors.resize(static_cast<size_t>(hop_rows * hop_cols));
  reference.resize(static_cast<size_t>(hop_rows * hop_cols));
  const Hop hop{vectors.data(), reference.data()};
  draw(records, count, frame, references, kHopShift, hop);
  const int64_t holes = std::count(hop.reference, hop.reference + hop_rows * hop_cols, uint8_t{0});

  const int64_t through = first_reachable(references);
  if (through < 0) {
    std::fill_n(out.vectors, rows * cols, Vec{0, 0});
    std::fill_n(out.valid, rows * cols, uint8_t{0});
    return holes;
  }
  std::optional<HoleGrid> grid;
  if (holes > 0 && holes < hop_rows * hop_cols) {
    grid.emplace(filled(hop, hop_rows, hop_cols, references, through));
  }
  const Reference* ways[1 + kMaxReferences] = {&references.at(through)};  // by what the hop says; 0 is a hole
  for (int64_t i = 0; i < references.size(); ++i) {
    ways[1 + i] = &references.at(i);
  }
  const ChainTarget target{rows, cols, out};
  for (int64_t y = 0; y < hop_rows; ++y) {
    for (int64_t x = 0; x < hop_cols; ++x) {
      const int64_t i = y * hop_cols + x;
      const uint8_t known = hop.reference[i];
      const Vec vec = known ? hop.vectors[i] : grid ? grid->at(y, x) : Vec{0, 0};
      chain_block(target, 2 * y, 2 * x, vec, known != 0, *ways[known]);
    }
  }
  return holes;
}

}  // namespace arseg::motion
