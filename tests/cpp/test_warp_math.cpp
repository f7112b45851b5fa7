// The arithmetic of the warps along one axis (csrc/mv_warp/math.h).

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "check.h"
#include "mv_warp/math.h"

using namespace arseg;

namespace {

void blocks_hold_the_centres_of_their_pixels() {
  for (const int64_t block : {4, 8, 16}) {
    for (const int64_t frame : {1, 37, 64, 720, 1080}) {
      const int64_t blocks = (frame + block - 1) / block;
      for (const int64_t size : {int64_t{1}, int64_t{7}, frame / 8 + 1, frame / 2 + 1, frame}) {
        const BlockAxis axis{size, frame, block, blocks};
        for (int64_t at = 0; at < size; ++at) {
          const int64_t index = block_of(at, axis);
          const long double centre = (at + 0.5L) * frame / size;
          CHECK(index == static_cast<int64_t>(std::floor(centre / block)));
          CHECK(index >= 0 && index < blocks);
        }
      }
    }
  }
}

void a_larger_field_is_not_overrun() {
  const BlockAxis axis{4, 64, 16, 2};
  CHECK(block_of(3, axis) == 1);
}

void quarter_pixels_are_scaled() {
  const BlockAxis axis{90, 720, 16, 45};
  CHECK_NEAR(4 * quarter_pel<double>(axis), 0.125, 1e-15);
}

void shifts_follow_the_grid() {
  CHECK_NEAR(sample_shift(5, 1.25, 9, Grid::Aligned), 1.25, 0);
  for (int64_t at = 0; at < 9; ++at) {
    const double d = 0.37 * at - 1;
    CHECK_NEAR(at + sample_shift(at, d, 9, Grid::Legacy), (at + d) * 9 / 8 - 0.5, 1e-12);
  }
  CHECK_NEAR(sample_shift(0, 0.25, 1, Grid::Legacy), -0.25, 0);
  CHECK_NEAR(sample_slope<double>(9, Grid::Legacy), 1.125, 0);
  CHECK_NEAR(sample_slope<double>(1, Grid::Legacy), 1, 0);
  CHECK_NEAR(sample_slope<double>(9, Grid::Aligned), 1, 0);
}

template <typename I>
void taps_lie_around_the_position() {
  const Taps<double, I> inside = sample_taps(I(3), 1.25, I(8));
  CHECK(inside.lower == 4 && inside.upper == 5);
  CHECK_NEAR(inside.fraction, 0.25, 0);
  const Taps<double, I> back = sample_taps(I(3), -1.25, I(8));
  CHECK(back.lower == 1 && back.upper == 2);
  CHECK_NEAR(back.fraction, 0.75, 0);
  const Taps<double, I> left = sample_taps(I(0), -0.25, I(8));
  CHECK(left.lower == -1 && left.upper == 0);
  const Taps<double, I> right = sample_taps(I(7), 0.5, I(8));
  CHECK(right.lower == 7 && right.upper == -1);
  const Taps<double, I> edge = sample_taps(I(0), -1.0, I(8));
  CHECK(edge.lower == -1 && edge.upper == -1);
}

template <typename I>
void bad_positions_have_no_taps() {
  using limits = std::numeric_limits<double>;
  for (const double bad : {limits::quiet_NaN(), limits::infinity(), -limits::infinity(), 1e300, -1e300, 1e19}) {
    const Taps<double, I> taps = sample_taps(I(2), bad, I(8));
    CHECK(taps.lower == -1 && taps.upper == -1 && taps.fraction == 0);
  }
}

template <typename I>
void single_precision_keeps_the_fraction_far_out() {
  const Taps<float, I> taps = sample_taps(I(100000), 0.001f, I(200000));
  CHECK(taps.lower == 100000);
  CHECK_NEAR(taps.fraction, 0.001f, 0);
}

}  // namespace

int main() {
  blocks_hold_the_centres_of_their_pixels();
  a_larger_field_is_not_overrun();
  quarter_pixels_are_scaled();
  shifts_follow_the_grid();
  taps_lie_around_the_position<int32_t>();
  taps_lie_around_the_position<int64_t>();
  bad_positions_have_no_taps<int32_t>();
  bad_positions_have_no_taps<int64_t>();
  single_precision_keeps_the_fraction_far_out<int32_t>();
  single_precision_keeps_the_fraction_far_out<int64_t>();
  return check::report("warp math");
}
