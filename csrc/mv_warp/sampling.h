// Bilinear sampling of maps whose channels lie together: where each pixel of a row samples (taps), and the sampling.
#pragma once

namespace arseg::ARSEG_TARGET {

// Four taps for each of a row's pixels: upper left, upper right, lower left, lower right. Of a warp, a tap that is
// outside the map, or has weight 0, is read from a row of zeros: an Inf or NaN there does not leak in. Of resizing all
// taps are read, as torch.nn.functional.interpolate does.
template <typename A>
struct Taps {
  int64_t* address[4];  // of the pixel's first channel
  A* weight[4];
  double* displacement[2];  // scratch: x, y in pixels
  int64_t zeros;            // address of a pixel of zeros
  bool every = false;       // whether taps of weight 0 are read

  Taps(int64_t pixels, int64_t channels, Arena& arena) {
    pixels = round_up(pixels, kLanes<double>);
    for (int i = 0; i < 4; ++i) {
      address[i] = arena.take<int64_t>(pixels);
      weight[i] = arena.take<A>(pixels);
    }
    for (double*& part : displacement) part = arena.take<double>(pixels);
    zero_count_ = round_up(channels, kLanes<A>);
    zero_row_ = arena.take<A>(zero_count_);
    zeros = reinterpret_cast<int64_t>(zero_row_);
  }
  void clear() { std::memset(zero_row_, 0, zero_count_ * sizeof(A)); }

