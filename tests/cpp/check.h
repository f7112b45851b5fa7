#pragma once

#include <cmath>
#include <cstdio>

// Just enough of a test framework: CHECK counts failures, report() ends main().
namespace check {

inline int failures = 0;

inline int report(const char* name) {
  std::printf("%s: %s\n", name, failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      ++check::failures;                                                             \
    }                                                                                \
  } while (false)

#define CHECK_NEAR(got, expected, tolerance)                                                                 \
  do {                                                                                                       \
    const double got_ = (got), expected_ = (expected);                                                       \
    if (!(std::fabs(got_ - expected_) <= (tolerance))) {                                                     \
      std::fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, #got, got_, expected_); \
      ++check::failures;                                                                                     \
    }                                                                                                        \
  } while (false)
