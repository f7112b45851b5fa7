// The warp on its own: strips of pixels, row by row. The rows that a strip reads stay in the second-level cache, where
// whole rows of a large map do not, and so do those that are fetched ahead.
#pragma once

namespace arseg::ARSEG_TARGET {

// Of a strip.
inline int64_t warp_pixels(const WarpParams& params) {
  return params.out.stride[1] == 1 ? 64 : staged_pixels(params.out.channels());
}

// Of a pixel that does not lie beside the one before it, in a field of vectors at the edges of blocks alone: the lines
// of its taps, which no fetching of rows ahead foresees. Two taps of a row lie in one piece.
template <typename A>
ARSEG_INLINE void fetch_jump(const Taps<A>& taps, int64_t i, int64_t pixel_bytes) {
  if (taps.address[0][i] - taps.address[0][i - 1] == pixel_bytes) return;
  for (int tap = 0; tap < 4; tap += 2) {
    const char* at = reinterpret_cast<const char*>(taps.address[tap][i]);
    for (int64_t line = 0; line < 2 * pixel_bytes; line += 64) __builtin_prefetch(at + line, 0, 3);
  }
}
constexpr int64_t kPixelsAhead = 4;

template <typename T>
ARSEG_INLINE void copy_pixel(const T* from, int64_t channels, T* to, bool streaming) {
  constexpr int64_t vector = ARSEG_VECTOR_BYTES;
  const char* source = reinterpret_cast<const char*>(from);
  char* target = reinterpret_cast<char*>(to);
  const int64_t bytes = channels * static_cast<int64_t>(sizeof(T));
  int64_t i = 0;
  for (; i + vector <= bytes; i += vector) {
    const Vec<int8_t> value = load(reinterpret_cast<const int8_t*>(source + i));
    if (streaming) {
      store_streaming(reinterpret_cast<int8_t*>(target + i), value);
    } else {
      store(reinterpret_cast<int8_t*>(target + i), value);
    }
  }
  if (i < bytes) std::memcpy(target + i, source + i, bytes - i);
}

// Straight to a map with the same element and channels together.
template <typename A, typename T>
ARSEG_NOINLINE void sample_to_map(const Taps<A>& taps, int64_t count, int64_t channels, int64_t ahead, T* to,
                                  int64_t stride, bool streaming) {
  constexpr int lanes = kLanes<A>;
  const int64_t whole = channels / lanes * lanes;
  const int64_t pixel_bytes = channels * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; ++i, to += stride) {
    const T* first = reinterpret_cast<const T*>(taps.address[0][i]);
    fetch_ahead(first + ahead, channels);
    if (i + kPixelsAhead < count) fetch_jump(taps, i + kPixelsAhead, pixel_bytes);
    if (on_a_pixel(taps, i)) {
      copy_pixel(first, channels, to, streaming);
      continue;
    }
    const T* from[4];
    Vec<A> weight[4];
    pixel_taps(taps, i, from, weight);
    int64_t c = 0;
    if constexpr (sizeof(T) == sizeof(A)) {
      if (streaming) {
        for (; c < whole; c += lanes) store_streaming(to + c, sample<A>(from, weight, c));
      }
    }
    if constexpr (std::is_same_v<T, BFloat16>) {
      for (; c + 2 * lanes <= channels; c += 2 * lanes) {
        Vec<float> even, odd;
        sample_pairs(from, weight, c, even, odd);
        uint32_t* words = reinterpret_cast<uint32_t*>(to + c);
        if (streaming) {
          store_streaming(words, pairs_of(even, odd));
        } else {
          store(words, pairs_of(even, odd));
        }
      }
    }
    if constexpr (std::is_same_v<T, Half>) {
      if (streaming) {
        for (; c + 2 * lanes <= channels; c += 2 * lanes) {
          const HalfBits low = narrow(T{}, sample<A>(from, weight, c));
          const HalfBits high = narrow(T{}, sample<A>(from, weight, c + lanes));
          store_streaming(reinterpret_cast<uint16_t*>(to + c), join(low, high));
        }
      }
    }
    for (; c < whole; c += lanes) store_as(to + c, sample<A>(from, weight, c));
    if (c < channels && whole) {  // a whole vector that ends with the pixel: what it shares with the last is the same
      store_as(to + channels - lanes, sample<A>(from, weight, channels - lanes));
    } else if (c < channels) {
      store_some(to + c, sample_some<A>(from, weight, c, channels - c), channels - c);
    }
  }
}

template <typename A, typename T>
void warp_rows(const WarpParams& params, int64_t first, int64_t last, Arena& arena) {
  const Map& feature = params.feature;
  const int64_t channels = feature.channels(), width = feature.width();
  const int64_t stride = round_up(channels, kLanes<A>), pixels = warp_pixels(params);
  Taps<A> taps(pixels, channels, arena);
  A* staged = arena.take<A>(pixels * stride);
  taps.clear();
  const int64_t ahead = kRowsAhead * feature.stride[2];
  for (int64_t x = 0; x < width; x += pixels) {
    const int64_t count = std::min(pixels, width - x);
    for (int64_t row = first; row < last; ++row) {
      const int64_t n = row / feature.height(), y = row % feature.height();
      motion_taps(params.motion, feature, n, y, x, count, taps);
      if (params.out.stride[1] == 1) {
        sample_to_map<A, T>(taps, count, channels, ahead, params.out.at<T>(n, 0, y, x), params.out.stride[3],
                            params.streaming);
      } else {
        sample_pixels<A, T>(taps, count, channels, ahead, staged, stride);
        store_pixels<A, T>(params.out, n, y, x, count, staged, stride);
      }
    }
  }
  if (params.streaming) stores_done();
}

inline int64_t warp_scratch(const WarpParams& params) {
  Arena measure;
  Taps<double> taps(warp_pixels(params), params.feature.channels(), measure);
  measure.take<double>(warp_pixels(params) * round_up(params.feature.channels(), 16));
  return measure.used();
}

inline void warp_task(const WarpParams& params, int64_t first, int64_t last, void* scratch) {
  Arena arena(scratch);
  switch (params.feature.element) {
    case Element::Float:
      return warp_rows<float, float>(params, first, last, arena);
    case Element::Double:
      return warp_rows<double, double>(params, first, last, arena);
    case Element::Half:
      return warp_rows<float, Half>(params, first, last, arena);
    case Element::BFloat16:
      return warp_rows<float, BFloat16>(params, first, last, arena);
  }
}

}  // namespace arseg::ARSEG_TARGET
