// The vectors of csrc/cpu/{vec,convert}.h: exponentials, conversions, transposition, parts of vectors. CMakeLists.txt
// compiles this file once for each target; on its own it is the plain one.
#if !defined(ARSEG_TARGET)
#define ARSEG_TARGET plain
#define ARSEG_VECTOR_BYTES 16
#define ARSEG_VECTOR_REGISTERS 16
#define ARSEG_BFLOAT16 0
#endif

#include <vector>

#include "check.h"
#include "cpu/target.h"
#include "kernel_reference.h"
// clang-format off
#include "cpu/vec.h"
#include "cpu/convert.h"
// clang-format on

using namespace arseg::ARSEG_TARGET;
using reference::decode;
using reference::encode;
using reference::kInf;
using reference::kNan;

namespace {

template <typename A>
A exp2_of(A x) {
  return exp2_nonpositive<A>(broadcast(x))[kLanes<A> - 1];
}

template <typename A>
void exponentials_are_accurate(double tolerance) {
  double most = 0;
  const A least = Exp2<A>::kLeast;
  for (int i = 0; i <= 200000; ++i) {
    const A x = least * static_cast<A>(i) / A(200000);
    const long double exact = std::exp2(static_cast<long double>(x));
    most = std::max(most, static_cast<double>(std::fabs((exp2_of(x) - exact) / exact)));
  }
  CHECK_NEAR(most, 0, tolerance);
  CHECK(exp2_of(A(0)) == 1 && exp2_of(-A(0)) == 1);
  for (int i = 1; i < 100; ++i) CHECK(exp2_of(A(-i)) == std::exp2(A(-i)));
  CHECK(exp2_of(least * A(1.5)) == 0 && exp2_of(-std::numeric_limits<A>::max()) == 0);
  CHECK(exp2_of(static_cast<A>(-kInf)) == 0);
  CHECK(std::isnan(exp2_of(static_cast<A>(kNan))));
  const A below = exp2_of(least - A(0.5));
  CHECK(below >= 0 && below < std::numeric_limits<A>::min());
}

template <typename T>
T narrowed(float value) {
  alignas(64) T to[kLanes<float>];
  store_as(to, broadcast(value));
  return to[kLanes<float> - 1];
}

// Every value of a 16-bit type is widened exactly, and comes back; between neighbours it is rounded to nearest, ties
// to even.
template <typename T>
void halves_are_converted(int mantissa, int bias) {
  // The instruction for bfloat16 takes subnormal numbers for 0.
  const double flushed = ARSEG_BFLOAT16 && std::is_same_v<T, BFloat16> ? 0x1p-126 : 0;
  int wrong = 0;
  const auto check_narrow = [&](float value) {
    const uint16_t expected = encode(std::fabs(value) < flushed ? std::copysign(0.0, value) : value, mantissa, bias);
    wrong += narrowed<T>(value).bits != expected;
  };
  for (int i = 0; i < 0x10000; ++i) {
    const T half{static_cast<uint16_t>(i)};
    const double exact = decode(half.bits, mantissa, bias);
    alignas(64) T from[kLanes<float>];
    for (T& each : from) each = half;
    const float wide = load_as(from, float{})[0];
    if (std::isnan(exact)) {
      wrong += !std::isnan(wide) || !std::isnan(decode(narrowed<T>(wide).bits, mantissa, bias));
      continue;
    }
    wrong += wide != exact || std::signbit(wide) != std::signbit(exact);
    check_narrow(wide);
    const double next = decode(static_cast<uint16_t>(i + 1), mantissa, bias);
    if ((i & 0x7fff) == 0x7fff || !std::isfinite(exact) || !std::isfinite(next)) continue;
    const float middle = static_cast<float>((exact + next) / 2);
    check_narrow(middle);
    check_narrow(std::nextafter(middle, static_cast<float>(next)));
    check_narrow(std::nextafter(middle, static_cast<float>(exact)));
  }
  CHECK(wrong == 0);
  const double largest = decode(static_cast<uint16_t>(((2 * bias + 1) << mantissa) - 1), mantissa, bias);
  for (const double value : {largest * (1 + std::ldexp(1, -mantissa - 3)), largest * (1 + std::ldexp(1, -mantissa - 1)),
                             3e38, kInf, -kInf, 1e-45, -1e-45, 1e-30}) {
    check_narrow(static_cast<float>(value));
  }
  CHECK(wrong == 0);
}

void pairs_hold_both_halves() {
  const WordBits pairs = pairs_of(broadcast(1.5f), broadcast(-2.0f));
  CHECK(pairs[0] == (0xc000u << 16 | 0x3fc0u));
  CHECK(low_of(pairs)[1] == 1.5f && high_of(pairs)[1] == -2.0f);
}

template <typename A>
void blocks_are_transposed() {
  constexpr int n = kLanes<A>;
  Vec<A> rows[n];
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) rows[i][j] = static_cast<A>(100 * i + j);
  }
  transpose<A>(rows);
  bool same = true;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) same = same && rows[i][j] == static_cast<A>(100 * j + i);
  }
  CHECK(same);
}

// Buffers of the exact size: with the sanitizers a lane too many is seen.
template <typename A, typename T>
void parts_are_moved() {
  for (int count = 1; count < kLanes<A>; ++count) {
    std::vector<T> from(static_cast<size_t>(count)), to(static_cast<size_t>(count));
    alignas(64) T one[kLanes<A>];
    store_as(one, broadcast(A(1)));
    std::fill(from.begin(), from.end(), one[0]);
    const Vec<A> got = load_some<A>(from.data(), count);
    for (int i = 0; i < kLanes<A>; ++i) CHECK(got[i] == (i < count ? 1 : 0));
    store_some(to.data(), got, count);
    CHECK(std::memcmp(from.data(), to.data(), sizeof(T) * static_cast<size_t>(count)) == 0);
  }
}

void larger_keeps_the_second_of_nan() {
  const Vec<float> nan = broadcast(static_cast<float>(kNan)), one = broadcast(1.0f);
  CHECK(larger(nan, one)[0] == 1 && std::isnan(larger(one, nan)[0]));
  CHECK(larger(one, broadcast(2.0f))[0] == 2 && larger(broadcast(2.0f), one)[0] == 2);
}

}  // namespace

int main() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if ((ARSEG_VECTOR_BYTES >= 32 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) ||
      (ARSEG_VECTOR_BYTES == 64 && !(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                                     __builtin_cpu_supports("avx512vl"))) ||
      (ARSEG_BFLOAT16 && !__builtin_cpu_supports("avx512bf16"))) {
    std::puts("skipped on this processor: " ARSEG_TEXT(ARSEG_TARGET));
    return 0;
  }
#endif
  exponentials_are_accurate<float>(2e-7);
  exponentials_are_accurate<double>(1e-15);
  halves_are_converted<Half>(10, 15);
  halves_are_converted<BFloat16>(7, 127);
  pairs_hold_both_halves();
  blocks_are_transposed<float>();
  blocks_are_transposed<double>();
  blocks_are_transposed<uint32_t>();
  parts_are_moved<float, float>();
  parts_are_moved<double, double>();
  parts_are_moved<float, Half>();
  parts_are_moved<float, BFloat16>();
  larger_keeps_the_second_of_nan();
  return check::report("vectors, " ARSEG_TEXT(ARSEG_TARGET));
}
