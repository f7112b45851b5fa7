// Rows of maps to and from scratch: pixels one after the other, each with its channels together ([x][stride]), in
// the type that computes.
#pragma once

namespace arseg::ARSEG_TARGET {

// The processor foresees straight lines, not the next row of a strip.
template <typename T>
ARSEG_INLINE void fetch_ahead(const T* from, int64_t channels) {
  for (int64_t c = 0; c < channels; c += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(from + c, 0, 2);
}
constexpr int64_t kRowsAhead = 3;

// Pixels that will be needed soon, fetched a few lines at a time between other work: a core keeps some twenty lines on
// their way, and a whole row at once would wait for them.
class Fetcher {
 public:
  void clear() { count_ = lines_ = next_ = share_ = 0; }

  // `pixels` of a row whose channels lie together; of another map, or outside the image, nothing.
  void add(const Map& map, int64_t n, int64_t y, int64_t x, int64_t pixels) {
    const int64_t first = std::max<int64_t>(x, 0), last = std::min(x + pixels, map.width());
    if (map.stride[1] != 1 || y < 0 || y >= map.height() || first >= last || count_ == kMost) return;
    const int64_t bytes = map.element == Element::Double ? 8 : map.element == Element::Float ? 4 : 2;
    const char* at =
        static_cast<const char*>(map.data) + (n * map.stride[0] + y * map.stride[2] + first * map.stride[3]) * bytes;
    runs_[count_++] = {at, ((last - first) * map.stride[3] * bytes + 63) / 64};
    lines_ += runs_[count_ - 1].lines;
  }

  // From here on step() fetches one of `parts` equal parts.
  void divide(int64_t parts) { share_ = (lines_ + parts - 1) / parts; }
  ARSEG_INLINE void step() {
    for (int64_t left = share_; left > 0 && next_ < count_;) {
      Run& run = runs_[next_];
      const int64_t lines = std::min(left, run.lines);
      for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(run.at + 64 * i, 0, 2);
      run.at += 64 * lines;
      run.lines -= lines;
      left -= lines;
      next_ += run.lines == 0;
    }
  }

 private:
  static constexpr int kMost = 12;
  struct Run {
    const char* at;
    int64_t lines;
  };
  Run runs_[kMost];
  int count_ = 0, next_ = 0;
  int64_t lines_ = 0, share_ = 0;
};

// `channels` values of one pixel from contiguous memory; the rest of `stride` becomes 0.
template <typename A, typename T>
ARSEG_INLINE void load_pixel(const T* from, int64_t channels, A* to, int64_t stride) {
  constexpr int lanes = kLanes<A>;
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) store(to + c, load_as(from + c, A{}));
  if (c < channels) {
    store(to + c, load_some<A>(from + c, channels - c));
    c += lanes;
  }
  for (; c < stride; c += lanes) store(to + c, Vec<A>{});
}

// Channel planes (neighbours in x contiguous): square blocks, transposed.
template <typename A, typename T>
void load_planes(const T* from, int64_t plane, int64_t count, int64_t channels, A* to, int64_t stride) {
  constexpr int lanes = kLanes<A>;
  for (int64_t c = 0; c < stride; c += lanes) {
    const int64_t rows = std::min<int64_t>(lanes, channels - c);
    for (int64_t x = 0; x < count; x += lanes) {
      const int64_t columns = std::min<int64_t>(lanes, count - x);
      Vec<A> block[lanes];
      for (int i = 0; i < lanes; ++i) {
        const T* row = from + (c + i) * plane + x;
        block[i] = i >= rows ? Vec<A>{} : columns == lanes ? load_as(row, A{}) : load_some<A>(row, columns);
      }
      transpose<A>(block);
      for (int64_t i = 0; i < columns; ++i) store(to + (x + i) * stride + c, block[i]);
    }
  }
}

template <typename A, typename T>
ARSEG_INLINE A load_one(const T* from) {
  return load_some<A>(from, 1)[0];
}

template <typename A, typename T>
void load_pixels(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, A* to, int64_t stride) {
  const int64_t channels = map.channels();
  const T* from = map.at<const T>(n, 0, y, x);
  if (map.stride[1] == 1 || channels == 1) {
    for (int64_t i = 0; i < count; ++i) {
      load_pixel(from + i * map.stride[3], channels, to + i * stride, stride);
    }
  } else if (map.stride[3] == 1 || count == 1) {
    load_planes(from, map.stride[1], count, channels, to, stride);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < stride; ++c) {
        to[i * stride + c] = c < channels ? load_one<A>(from + i * map.stride[3] + c * map.stride[1]) : A(0);
      }
    }
  }
}

inline void load_elements(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, double* to, int64_t stride) {
  load_pixels<double, double>(map, n, y, x, count, to, stride);
}

