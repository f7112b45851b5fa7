// Values in memory (float, double, half, bfloat16) to and from vectors of the type that computes.
#pragma once

namespace arseg::ARSEG_TARGET {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

typedef uint16_t HalfBits __attribute__((vector_size(ARSEG_VECTOR_BYTES / 2)));  // as many as floats in a vector
typedef uint32_t WordBits __attribute__((vector_size(ARSEG_VECTOR_BYTES)));

template <typename To, typename From>
ARSEG_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

ARSEG_INLINE WordBits words_of(HalfBits bits) {
#if ARSEG_VECTOR_BYTES == 64
  return bit_cast<WordBits>(_mm512_cvtepu16_epi32(bit_cast<__m256i>(bits)));
#elif ARSEG_VECTOR_BYTES == 32
  return bit_cast<WordBits>(_mm256_cvtepu16_epi32(bit_cast<__m128i>(bits)));
#else
  return __builtin_convertvector(bits, WordBits);
#endif
}

ARSEG_INLINE Vec<float> widen(BFloat16, HalfBits bits) { return bit_cast<Vec<float>>(words_of(bits) << 16); }

// Rounded to bfloat16, to nearest, ties to even, in the high half of each word; the low one has what was lost.
ARSEG_INLINE WordBits rounded_words(Vec<float> value) {
  const WordBits bits = bit_cast<WordBits>(value);
  const WordBits rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const WordBits quiet_nan = WordBits{} + 0x7fc00000u;
  return value == value ? rounded : quiet_nan;
}

ARSEG_INLINE HalfBits narrow(BFloat16, Vec<float> value) {
#if ARSEG_BFLOAT16
  return bit_cast<HalfBits>(_mm512_cvtneps_pbh(bit_cast<__m512>(value)));
#else
  return __builtin_convertvector(rounded_words(value) >> 16, HalfBits);
#endif
}

#if ARSEG_VECTOR_BYTES == 64
ARSEG_INLINE Vec<float> widen(Half, HalfBits bits) {
  return bit_cast<Vec<float>>(_mm512_cvtph_ps(bit_cast<__m256i>(bits)));
}
ARSEG_INLINE HalfBits narrow(Half, Vec<float> value) {
  return bit_cast<HalfBits>(_mm512_cvtps_ph(bit_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif ARSEG_VECTOR_BYTES == 32
ARSEG_INLINE Vec<float> widen(Half, HalfBits bits) {
  return bit_cast<Vec<float>>(_mm256_cvtph_ps(bit_cast<__m128i>(bits)));
}
ARSEG_INLINE HalfBits narrow(Half, Vec<float> value) {
  return bit_cast<HalfBits>(_mm256_cvtps_ph(bit_cast<__m256>(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#else
ARSEG_INLINE Vec<float> widen(Half, HalfBits bits) {
  const WordBits wide = words_of(bits);
  const WordBits sign = (wide & 0x8000u) << 16;
  // As a float of the same bits the value is 2^-112 times too small, subnormals included.
  Vec<float> value = bit_cast<Vec<float>>((wide & 0x7fffu) << 13) * 0x1p112f;
  const WordBits infinite = bit_cast<WordBits>(value) | 0x7f800000u;  // exponent 31: infinity or NaN
  value = (wide & 0x7c00u) == 0x7c00u ? bit_cast<Vec<float>>(infinite) : value;
  return bit_cast<Vec<float>>(bit_cast<WordBits>(value) | sign);
}
ARSEG_INLINE HalfBits narrow(Half, Vec<float> value) {
  const WordBits bits = bit_cast<WordBits>(value);
  const WordBits sign = (bits >> 16) & 0x8000u;
  const WordBits magnitude = bits & 0x7fffffffu;
  // Normal results: rebias, then round to nearest even. Subnormal ones: adding 1/2 aligns the bits and rounds.
  const WordBits normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const WordBits small = bit_cast<WordBits>(bit_cast<Vec<float>>(magnitude) + 0.5f) - 0x3f000000u;
  WordBits half = magnitude < (113u << 23) ? small : normal;
  half = half > 0x7c00u ? WordBits{} + 0x7c00u : half;
  half = magnitude >= (143u << 23) ? WordBits{} + 0x7c00u : half;  // 65536 and more
  half = magnitude > 0x7f800000u ? WordBits{} + 0x7e00u : half;    // NaN
  return __builtin_convertvector(half | sign, HalfBits);
}
#endif

ARSEG_INLINE Vec<uint16_t> join(HalfBits low, HalfBits high) {
  struct {
    HalfBits low, high;
  } both = {low, high};
  return bit_cast<Vec<uint16_t>>(both);
}

// Two vectors as pairs of bfloat16 in 32-bit words: `low` in the low halves, so the first of each pair in memory.
ARSEG_INLINE WordBits pairs_of(Vec<float> low, Vec<float> high) {
#if ARSEG_BFLOAT16
  alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(bit_cast<__m512>(high), bit_cast<__m512>(low));
  return bit_cast<WordBits>(_mm512_permutexvar_epi16(_mm512_load_si512(order), both));
#else
  return (rounded_words(low) >> 16) | (rounded_words(high) & 0xffff0000u);
#endif
}
ARSEG_INLINE Vec<float> low_of(WordBits pairs) { return bit_cast<Vec<float>>(pairs << 16); }
ARSEG_INLINE Vec<float> high_of(WordBits pairs) { return bit_cast<Vec<float>>(pairs & 0xffff0000u); }

// A vector of A from as many values of T in memory.
ARSEG_INLINE Vec<float> load_as(const float* from, float) { return load(from); }
ARSEG_INLINE Vec<double> load_as(const double* from, double) { return load(from); }
template <typename T>
ARSEG_INLINE Vec<float> load_as(const T* from, float) {
  HalfBits bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return widen(T{}, bits);
}

ARSEG_INLINE void store_as(float* to, Vec<float> value) { store(to, value); }
ARSEG_INLINE void store_as(double* to, Vec<double> value) { store(to, value); }
template <typename T>
ARSEG_INLINE void store_as(T* to, Vec<float> value) {
  const HalfBits bits = narrow(T{}, value);
  __builtin_memcpy(to, &bits, sizeof bits);
}

// Up to four 16-bit values, as they lie in memory.
template <typename T>
ARSEG_INLINE uint64_t first_words(const T* from, int64_t count) {
  uint64_t bits = 0;
  if (count >= 4) {
    __builtin_memcpy(&bits, from, sizeof bits);
    return bits;
  }
  if (count > 0) bits = from[0].bits;
  if (count > 1) bits |= static_cast<uint64_t>(from[1].bits) << 16;
  if (count > 2) bits |= static_cast<uint64_t>(from[2].bits) << 32;
  return bits;
}

#if ARSEG_VECTOR_BYTES == 32
// From place 8 - count on: a mask of the first `count` lanes of 32 bits.
alignas(64) constexpr int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
#endif

// The first `count` lanes alone, less than a vector; the others are 0. Nothing goes through memory: a vector read from
// values that were just written one by one waits for them.
template <typename A, typename T>
ARSEG_INLINE Vec<A> load_some(const T* from, int64_t count) {
#if ARSEG_VECTOR_BYTES == 64
  const auto lanes = static_cast<__mmask16>((1u << count) - 1);
  if constexpr (sizeof(T) == 2) {
    return widen(T{}, bit_cast<HalfBits>(_mm256_maskz_loadu_epi16(lanes, from)));
  } else if constexpr (sizeof(T) == 4) {
    return bit_cast<Vec<A>>(_mm512_maskz_loadu_ps(lanes, from));
  } else {
    return bit_cast<Vec<A>>(_mm512_maskz_loadu_pd(static_cast<__mmask8>(lanes), from));
  }
#elif ARSEG_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 2) {
    const uint64_t low = first_words(from, count), high = first_words(from + 4, count - 4);
    return widen(T{}, bit_cast<HalfBits>(_mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low))));
  } else {
    const auto lanes = load_bytes<__m256i>(kFirstLanes + 8 - count * static_cast<int64_t>(sizeof(T) / 4));
    if constexpr (sizeof(T) == 4) {
      return bit_cast<Vec<A>>(_mm256_maskload_ps(from, lanes));
    } else {
      return bit_cast<Vec<A>>(_mm256_maskload_pd(from, lanes));
    }
  }
#else
  if constexpr (sizeof(T) == 2) {
    return widen(T{}, bit_cast<HalfBits>(first_words(from, count)));
  } else {
    Vec<A> value{};
    for (int i = 0; i < kLanes<A> - 1; ++i) value[i] = i < count ? from[i] : A(0);
    return value;
  }
#endif
}

template <typename T, typename V>
ARSEG_INLINE void store_some(T* to, V value, int64_t count) {
#if ARSEG_VECTOR_BYTES == 64
  const auto lanes = static_cast<__mmask16>((1u << count) - 1);
  if constexpr (std::is_same_v<T, float>) return _mm512_mask_storeu_ps(to, lanes, bit_cast<__m512>(value));
  if constexpr (sizeof(T) == 2) return _mm256_mask_storeu_epi16(to, lanes, bit_cast<__m256i>(narrow(T{}, value)));
#endif
  alignas(64) T buffer[sizeof(V) / sizeof(value[0])];
  store_as(buffer, value);
  for (int64_t i = 0; i < count; ++i) to[i] = buffer[i];
}

}  // namespace arseg::ARSEG_TARGET
