// Unit tests of csrc/motion without Python:
//   g++ -std=c++17 -I csrc/motion tests/cpp/test_motion.cpp csrc/motion/{raster,select,hole_filling,pool,step}.cpp &&
//   ./a.out
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "chain.h"
#include "hole_filling.h"
#include "pool.h"
#include "raster.h"
#include "select.h"
#include "step.h"
#include "unchain.h"

using namespace arseg::motion;

namespace {

int failures = 0;

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::fprintf(stderr, "%s:%d: not: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                               \
    }                                                                           \
  } while (false)

bool equal(Vec a, Vec b) { return a.x == b.x && a.y == b.y; }

// A field with its own storage.
struct Grid {
  Grid(int64_t rows, int64_t cols, Vec vec = {0, 0}, uint8_t seen = 1)
      : rows(rows),
        cols(cols),
        vectors(static_cast<size_t>(rows * cols), vec),
        valid(static_cast<size_t>(rows * cols), seen) {}
  Vec& at(int64_t y, int64_t x) { return vectors[static_cast<size_t>(y * cols + x)]; }
  uint8_t& seen(int64_t y, int64_t x) { return valid[static_cast<size_t>(y * cols + x)]; }
  operator ConstField() const { return {vectors.data(), valid.data()}; }
  operator Field() { return {vectors.data(), valid.data()}; }

  int64_t rows, cols;
  std::vector<Vec> vectors;
  std::vector<uint8_t> valid;
};

// The block whose top left corner is (x, y).
Record block(int x, int y, int w, int h, int motion_x, int motion_y) {
  Record r{};
  r.source = -1;
  r.w = static_cast<uint8_t>(w);
  r.h = static_cast<uint8_t>(h);
  r.dst_x = static_cast<int16_t>(x + w / 2);
  r.dst_y = static_cast<int16_t>(y + h / 2);
  r.motion_x = motion_x;
  r.motion_y = motion_y;
  r.motion_scale = 4;
  return r;
}

Grid draw(const std::vector<Record>& records, int width, int height) {
  Grid grid(cells(height, kCell), cells(width, kCell), {99, 99}, 7);
  References references;
  references.past.resize(1);
  references.past[0].reach = Reference::Reach::Key;
  Frame frame;
  frame.width = width;
  frame.height = height;
  draw(records.data(), static_cast<int64_t>(records.size()), frame, references, 2,
       {grid.vectors.data(), grid.valid.data()});
  return grid;
}

bool refused(Record record, const std::string& word) {
  try {
    draw({record}, 16, 16);
  } catch (const std::invalid_argument& error) {
    return std::string(error.what()).find(word) != std::string::npos;
  }
  return false;
}

void test_arithmetic() {
  CHECK(divide_round(3, 2) == 2 && divide_round(-3, 2) == -2);
  CHECK(divide_round(1, 3) == 0 && divide_round(-1, 3) == 0);
  CHECK(saturate(40000) == 32767 && saturate(-40000) == -32768 && saturate(-5) == -5);
  CHECK(cells(16, 4) == 4 && cells(17, 4) == 5);
}

void test_raster() {
  Grid grid = draw({block(8, 4, 8, 4, 5, -7)}, 24, 12);
  CHECK(grid.rows == 3 && grid.cols == 6);
  for (int64_t y = 0; y < grid.rows; ++y) {
    for (int64_t x = 0; x < grid.cols; ++x) {
      const bool inside = y == 1 && (x == 2 || x == 3);
      CHECK(grid.seen(y, x) == (inside ? 1 : 0));
      CHECK(equal(grid.at(y, x), inside ? Vec{5, -7} : Vec{0, 0}));
    }
  }
  // Padding beyond the frame, and a block that lies in it altogether.
  Grid padded = draw({block(0, 0, 16, 16, 1, 2), block(32, 32, 16, 16, 3, 4)}, 5, 9);
  CHECK(padded.rows == 3 && padded.cols == 2);
  CHECK(equal(padded.at(2, 1), {1, 2}) && padded.seen(2, 1));
  // A vector too long for 16 bits.
  CHECK(draw({block(0, 0, 16, 16, 1 << 30, -(1 << 30))}, 16, 16).at(0, 0).x == 32767);

  Record bad = block(0, 0, 16, 16, 0, 0);
  bad.source = 0;
  CHECK(refused(bad, "source"));
  bad = block(0, 0, 16, 16, 0, 0);
  bad.motion_scale = 0;
  CHECK(refused(bad, "motion_scale"));
  CHECK(refused(block(0, 0, 0, 16, 0, 0), "1x1"));
  CHECK(refused(block(-16, 0, 16, 16, 0, 0), "inside"));
}

void test_fill() {
  // A uniform field stays uniform, whatever the hole.
  Grid grid(7, 9, {6, -2});
  for (int64_t y = 1; y < 6; ++y) {
    for (int64_t x = 2; x < 8; ++x) {
      grid.at(y, x) = {999, 999};
      grid.seen(y, x) = 0;
    }
  }
  fill_holes(grid.vectors.data(), grid.valid.data(), grid.rows, grid.cols);
  for (const Vec& vec : grid.vectors) {
    CHECK(equal(vec, {6, -2}));
  }
  CHECK(!grid.seen(3, 3));

  Grid empty(2, 2, {5, 5}, 0);
  fill_holes(empty.vectors.data(), empty.valid.data(), 2, 2);
  CHECK(equal(empty.at(1, 1), {0, 0}));

  // Large cells (2 x 2): 0, hole, 8. The hole becomes the mean.
  Grid line(2, 6, {0, 0}, 1);
  for (int64_t y = 0; y < 2; ++y) {
    line.at(y, 4) = line.at(y, 5) = {8, -8};
    line.seen(y, 2) = line.seen(y, 3) = 0;
  }
  fill_holes(line.vectors.data(), line.valid.data(), 2, 6);
  CHECK(equal(line.at(0, 2), {4, -4}) && equal(line.at(1, 3), {4, -4}));

  // Extremes do not overflow the sums.
  Grid far(3, 3, {-32768, 32767}, 1);
  far.seen(1, 1) = 0;
  fill_holes(far.vectors.data(), far.valid.data(), 3, 3);
  CHECK(equal(far.at(1, 1), {-32768, 32767}));
}

void test_chain() {
  Grid step(4, 4), reference(4, 4), out(4, 4);
  step.at(1, 1) = {16, 32};   // one cell right, two down
  step.at(0, 0) = {-99, -9};  // out of the frame: clamped
  reference.at(3, 2) = {-5, 3};
  reference.seen(3, 2) = 0;
  reference.at(0, 0) = {1, 1};
  Reference one_back;
  one_back.reach = Reference::Reach::Field;
  one_back.to_key = reference;
  const ChainTarget target{4, 4, out};
  for (int64_t y = 0; y < 4; ++y) {
    for (int64_t x = 0; x < 4; ++x) {
      chain_cell(target, y, x, step.at(y, x), step.seen(y, x) != 0, one_back);
    }
  }
  CHECK(equal(out.at(1, 1), {11, 35}) && !out.seen(1, 1));
  CHECK(equal(out.at(0, 0), {-98, -8}) && out.seen(0, 0));

  // A block of four is four cells, inside the field and across its edges, whatever the hop.
  Grid field(5, 7), one(5, 7), four(5, 7);
  for (size_t i = 0; i < field.vectors.size(); ++i) {
    field.vectors[i] = {static_cast<int16_t>(37 * i), static_cast<int16_t>(-1000 * static_cast<int>(i))};
    field.valid[i] = i % 3 != 0;
  }
  one_back.to_key = field;
  for (const Vec hop : {Vec{0, 0}, Vec{5, -9}, Vec{-17, 40}, Vec{300, 300}, Vec{-32768, 32767}}) {
    for (const bool known : {true, false}) {
      for (int64_t y = 0; y < 5; y += 2) {
        for (int64_t x = 0; x < 7; x += 2) {
          chain_block({5, 7, four}, y, x, hop, known, one_back);
        }
      }
      for (int64_t i = 0; i < 35; ++i) {
        chain_cell({5, 7, one}, i / 7, i % 7, hop, known, one_back);
        CHECK(equal(one.at(i / 7, i % 7), four.at(i / 7, i % 7)) && one.seen(i / 7, i % 7) == four.seen(i / 7, i % 7));
      }
    }
  }

  Grid big(1, 1, {30000, -30000});
  Grid sum(1, 1);
  one_back.to_key = big;
  chain_cell({1, 1, sum}, 0, 0, big.at(0, 0), true, one_back);
  CHECK(equal(sum.at(0, 0), {32767, -32768}));
}

void test_unchain() {
  // What was chained of a hop comes out of the chain; what swings to and fro for ever is not known.
  Grid chained(3, 4), field(3, 4), hop(3, 4);
  for (size_t i = 0; i < field.vectors.size(); ++i) {
    field.vectors[i] = {static_cast<int16_t>(7 * i), static_cast<int16_t>(-3 * static_cast<int>(i))};
  }
  Reference one_back;
  one_back.reach = Reference::Reach::Field;
  one_back.to_key = field;
  for (int64_t i = 0; i < 12; ++i) chain_cell({3, 4, chained}, i / 4, i % 4, {16, 0}, i != 5, one_back);
  unchain(chained, field.vectors.data(), 3, 4, 16, hop);
  CHECK(equal(hop.at(0, 0), {16, 0}) && hop.seen(0, 0));
  CHECK(equal(hop.at(1, 1), {16, 0}) && !hop.seen(1, 1));

  Grid still(1, 2), edge(1, 2), out(1, 2);
  edge.at(0, 0) = {-16, 0};
  unchain(still, edge.vectors.data(), 1, 2, 16, out);
  CHECK(!out.seen(0, 0));

  Grid far(1, 1, {32767, 0}), back(1, 1, {-32768, 0});
  unchain(far, back.vectors.data(), 1, 1, 16, out);
  CHECK(equal(out.at(0, 0), {32767, 0}) && out.seen(0, 0));
}

void test_pool() {
  Grid in(3, 3, {4, 4});
  in.at(0, 0) = {100, 100};
  in.seen(0, 0) = 0;
  in.seen(2, 2) = 0;
  Grid out(2, 2);
  pool(in, 3, 3, 2, out);
  CHECK(equal(out.at(0, 0), {4, 4}) && out.seen(0, 0));   // the invalid cell is left out
  CHECK(equal(out.at(1, 1), {4, 4}) && !out.seen(1, 1));  // nothing but an invalid cell: its filled vector
}

// Grey pictures of noise; `moved` shows what lies (dx, dy) further in this one.
struct Picture {
  Picture(int width, int height, unsigned seed) : width(width), height(height), pixels(size_t(width) * height) {
    for (uint8_t& pixel : pixels) {
      seed = seed * 1664525u + 1013904223u;
      pixel = static_cast<uint8_t>(seed >> 24);
    }
  }
  Picture moved(int dx, int dy) const {
    Picture result(*this);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const int from_x = std::min(std::max(x + dx, 0), width - 1), from_y = std::min(std::max(y + dy, 0), height - 1);
        result.pixels[size_t(y * width + x)] = pixels[size_t(from_y * width + from_x)];
      }
    }
    return result;
  }
  Luma luma() const { return {pixels.data(), width, 1}; }

