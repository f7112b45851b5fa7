// Usage: standalone [--first] [FAMILY...]. Exits with 9 where a result was wrong; with --first, at the first.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "case.h"

namespace standalone {

namespace {

struct Case {
  const char* family;
  const char* name;
  void (*run)();
};

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

int failures = 0;
bool stop_at_first = false;
constexpr int kWrong = 9;

}  // namespace

Registration::Registration(const char* family, const char* name, void (*run)()) {
  cases().push_back({family, name, run});
}

void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "wrong: %s\n", what.c_str());
  if (stop_at_first) std::_Exit(kWrong);
}

void expect_close(const std::string& what, const Array& got, const Array& expected, double tolerance) {
  double largest = 1, error = 0;
  for (const double value : expected.values) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.values.size(); ++i) {
    const double difference = std::fabs(got.values[i] - expected.values[i]);
    error = difference <= error ? error : difference;  // a NaN stays
  }
  expect(error <= tolerance * largest, what + ": off by " + std::to_string(error) + " of " + std::to_string(largest));
}

}  // namespace standalone

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "--first") == 0) {
    standalone::stop_at_first = true;
    --count;
    ++arguments;
  }
  int run = 0;
  for (const auto& [family, name, function] : standalone::cases()) {
    bool wanted = count == 1;
    for (int i = 1; i < count; ++i) wanted = wanted || std::strcmp(arguments[i], family) == 0;
    if (!wanted) continue;
    const int before = standalone::failures;
    function();
    std::printf("%s: %s: %s\n", family, name, standalone::failures == before ? "right" : "WRONG");
    std::fflush(stdout);
    ++run;
  }
  if (run == 0) return 2;
  return standalone::failures == 0 ? 0 : standalone::kWrong;
}
