// What a product of attention is made of, for the type that computes. A microkernel says how values lie in the rings
// (its units) and how two of them are multiplied and added up. Float and double: a unit is a value. Bf16Microkernel: a
// unit is a pair of bfloat16 in 32 bits, and one instruction adds both products to a float.
//
// Keys and queries are transposed, [unit of channels][x], so that logits need no sums across lanes. Values keep
// their channels together, [x][channel], so that a weight is one broadcast for many channels.
#pragma once

namespace arseg::ARSEG_TARGET {

template <typename A>
struct PlainMicrokernel {
  using Scalar = A;  // of logits, sums and everything outside the rings
  using Unit = A;
  using Stored = A;  // what results are in, where a tile may write them itself
  static constexpr Element kStored = sizeof(A) == 8 ? Element::Double : Element::Float;
  static constexpr int kLanes = ARSEG_TARGET::kLanes<A>;
  static constexpr int kPerUnit = 1;
  static constexpr int kBlockChannels = kLanes;  // channels that put_block takes at once

  static ARSEG_INLINE Vec<A> multiply_add(Vec<A> a, Vec<A> b, Vec<A> sum) { return a * b + sum; }

  // block [kLanes pixels][kBlockChannels] -> to [unit][stride], the same pixels side by side.
  static ARSEG_INLINE void put_block(const A* block, int64_t pixel_stride, A* to, int64_t stride) {
    Vec<A> rows[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = load(block + i * pixel_stride);
    transpose<A>(rows);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) store(to + i * stride, rows[i]);
  }

  // Rows of values lie one by one in a ring of `slots`.
  static constexpr int kRowsPerSlot = 1;
  static constexpr int slots(int64_t rows) { return static_cast<int>(rows); }
};

#if ARSEG_BFLOAT16
struct Bf16Microkernel {
  using Scalar = float;
  using Unit = uint32_t;
  using Stored = BFloat16;
  static constexpr Element kStored = Element::BFloat16;
  static constexpr int kLanes = 16;
  static constexpr int kPerUnit = 2;
  static constexpr int kBlockChannels = 32;

  static ARSEG_INLINE Vec<float> multiply_add(Vec<uint32_t> a, Vec<uint32_t> b, Vec<float> sum) {
    return bit_cast<Vec<float>>(_mm512_dpbf16_ps(bit_cast<__m512>(sum), bit_cast<__m512bh>(a), bit_cast<__m512bh>(b)));
  }

  static ARSEG_INLINE void put_block(const float* block, int64_t pixel_stride, uint32_t* to, int64_t stride) {
    Vec<uint32_t> rows[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // channels in order are pairs in order
      const float* pixel = block + i * pixel_stride;
      rows[i] = bit_cast<Vec<uint32_t>>(
          _mm512_cvtne2ps_pbh(bit_cast<__m512>(load(pixel + 16)), bit_cast<__m512>(load(pixel))));
    }
    transpose<uint32_t>(rows);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) store(to + i * stride, rows[i]);
  }

  // A slot holds two rows of values, the even one in the low halves. A window may begin with either.
  static constexpr int kRowsPerSlot = 2;
  static constexpr int slots(int64_t rows) { return static_cast<int>(rows / 2 + 1); }
};

// to [pixels * channels] = pairs of two rows. Returns whether all values are finite, and stay so times `factor`.
inline bool pack_rows(const float* low, const float* high, int64_t count, uint32_t* to, float factor = 1) {
  const Vec<float> scale = broadcast(factor);
  Vec<float> check{};
  for (int64_t i = 0; i < count; i += kLanes<float>) {
    const Vec<float> a = load(low + i), b = load(high + i);
    check = a * scale * Vec<float>{} + check;  // becomes NaN with the first that is not
    check = b * scale * Vec<float>{} + check;
    store(to + i, pairs_of(a, b));
  }
  bool finite = true;
  for (int i = 0; i < kLanes<float>; ++i) finite = finite && check[i] == 0;
  return finite;
}
#endif

}  // namespace arseg::ARSEG_TARGET
