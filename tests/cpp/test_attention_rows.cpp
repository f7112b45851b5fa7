// The softmax and the inner loops of local attention (csrc/local_attention/math.h, rows.h).

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "local_attention/rows.h"

using namespace arseg;

namespace {

template <typename A>
std::vector<A> noise(int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<A> normal;
  std::vector<A> values(count);
  for (A& value : values) value = normal(generator);
  return values;
}

void exponential_is_accurate() {
  double worst = 0;
  for (float x = -86.9f; x <= 1.0f; x += 0.0137f) {
    const double expected = std::exp(static_cast<double>(x));
    worst = std::fmax(worst, std::fabs(exp_nonpositive(x) - expected) / expected);
  }
  CHECK(worst < 2e-7);
  CHECK(exp_nonpositive(0.0f) == 1.0f);
  CHECK(exp_nonpositive(-88.0f) == 0.0f);
  CHECK(exp_nonpositive(-std::numeric_limits<float>::infinity()) == 0.0f);
  CHECK(std::isnan(exp_nonpositive(std::numeric_limits<float>::quiet_NaN())));
}

template <typename A>
void softmax_sums_to_one(double tolerance) {
  constexpr int64_t keys = 21;
  std::vector<A> logits = noise<A>(keys * kStrip, 1);
  for (A& logit : logits) logit *= 20;
  logits[3 * kStrip + 5] = -std::numeric_limits<A>::infinity();  // a masked key
  const std::vector<A> before = logits;
  A total[kStrip], log_total[kStrip];
  softmax(logits.data(), keys, total, log_total);
  for (int64_t x = 0; x < kStrip; ++x) {
    double sum = 0, expected_total = 0;
    for (int64_t k = 0; k < keys; ++k) {
      sum += logits[k * kStrip + x] / total[x];
      expected_total += std::exp(static_cast<double>(before[k * kStrip + x]));
    }
    CHECK_NEAR(sum, 1, tolerance);
    CHECK_NEAR(log_total[x], std::log(expected_total), tolerance * std::fabs(std::log(expected_total)) + tolerance);
  }
  CHECK(logits[3 * kStrip + 5] == 0);

  std::vector<A> again(before.begin(), before.begin() + kStrip);
  probabilities(again.data(), log_total);
  for (int64_t x = 0; x < kStrip; ++x) CHECK_NEAR(again[x], logits[x] / total[x], 20 * tolerance);
}

template <typename A>
void products_and_sums_are_right(double tolerance) {
  const std::vector<A> centre = noise<A>(kLanes * kStrip, 2), around = noise<A>(kLanes * kHalo, 3);
  std::vector<A> sums(kStrip, A(1));
  constexpr int64_t shift = 2 * kMaxRadius;  // the last key of the widest window
  add_products(sums.data(), centre.data(), around.data() + shift);
  for (int64_t x = 0; x < kStrip; ++x) {
    double expected = 1;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      expected += double(centre[lane * kStrip + x]) * around[lane * kHalo + x + shift];
    }
    CHECK_NEAR(sums[x], expected, tolerance);
  }
  for (const int64_t count : {3, 5, 7, 15}) {
    const std::vector<A> weights = noise<A>(count * kStrip, 4);
    std::vector<A> weighted(kStrip, A(0));
    add_weighted(weighted.data(), weights.data(), around.data(), count);
    for (int64_t x = 0; x < kStrip; ++x) {
      double expected = 0;
      for (int64_t i = 0; i < count; ++i) expected += double(weights[i * kStrip + x]) * around[x + i];
      CHECK_NEAR(weighted[x], expected, tolerance);
    }
  }
}

}  // namespace

int main() {
  exponential_is_accurate();
  softmax_sums_to_one<float>(2e-6);
  softmax_sums_to_one<double>(1e-13);
  products_and_sums_are_right<float>(1e-5);
  products_and_sums_are_right<double>(1e-13);
  return check::report("attention rows");
}
