// Vectors of the target that this translation unit is compiled for (see target.h): GCC and Clang vector
// extensions, so that one source serves every target. Included inside no namespace; no torch.
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename A>
struct VecOf {
  typedef A type __attribute__((vector_size(ARSEG_VECTOR_BYTES)));
};
template <typename A>
using Vec = typename VecOf<A>::type;

template <typename A>
constexpr int kLanes = ARSEG_VECTOR_BYTES / static_cast<int>(sizeof(A));

constexpr int kRegisters = ARSEG_VECTOR_REGISTERS;

// Unaligned; the compiler knows no cheaper form for aligned addresses. Not even to an A: pairs of bfloat16 begin at odd
// ones too. So the copies are of bytes at a void*, about whose alignment the compiler may not assume a thing.
template <typename V>
ARSEG_INLINE V load_bytes(const void* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
template <typename V>
ARSEG_INLINE void store_bytes(void* to, V value) {
  __builtin_memcpy(to, &value, sizeof value);
}

template <typename A>
ARSEG_INLINE Vec<A> load(const A* from) {
  return load_bytes<Vec<A>>(from);
}

template <typename A>
ARSEG_INLINE void store(A* to, Vec<A> value) {
  store_bytes(to, value);
}

// Past the caches, for results larger than those; `to` must be aligned to the vector.
template <typename A>
ARSEG_INLINE void store_streaming(A* to, Vec<A> value) {
#if ARSEG_VECTOR_BYTES == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(value));
#elif ARSEG_VECTOR_BYTES == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(value));
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), reinterpret_cast<__m128i>(value));
#else
  store(to, value);
#endif
}

// Makes stores past the caches visible to other threads.
ARSEG_INLINE void stores_done() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

template <typename A>
ARSEG_INLINE Vec<A> broadcast(A x) {
  return x - Vec<A>{};
}

// Keeps a value in a register. Without it GCC folds a load into every use, and loads become the limit.
template <typename V>
ARSEG_INLINE void keep_in_register(V& value) {
#if ARSEG_VECTOR_BYTES == 64
  asm("" : "+v"(value));
#elif defined(__SSE2__)
  asm("" : "+x"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#else
  (void)value;
#endif
}

// a > b ? a : b, so b where one of them is NaN.
template <typename V>
ARSEG_INLINE V larger(V a, V b) {
#if ARSEG_VECTOR_BYTES == 64
  if constexpr (sizeof(a[0]) == 4)
    return reinterpret_cast<V>(_mm512_max_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
  if constexpr (sizeof(a[0]) == 8)
    return reinterpret_cast<V>(_mm512_max_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b)));
#elif ARSEG_VECTOR_BYTES == 32
  if constexpr (sizeof(a[0]) == 4)
    return reinterpret_cast<V>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
  if constexpr (sizeof(a[0]) == 8)
    return reinterpret_cast<V>(_mm256_max_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b)));
#endif
  return a > b ? a : b;
}

// Lanes `by` to `by` + n of the two vectors in a row.
template <int by, typename V, int... I>
ARSEG_INLINE V neighbours(V a, V b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (I + by)...);
#else
  using Index = std::conditional_t<sizeof(a[0]) == 8, int64_t, int32_t>;
  typedef Index Order __attribute__((vector_size(sizeof(V))));
  return __builtin_shuffle(a, b, Order{(I + by)...});
#endif
}

// Rows 2i and 2i+1 of the result interleave rows i and i + n/2: log2(n) such shuffles transpose.
template <typename V, int... I>
ARSEG_INLINE V interleave(V a, V b, int first, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
#if defined(__clang__)
  return first == 0 ? __builtin_shufflevector(a, b, (I / 2 + (I % 2 ? n : 0))...)
                    : __builtin_shufflevector(a, b, (n / 2 + I / 2 + (I % 2 ? n : 0))...);
#else
  using Index = std::conditional_t<sizeof(a[0]) == 8, int64_t, int32_t>;
  typedef Index Order __attribute__((vector_size(sizeof(V))));
  return first == 0 ? __builtin_shuffle(a, b, Order{(I / 2 + (I % 2 ? n : 0))...})
                    : __builtin_shuffle(a, b, Order{(n / 2 + I / 2 + (I % 2 ? n : 0))...});
#endif
}