 private:
  A* zero_row_;
  int64_t zero_count_;
};

template <typename T>
void read_flow(const MotionParams& motion, int64_t n, int64_t y, int64_t x, int64_t count, double* dx, double* dy) {
  const T* vector =
      static_cast<const T*>(motion.data) + n * motion.stride[0] + y * motion.stride[1] + x * motion.stride[2];
  for (int64_t i = 0; i < count; ++i, vector += motion.stride[2]) {
    if constexpr (sizeof(T) == 2) {
      dx[i] = load_one<float>(vector);
      dy[i] = load_one<float>(vector + motion.stride[3]);
    } else {
      dx[i] = vector[0];
      dy[i] = vector[motion.stride[3]];
    }
  }
}

// Displacements of `count` pixels of row y, inside the map, in its pixels.
inline void read_motion(const MotionParams& motion, int64_t n, int64_t y, int64_t x, int64_t count, double* dx,
                        double* dy) {
  if (!motion.block_column) {
    switch (motion.element) {
      case Element::Float:
        return read_flow<float>(motion, n, y, x, count, dx, dy);
      case Element::Double:
        return read_flow<double>(motion, n, y, x, count, dx, dy);
      case Element::Half:
        return read_flow<Half>(motion, n, y, x, count, dx, dy);
      case Element::BFloat16:
        return read_flow<BFloat16>(motion, n, y, x, count, dx, dy);
    }
  }
  const int16_t* row =
      static_cast<const int16_t*>(motion.data) + n * motion.stride[0] + motion.block_row[y] * motion.stride[1];
  for (int64_t i = 0; i < count; ++i) {
    const int16_t* vector = row + motion.block_column[x + i] * motion.stride[2];
    dx[i] = vector[0] * motion.x_scale;
    dy[i] = vector[motion.stride[3]] * motion.y_scale;
  }
}

// The two pixels of one axis between which kLanes positions lie, as weights and indices; all of it exact in double.
struct AxisTaps {
  Vec<double> index[2], weight[2];
};

// Position = at + shift; a pixel outside [0, size) has weight 0 and some index inside.
ARSEG_INLINE AxisTaps axis_taps(Vec<double> at, Vec<double> shift, double size) {
  const Vec<double> most = broadcast(0x1p40), round = broadcast(0x1.8p52), zero{}, one = broadcast(1.0);
  shift = shift > most ? most : shift;
  shift = shift < -most ? -most : shift;
  Vec<double> whole = (shift + round) - round;
  whole = whole > shift ? whole - one : whole;
  const Vec<double> fraction = shift - whole;
  AxisTaps taps;
  const Vec<double> last = broadcast(size - 1);
  for (int i = 0; i < 2; ++i) {
    const Vec<double> index = at + whole + broadcast(static_cast<double>(i));
    const auto inside = (index >= zero) & (index <= last);  // false for NaN
    taps.index[i] = inside ? index : zero;
    taps.weight[i] = inside ? (i ? fraction : one - fraction) : zero;
  }
  return taps;
}

ARSEG_INLINE Vec<double> legacy_shift(Vec<double> at, Vec<double> displacement, double size) {
  const double stretch = size > 1 ? 1 / (size - 1) : 0;
  return displacement + (at + displacement) * broadcast(stretch) - broadcast(0.5);
}

typedef int64_t LongVec __attribute__((vector_size(ARSEG_VECTOR_BYTES)));

typedef float NarrowVec __attribute__((vector_size(ARSEG_VECTOR_BYTES / 2)));

ARSEG_INLINE NarrowVec narrowed(Vec<double> value) { return __builtin_convertvector(value, NarrowVec); }

ARSEG_INLINE void store_weights(double* to, Vec<double> weight) { store(to, weight); }
ARSEG_INLINE void store_weights(float* to, Vec<double> weight) {
  const NarrowVec narrow = narrowed(weight);
  __builtin_memcpy(to, &narrow, sizeof narrow);
}

template <typename A>
ARSEG_INLINE void store_taps(const AxisTaps& h, const AxisTaps& v, int64_t base, int64_t row_bytes,
                             int64_t column_bytes, int64_t i, Taps<A>& taps) {
#pragma GCC unroll 4
  for (int tap = 0; tap < 4; ++tap) {
    const Vec<double> weight = v.weight[tap / 2] * h.weight[tap % 2];
    // Whole numbers below 2^52 are the low bits of themselves plus 2^52.
    const Vec<double> offset = v.index[tap / 2] * broadcast(static_cast<double>(row_bytes)) +
                               h.index[tap % 2] * broadcast(static_cast<double>(column_bytes));
    const LongVec address = (bit_cast<LongVec>(offset + broadcast(0x1p52)) & ((int64_t{1} << 52) - 1)) + base;
    const LongVec chosen = weight != Vec<double>{} ? address : LongVec{} + taps.zeros;
    store(taps.address[tap] + i, taps.every ? address : chosen);
    store_weights(taps.weight[tap] + i, weight);
  }
}

inline int64_t element_bytes(Element element) {
  return element == Element::Double ? 8 : element == Element::Float ? 4 : 2;
}

// Taps of `count` pixels of row y from column x on, all inside the map.
template <typename A>
void motion_taps(const MotionParams& motion, const Map& feature, int64_t n, int64_t y, int64_t x, int64_t count,
                 Taps<A>& taps) {
  constexpr int lanes = kLanes<double>;
  taps.every = false;
  read_motion(motion, n, y, x, count, taps.displacement[0], taps.displacement[1]);
  const int64_t bytes = element_bytes(feature.element);
  const int64_t base = reinterpret_cast<int64_t>(feature.data) + n * feature.stride[0] * bytes;
  const double height = static_cast<double>(feature.height()), width = static_cast<double>(feature.width());
  Vec<double> step;
  for (int i = 0; i < lanes; ++i) step[i] = i;
  for (int64_t i = 0; i < count; i += lanes) {
    const Vec<double> column = broadcast(static_cast<double>(x + i)) + step;
    const Vec<double> row = broadcast(static_cast<double>(y));
    Vec<double> dx = load(taps.displacement[0] + i), dy = load(taps.displacement[1] + i);
    if (motion.grid == Grid::Legacy) {
      dx = legacy_shift(column, dx, width);
      dy = legacy_shift(row, dy, height);
    }
    store_taps(axis_taps(column, dx, width), axis_taps(row, dy, height), base, feature.stride[2] * bytes,
               feature.stride[3] * bytes, i, taps);
  }
}

// Where bilinear resizing from `size` to `target` pixels samples along one axis: as torch, which clamps positions to
// the map, has one pixel for each where the sizes are equal, and works positions out in the type that adds up, A.
template <typename A>
struct ResizeAxis {
  double step, last;
  bool align_corners;

