// Unit tests of csrc/common/device_code.h: which cards a list of architectures has code for, and the sentence.
//   g++ -std=c++20 -I csrc tests/cpp/test_device_code.cpp && ./a.out
#include <cstdio>

#include "common/device_code.h"

using arseg::has_code;
using arseg::no_code;

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (!condition) {
    std::printf("%s\n", what);
    ++failures;
  }
}

}  // namespace

int main() {
  const std::string usual = "8.0 8.6 9.0 10.0 12.0+PTX";
  expect(has_code(usual, 8, 0) && has_code(usual, 9, 0) && has_code(usual, 12, 0), "a card of the list");
  expect(has_code(usual, 8, 9) && has_code(usual, 10, 3), "a later card of a generation");
  expect(has_code(usual, 12, 1) && has_code(usual, 13, 0), "PTX on a later card");
  expect(!has_code(usual, 7, 5), "an earlier card");
  expect(!has_code(usual, 11, 0), "a card between generations, before the PTX");
  expect(!has_code("8.6", 8, 0), "code for a later card of a generation");
  expect(!has_code("9.0a", 10, 0) && has_code("9.0a", 9, 0), "code for one card alone");
  expect(!has_code("9.0a+PTX", 10, 0), "PTX for one card alone");
  expect(has_code("9.0+PTX", 12, 0) && !has_code("12.0+PTX", 9, 0), "PTX forward, not back");

  expect(no_code(usual, 8, 0).empty() && no_code("", 5, 0).empty(), "nothing to say");
  const std::string between = no_code("8.0 9.0", 12, 1);
  expect(between.find("compute capability 12.1, and the library has code for 8.0 9.0 alone") != std::string::npos,
         "both are named");
  expect(between.find("TORCH_CUDA_ARCH_LIST=12.1") != std::string::npos, "what to do");
  const std::string old = no_code(usual, 7, 5);
  expect(old.find("move the tensors to the CPU") != std::string::npos, "an old card cannot be built for");
  return failures;
}