  int width, height;
  std::vector<uint8_t> pixels;
};

void test_difference() {
  const Picture picture(40, 24, 1), moved = picture.moved(3, -2);
  Frame frame;
  frame.width = 40;
  frame.height = 24;
  frame.luma = moved.luma();
  CHECK(block_difference(frame, picture.luma(), {16, 8, 16, 16, 3, -2}) == 0);
  CHECK(block_difference(frame, picture.luma(), {16, 8, 8, 8, 0, 0}) > 64 * 20);
  // Beyond the edges border pixels go on; a block outside the frame has nothing to compare.
  CHECK(block_difference(frame, picture.luma(), {32, -4, 16, 16, 3, -2}) == 0);
  CHECK(block_difference(frame, picture.luma(), {40, 0, 16, 16, 0, 0}) == 0);
  CHECK(block_difference(frame, picture.luma(), {0, 0, 16, 16, 1 << 20, -(1 << 20)}) > 0);
  CHECK(block_difference(frame, Luma{}, {0, 0, 16, 16, 0, 0}) == 0);
  // Deeper samples.
  std::vector<uint16_t> deep(picture.pixels.begin(), picture.pixels.end());
  frame.luma = {reinterpret_cast<const uint8_t*>(deep.data()), 80, 2};
  CHECK(block_difference(frame, frame.luma, {3, 5, 12, 9, 0, 0}) == 0);
  CHECK(block_difference(frame, frame.luma, {8, 8, 8, 8, 2, 0}) > 0);
}