  ResizeAxis(int64_t size, int64_t target, bool align_corners)
      : last(static_cast<double>(size - 1)), align_corners(align_corners) {
    const A in = static_cast<A>(align_corners ? size - 1 : size);
    const A out = static_cast<A>(align_corners ? target - 1 : target);
    step = out > 0 ? in / out : A(0);
  }
  ARSEG_INLINE AxisTaps taps(Vec<double> at) const {
    const Vec<double> zero{}, one = broadcast(1.0), round = broadcast(0x1.8p52), half = broadcast(0.5);
    // Rounded once, as by the fused multiply-add that torch's kernels are compiled to.
    Vec<double> position = align_corners ? at * broadcast(step) : (at + half) * broadcast(step) - half;
    if constexpr (!std::is_same_v<A, double>) position = through_float(position);
    keep_in_register(position);  // no further product is to be fused with what follows
    position = position < zero ? zero : position;
    const Vec<double> near = through_float(position);  // torch finds the pixel with floorf, for double, too
    Vec<double> lower = (near + round) - round;
    lower = lower > near ? lower - one : lower;
    lower = lower > broadcast(last) ? broadcast(last) : lower;
    const Vec<double> upper = step == 1 || last == 0 ? lower : lower + one;
    Vec<double> fraction = position - lower;
    fraction = fraction < zero ? zero : fraction > one ? one : fraction;
    AxisTaps taps;
    taps.index[0] = lower;
    taps.index[1] = upper > broadcast(last) ? lower : upper;
    taps.weight[0] = one - fraction;
    taps.weight[1] = fraction;
    return taps;
  }