template <typename A>
ARSEG_INLINE void transpose(Vec<A> (&rows)[kLanes<A>]) {
  constexpr int n = kLanes<A>;
  using Indices = std::make_integer_sequence<int, n>;
  Vec<A> other[n];
#pragma GCC unroll 4
  for (int step = 1; step < n; step *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) {
      other[2 * i] = interleave(rows[i], rows[i + n / 2], 0, Indices{});
      other[2 * i + 1] = interleave(rows[i], rows[i + n / 2], 1, Indices{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = other[i];
  }
}

// 2^x for x <= 0: 2^n times a polynomial on [-1/2, 1/2], relative error 1e-7 (float) or 4e-16 (double). Exactly 1
// for 0, exactly 0 far below the least normal number (between, subnormal or 0); NaN stays NaN.
template <typename A>
struct Exp2;
template <>
struct Exp2<float> {
  using Bits = int32_t;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLeast = -126.0f;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kPolynomial[] = {1.0f,
                                          0.6931471824645996f,
                                          0.24022646248340607f,
                                          0.05550328642129898f,
                                          0.009618489071726799f,
                                          0.0013399930903688073f,
                                          0.00015345810970757157f};
};
template <>
struct Exp2<double> {
  using Bits = int64_t;
  static constexpr double kRound = 6755399441055744.0;
  static constexpr double kLeast = -1022.0;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kPolynomial[] = {1.0,
                                           0.6931471805599453,
                                           0.2402265069591007,
                                           0.055504108664821576,
                                           0.009618129107628477,
                                           0.0013333558146428441,
                                           0.00015403530393381606,
                                           1.5252733804059838e-05,
                                           1.3215486790144305e-06,
                                           1.0178086009239696e-07,
                                           7.054911620801121e-09,
                                           4.44553827187081e-10,
                                           2.5678435993488196e-11,
                                           1.3691488853904124e-12};
};

template <typename A>
ARSEG_INLINE Vec<A> polynomial_of_exp2(Vec<A> r) {
  constexpr int degree = sizeof(Exp2<A>::kPolynomial) / sizeof(A) - 1;
  Vec<A> p = broadcast(Exp2<A>::kPolynomial[degree]);
#pragma GCC unroll 16
  for (int i = degree - 1; i >= 0; --i) p = p * r + broadcast(Exp2<A>::kPolynomial[i]);
  return p;
}

#if ARSEG_VECTOR_BYTES == 64
ARSEG_INLINE Vec<float> times_power_of_2(Vec<float> p, Vec<float> n) {
  return reinterpret_cast<Vec<float>>(_mm512_scalef_ps(reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
}
ARSEG_INLINE Vec<double> times_power_of_2(Vec<double> p, Vec<double> n) {
  return reinterpret_cast<Vec<double>>(_mm512_scalef_pd(reinterpret_cast<__m512d>(p), reinterpret_cast<__m512d>(n)));
}
ARSEG_INLINE Vec<float> nearest(Vec<float> x) {
  return reinterpret_cast<Vec<float>>(_mm512_roundscale_ps(reinterpret_cast<__m512>(x), _MM_FROUND_TO_NEAREST_INT));
}
ARSEG_INLINE Vec<double> nearest(Vec<double> x) {
  return reinterpret_cast<Vec<double>>(_mm512_roundscale_pd(reinterpret_cast<__m512d>(x), _MM_FROUND_TO_NEAREST_INT));
}

template <typename A>
ARSEG_INLINE Vec<A> exp2_nonpositive(Vec<A> x) {
  const Vec<A> safe = larger(broadcast(2 * Exp2<A>::kLeast), x);  // NaN stays
  const Vec<A> n = nearest(safe);
  return times_power_of_2(polynomial_of_exp2<A>(safe - n), n);
}
#else
template <typename A>
ARSEG_INLINE Vec<A> exp2_nonpositive(Vec<A> x) {
  using Const = Exp2<A>;
  using Bits = typename Const::Bits;
  const Vec<A> least = broadcast(Const::kLeast);
  const Vec<A> safe = larger(least, x);  // NaN stays
  const Vec<A> shifted = safe + broadcast(Const::kRound);
  const Vec<A> p = polynomial_of_exp2<A>(safe - (shifted - broadcast(Const::kRound)));
  typedef Bits BitVec __attribute__((vector_size(ARSEG_VECTOR_BYTES)));
  BitVec bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + Const::kBias) << Const::kMantissa;
  Vec<A> power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return x < least ? Vec<A>{} : p * power;
}
#endif

}  // namespace arseg::ARSEG_TARGET