// Of two frames the one that the block was taken from is found, and the field goes on through it.
void test_step() {
  const Picture first(32, 32, 7), second(32, 32, 8), now = first.moved(4, 0);
  Grid to_key(8, 8, {100, 0}), out(8, 8);
  References references;
  references.past.resize(2);
  references.past[0].reach = Reference::Reach::Field;
  references.past[0].to_key = to_key;
  references.past[0].luma = second.luma();
  references.past[1].reach = Reference::Reach::Key;
  references.past[1].luma = first.luma();
  references.past[1].time = -2;
  Frame frame;
  frame.width = frame.height = 32;
  frame.luma = now.luma();
  const std::vector<Record> records = {block(0, 0, 16, 16, 16, 0), block(0, 16, 16, 16, 16, 0)};
  const int64_t holes = step(records.data(), 2, frame, references, out);
  CHECK(holes == 8);
  CHECK(equal(out.at(0, 0), {16, 0}) && out.seen(0, 0));
  // Holes: half the vector, since the first reference is half as far, and on through that one.
  CHECK(equal(out.at(0, 7), {108, 0}) && !out.seen(0, 7));

  // A decoder that knows says so.
  Record known = records[0];
  known.flags = 1;
  step(&known, 1, frame, references, out);
  CHECK(equal(out.at(0, 0), {116, 0}));

  // From both sides: the better one; and none where no way leads on.
  references.future = {references.past[1]};
  references.past.resize(1);
  Record behind = block(0, 0, 16, 16, 16, 0);
  Record ahead = behind;
  ahead.source = 1;
  const std::vector<Record> both = {behind, ahead};
  step(both.data(), 2, frame, references, out);
  CHECK(equal(out.at(0, 0), {16, 0}));
  references.past[0].reach = references.future[0].reach = Reference::Reach::Nothing;
  step(both.data(), 2, frame, references, out);
  CHECK(equal(out.at(0, 0), {0, 0}) && !out.seen(0, 0));

  // The frame was cut: blocks count from the uncut corner.
  References key;
  key.past.resize(1);
  key.past[0].reach = Reference::Reach::Key;
  frame.crop_left = 16;
  frame.crop_top = 8;
  const Record corner = block(16, 16, 16, 16, 5, 5);
  CHECK(step(&corner, 1, frame, key, out) == 16 - 4);
  CHECK(out.seen(2, 0) && out.seen(5, 3) && !out.seen(1, 0) && !out.seen(2, 4));
}

}  // namespace

int main() {
  test_arithmetic();
  test_raster();
  test_fill();
  test_chain();
  test_unchain();
  test_pool();
  test_difference();
  test_step();
  if (failures == 0) {
    std::puts("motion: all checks passed");
  }
  return failures == 0 ? 0 : 1;
}