inline void load_elements(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, float* to, int64_t stride) {
  switch (map.element) {
    case Element::Half:
      return load_pixels<float, Half>(map, n, y, x, count, to, stride);
    case Element::BFloat16:
      return load_pixels<float, BFloat16>(map, n, y, x, count, to, stride);
    default:
      return load_pixels<float, float>(map, n, y, x, count, to, stride);
  }
}

// `count` pixels of row y from column x on; what lies outside the image is 0.
template <typename A>
void load_row(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, A* to, int64_t stride) {
  int64_t first = std::clamp<int64_t>(-x, 0, count);
  int64_t last = std::clamp<int64_t>(map.width() - x, first, count);
  if (y < 0 || y >= map.height()) first = last = count;
  std::memset(to, 0, first * stride * sizeof(A));
  std::memset(to + last * stride, 0, (count - last) * stride * sizeof(A));
  if (first < last) load_elements(map, n, y, x + first, last - first, to + first * stride, stride);
}

// The way back. `streaming` is for results too large for the caches.
template <typename A, typename T>
void store_pixels(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, const A* from, int64_t stride) {
  constexpr int lanes = kLanes<A>;
  const int64_t channels = map.channels();
  T* to = map.at<T>(n, 0, y, x);
  if (map.stride[1] == 1) {
    for (int64_t i = 0; i < count; ++i, to += map.stride[3], from += stride) {
      int64_t c = 0;
      for (; c + lanes <= channels; c += lanes) store_as(to + c, load(from + c));
      if (c < channels) store_some(to + c, load(from + c), channels - c);
    }
    return;
  }
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t rows = std::min<int64_t>(lanes, channels - c);
    for (int64_t i = 0; i < count; i += lanes) {
      const int64_t columns = std::min<int64_t>(lanes, count - i);
      Vec<A> block[lanes];
      for (int k = 0; k < lanes; ++k) block[k] = k < columns ? load(from + (i + k) * stride + c) : Vec<A>{};
      transpose<A>(block);
      for (int64_t k = 0; k < rows; ++k) {
        T* row = to + (c + k) * map.stride[1] + i * map.stride[3];
        if (map.stride[3] != 1) {
          for (int64_t j = 0; j < columns; ++j) {
            store_some(row + j * map.stride[3], broadcast<A>(block[k][j]), 1);
          }
        } else if (columns == lanes) {
          store_as(row, block[k]);
        } else {
          store_some(row, block[k], columns);
        }
      }
    }
  }
}

inline void store_row(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, const double* from,
                      int64_t stride) {
  store_pixels<double, double>(map, n, y, x, count, from, stride);
}

inline void store_row(const Map& map, int64_t n, int64_t y, int64_t x, int64_t count, const float* from,
                      int64_t stride) {
  switch (map.element) {
    case Element::Half:
      return store_pixels<float, Half>(map, n, y, x, count, from, stride);
    case Element::BFloat16:
      return store_pixels<float, BFloat16>(map, n, y, x, count, from, stride);
    default:
      return store_pixels<float, float>(map, n, y, x, count, from, stride);
  }
}

// Pixels of a row that are staged on the way between planes and pixels: as many as fit the second-level cache, since
// each plane is another page, and pieces of it longer than a few lines are read and written faster.
constexpr int64_t staged_pixels(int64_t channels) {
  return std::clamp<int64_t>((int64_t{1} << 16) / round_up(std::max<int64_t>(channels, 1), 16) / 64 * 64, 64, 1024);
}

inline int64_t copy_scratch(const CopyParams& params) {
  const int64_t channels = params.from.channels();
  return staged_pixels(channels) * round_up(channels, 16) * static_cast<int64_t>(sizeof(double));
}

template <typename A>
void copy_rows(const CopyParams& params, int64_t first, int64_t last, A* staged) {
  const int64_t stride = round_up(params.from.channels(), kLanes<A>), pixels = staged_pixels(params.from.channels());
  for (int64_t row = first; row < last; ++row) {
    const int64_t n = row / params.from.height(), y = row % params.from.height();
    for (int64_t x = 0; x < params.from.width(); x += pixels) {
      const int64_t count = std::min(pixels, params.from.width() - x);
      load_row(params.from, n, y, x, count, staged, stride);
      store_row(params.to, n, y, x, count, staged, stride);
    }
  }
}

inline void copy_task(const CopyParams& params, int64_t first, int64_t last, void* scratch) {
  if (params.from.element == Element::Double) {
    copy_rows(params, first, last, static_cast<double*>(scratch));
  } else {
    copy_rows(params, first, last, static_cast<float*>(scratch));
  }
}

}  // namespace arseg::ARSEG_TARGET
