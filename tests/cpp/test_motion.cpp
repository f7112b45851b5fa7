// Unit tests of csrc/motion without Python:
//   g++ -std=c++17 -I csrc/motion tests/cpp/test_motion.cpp csrc/motion/{raster,fill,chain}.cpp && ./a.out
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "chain.h"
#include "fill.h"
#include "raster.h"

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
  rasterize(records.data(), static_cast<int64_t>(records.size()), width, height, grid.vectors.data(),
            grid.valid.data());
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
  bad.source = 1;
  CHECK(refused(bad, "source"));
  bad = block(0, 0, 16, 16, 0, 0);
  bad.motion_scale = 0;
  CHECK(refused(bad, "motion_scale"));
  CHECK(refused(block(0, 0, 0, 16, 0, 0), "1x1"));
  CHECK(refused(block(-16, 0, 16, 16, 0, 0), "inside"));
}

void test_fill() {
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

  // The mean of both sides, halves away from zero.
  Grid line(1, 3, {0, 0}, 1);
  line.at(0, 0) = {1, -1};
  line.at(0, 2) = {2, -2};
  line.seen(0, 1) = 0;
  fill_holes(line.vectors.data(), line.valid.data(), 1, 3);
  CHECK(equal(line.at(0, 1), {2, -2}));

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
  chain(step, reference, 4, 4, out);
  CHECK(equal(out.at(1, 1), {11, 35}) && !out.seen(1, 1));
  CHECK(equal(out.at(0, 0), {-98, -8}) && out.seen(0, 0));

  Grid big(1, 1, {30000, -30000});
  Grid sum(1, 1);
  chain(big, big, 1, 1, sum);
  CHECK(equal(sum.at(0, 0), {32767, -32768}));
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

}  // namespace

int main() {
  test_arithmetic();
  test_raster();
  test_fill();
  test_chain();
  test_pool();
  if (failures == 0) {
    std::puts("motion: all checks passed");
  }
  return failures == 0 ? 0 : 1;
}