 private:
  // In one piece: of a loop over the lanes GCC 12 makes nothing, and the value stays as it was.
  static ARSEG_INLINE Vec<double> through_float(Vec<double> value) {
    return __builtin_convertvector(narrowed(value), Vec<double>);
  }
};

// Taps of bilinear resizing: pixels of row y of a map of the given size.
template <typename A>
void resize_taps(const Map& from, int64_t height, int64_t width, int64_t n, int64_t y, int64_t x, int64_t count,
                 Taps<A>& taps, bool align_corners = true) {
  constexpr int lanes = kLanes<double>;
  const int64_t bytes = element_bytes(from.element);
  const int64_t base = reinterpret_cast<int64_t>(from.data) + n * from.stride[0] * bytes;
  const ResizeAxis<A> vertical(from.height(), height, align_corners), horizontal(from.width(), width, align_corners);
  taps.every = true;
  const AxisTaps v = vertical.taps(broadcast(static_cast<double>(y)));
  Vec<double> step;
  for (int i = 0; i < lanes; ++i) step[i] = i;
  for (int64_t i = 0; i < count; i += lanes) {
    const AxisTaps h = horizontal.taps(broadcast(static_cast<double>(x + i)) + step);
    store_taps(h, v, base, from.stride[2] * bytes, from.stride[3] * bytes, i, taps);
  }
}

// Whether a pixel lies on its upper left tap: it is a copy.
template <typename A>
ARSEG_INLINE bool on_a_pixel(const Taps<A>& taps, int64_t i) {
  return taps.weight[0][i] == A(1) && !taps.every;
}

// One vector of channels of a pixel.
template <typename A, typename T>
ARSEG_INLINE Vec<A> sample(const T* const (&from)[4], const Vec<A> (&weight)[4], int64_t c) {
  Vec<A> sum = load_as(from[0] + c, A{}) * weight[0];
#pragma GCC unroll 4
  for (int tap = 1; tap < 4; ++tap) sum = load_as(from[tap] + c, A{}) * weight[tap] + sum;
  return sum;
}

template <typename A, typename T>
ARSEG_INLINE Vec<A> sample_some(const T* const (&from)[4], const Vec<A> (&weight)[4], int64_t c, int64_t count) {
  Vec<A> sum = load_some<A>(from[0] + c, count) * weight[0];
  for (int tap = 1; tap < 4; ++tap) sum = load_some<A>(from[tap] + c, count) * weight[tap] + sum;
  return sum;
}

// Two vectors of channels of bfloat16: the even ones and the odd ones, which lie in the halves of words.
ARSEG_INLINE void sample_pairs(const BFloat16* const (&from)[4], const Vec<float> (&weight)[4], int64_t c,
                               Vec<float>& even, Vec<float>& odd) {
  even = odd = Vec<float>{};
#pragma GCC unroll 4
  for (int tap = 0; tap < 4; ++tap) {
    const WordBits pairs = load(reinterpret_cast<const uint32_t*>(from[tap] + c));
    even = low_of(pairs) * weight[tap] + even;
    odd = high_of(pairs) * weight[tap] + odd;
  }
}

template <typename A, typename T>
ARSEG_INLINE void pixel_taps(const Taps<A>& taps, int64_t i, const T* (&from)[4], Vec<A> (&weight)[4]) {
#pragma GCC unroll 4
  for (int tap = 0; tap < 4; ++tap) {
    from[tap] = reinterpret_cast<const T*>(taps.address[tap][i]);
    weight[tap] = broadcast(taps.weight[tap][i]);
  }
}

// to [count][stride]: the sampled pixels, channels beyond `channels` 0. `ahead`: elements to what is fetched early.
template <typename A, typename T>
ARSEG_NOINLINE void sample_pixels(const Taps<A>& taps, int64_t count, int64_t channels, int64_t ahead, A* to,
                                  int64_t stride) {
  constexpr int lanes = kLanes<A>;
  const int64_t whole = channels / lanes * lanes;
  for (int64_t i = 0; i < count; ++i, to += stride) {
    const T* first = reinterpret_cast<const T*>(taps.address[0][i]);
    if (ahead) fetch_ahead(first + ahead, channels);
    if (on_a_pixel(taps, i)) {
      load_pixel(first, channels, to, stride);
      continue;
    }
    const T* from[4];
    Vec<A> weight[4];
    pixel_taps(taps, i, from, weight);
    int64_t c = 0;
    if constexpr (std::is_same_v<T, BFloat16>) {
      for (; c + 2 * lanes <= channels; c += 2 * lanes) {
        Vec<float> even, odd;
        sample_pairs(from, weight, c, even, odd);
        using Indices = std::make_integer_sequence<int, lanes>;
        store(to + c, interleave(even, odd, 0, Indices{}));
        store(to + c + lanes, interleave(even, odd, 1, Indices{}));
      }
    }
#pragma GCC unroll 4
    for (; c < whole; c += lanes) store(to + c, sample<A>(from, weight, c));
    if (c < channels) {
      if (whole) {  // the last vector anew, from where it is whole: what it shares with the one before is the same
        store(to + channels - lanes, sample<A>(from, weight, channels - lanes));
        for (int64_t over = channels; over < stride; ++over) to[over] = A(0);
      } else {
        store(to + c, sample_some<A>(from, weight, c, channels - c));
      }
      c += lanes;
    }
    for (; c < stride; c += lanes) store(to + c, Vec<A>{});
  }
}

inline void sample_row(Element, const Taps<double>& taps, int64_t count, int64_t channels, int64_t ahead, double* to,
                       int64_t stride) {
  sample_pixels<double, double>(taps, count, channels, ahead, to, stride);
}

inline void sample_row(Element element, const Taps<float>& taps, int64_t count, int64_t channels, int64_t ahead,
                       float* to, int64_t stride) {
  switch (element) {
    case Element::Half:
      return sample_pixels<float, Half>(taps, count, channels, ahead, to, stride);
    case Element::BFloat16:
      return sample_pixels<float, BFloat16>(taps, count, channels, ahead, to, stride);
    default:
      return sample_pixels<float, float>(taps, count, channels, ahead, to, stride);
  }
}

}  // namespace arseg::ARSEG_TARGET
