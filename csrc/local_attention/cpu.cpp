// Local attention on the CPU, in strips of kStrip pixels of a row.
//
// Forward: logits of all keys of a strip, softmax, weighted sum of the values.
// Backward: twice the same two products. The query-centred pass gives dQ and delta = sum(P * dP) per query.
// The key-centred pass visits, for each key, the queries that see it (the window is symmetric, so they are
// the pixels of the same window around the key) and gives dK and dV. Every value is gathered by one thread
// in one order: no atomics, and bits that do not depend on the number of threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "../common/dispatch.h"
#include "checks.h"
#include "rows.h"

namespace arseg {
namespace {

// `length` pixels of row y from column x on, converted; pixels outside the image become 0.
template <typename T, typename A>
void load_row(const View4<const T>& map, int64_t n, int64_t c, int64_t y, int64_t x, int64_t length, A* to) {
  const int64_t width = map.size[3];
  if (y < 0 || y >= map.size[2]) {
    std::fill(to, to + length, A(0));
    return;
  }
  const int64_t first = std::clamp<int64_t>(-x, 0, length);
  const int64_t last = std::clamp<int64_t>(width - x, first, length);
  std::fill(to, to + first, A(0));
  std::fill(to + last, to + length, A(0));
  if (first == last) return;
  const T* from = map.at(n, c, y, x + first);
  const int64_t step = map.stride[3];
  if (step == 1) {
    for (int64_t i = first; i < last; ++i) to[i] = static_cast<A>(from[i - first]);
  } else {
    for (int64_t i = first; i < last; ++i) to[i] = static_cast<A>(from[(i - first) * step]);
  }
}

// One strip of a row, its window and the scratch of one thread.
template <typename A>
class Strip {
 public:
  explicit Strip(Window window) : window_(window), halo_(kLanes * kHalo), centre_(kLanes * kStrip), sums_(kStrip) {}

  int64_t n = 0, y = 0, x = 0, width = 0;  // image, row, first column, columns

  // products[key][x] = scale * sum over channels of centre(x) * around(x + key); 0 where the key is outside.
  template <typename T>
  void products(const View4<const T>& centre, const View4<const T>& around, A scale, A* products) {
    std::fill(products, products + window_.keys() * kStrip, A(0));
    const int64_t channels = centre.size[1];
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t lanes = std::min(kLanes, channels - c);
      std::fill(centre_.begin(), centre_.begin() + kLanes * kStrip, A(0));
      for (int64_t lane = 0; lane < lanes; ++lane) {
        A* row = centre_.data() + lane * kStrip;
        load_row(centre, n, c + lane, y, x, width, row);
        for (int64_t i = 0; i < kStrip; ++i) row[i] *= scale;
      }
      for (int64_t dy = 0; dy < window_.height; ++dy) {
        const int64_t row = y + dy - window_.y_radius();
        if (row < 0 || row >= around.size[2]) continue;
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          A* to = halo_.data() + lane * kHalo;
          if (lane < lanes) {
            load_row(around, n, c + lane, row, x - window_.x_radius(), kStrip + window_.width - 1, to);
          } else {
            std::fill(to, to + kHalo, A(0));
          }
        }
        for (int64_t dx = 0; dx < window_.width; ++dx) {
          add_products(products + (dy * window_.width + dx) * kStrip, centre_.data(), halo_.data() + dx);
        }
      }
    }
  }

  // out(x) = factor(x) * sum over keys of weights[key][x] * around(x + key), for each channel.
  template <typename T>
  void weighted_sum(const A* weights, const View4<const T>& around, const A* factor, const View4<T>& out) {
    for (int64_t c = 0; c < around.size[1]; ++c) {
      std::fill(sums_.begin(), sums_.end(), A(0));
      for (int64_t dy = 0; dy < window_.height; ++dy) {
        const int64_t row = y + dy - window_.y_radius();
        if (row < 0 || row >= around.size[2]) continue;
        load_row(around, n, c, row, x - window_.x_radius(), kStrip + window_.width - 1, halo_.data());
        add_weighted(sums_.data(), weights + dy * window_.width * kStrip, halo_.data(), window_.width);
      }
      T* to = out.at(n, c, y, x);
      for (int64_t i = 0; i < width; ++i) to[i * out.stride[3]] = static_cast<T>(sums_[i] * factor[i]);
    }
  }

  // Puts `value` where the key lies outside an image of the given size.
  void set_outside(A* rows, int64_t image_height, int64_t image_width, A value) const {
    for (int64_t dy = 0; dy < window_.height; ++dy) {
      const int64_t key_row = y + dy - window_.y_radius();
      const bool row_outside = key_row < 0 || key_row >= image_height;
      for (int64_t dx = 0; dx < window_.width; ++dx) {
        A* row = rows + (dy * window_.width + dx) * kStrip;
        const int64_t shift = x + dx - window_.x_radius();
        const int64_t first = row_outside ? width : std::clamp<int64_t>(-shift, 0, width);
        const int64_t last = row_outside ? width : std::clamp<int64_t>(image_width - shift, first, width);
        std::fill(row, row + first, value);
        std::fill(row + last, row + width, value);
      }
    }
  }

 private:
  Window window_;
  std::vector<A> halo_;
  std::vector<A> centre_;
  std::vector<A> sums_;
};

// Runs body(strip, scratch) for every strip of every row, in parallel over rows.
template <typename A, typename Body>
void for_each_strip(const Tensor& map, Window window, int64_t buffers, Body&& body) {
  const int64_t height = map.size(2);
  const int64_t width = map.size(3);
  torch::stable::parallel_for(0, map.size(0) * height, 1, [&](int64_t begin, int64_t end) {
    Strip<A> strip(window);
    std::vector<A> scratch(buffers * window.keys() * kStrip);
    for (int64_t task = begin; task < end; ++task) {
      strip.n = task / height;
      strip.y = task % height;
      for (strip.x = 0; strip.x < width; strip.x += kStrip) {
        strip.width = std::min(kStrip, width - strip.x);
        body(strip, scratch.data());
      }
    }
  });
}

template <typename A>
View4<const A> pixel_view(const Tensor& map) {  // [N, H, W] as [N, 1, H, W]
  return {static_cast<const A*>(map.const_data_ptr()),
          {map.size(0), 1, map.size(1), map.size(2)},
          {map.stride(0), 0, map.stride(1), map.stride(2)}};
}

template <typename A>
A* pixel_row(const Tensor& map, const Strip<A>& strip) {  // of a contiguous [N, H, W]
  return static_cast<A*>(map.mutable_data_ptr()) + (strip.n * map.size(1) + strip.y) * map.size(2) + strip.x;
}

ScalarType accumulator_dtype(ScalarType dtype) {
  return dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

template <typename T>
void attention_forward(const Tensor& query, const Tensor& key, const Tensor& value, Window window, Outside outside,
                       double scale, const Tensor& out, const Tensor& logsumexp) {
  using A = accumulator_t<T>;
  const auto q = view4<T>(query), k = view4<T>(key), v = view4<T>(value);
  const auto o = mutable_view4<T>(out);
  const A logit_outside = outside == Outside::Masked ? -std::numeric_limits<A>::infinity() : A(0);
  for_each_strip<A>(query, window, 1, [&](Strip<A>& strip, A* logits) {
    A factor[kStrip];
    A log_total[kStrip];
    strip.products(q, k, static_cast<A>(scale), logits);
    strip.set_outside(logits, q.size[2], q.size[3], logit_outside);
    softmax(logits, window.keys(), factor, log_total);
    for (int64_t i = 0; i < kStrip; ++i) factor[i] = A(1) / factor[i];
    strip.weighted_sum(logits, v, factor, o);
    std::copy(log_total, log_total + strip.width, pixel_row<A>(logsumexp, strip));
  });
}

template <typename T>
void attention_backward(const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value,
                        const Tensor& logsumexp, Window window, double scale, const Tensor& delta,
                        const Tensor& grad_query, const Tensor& grad_key, const Tensor& grad_value) {
  using A = accumulator_t<T>;
  const auto g = view4<T>(grad), q = view4<T>(query), k = view4<T>(key), v = view4<T>(value);
  const auto lse = pixel_view<A>(logsumexp), delta_of = pixel_view<A>(delta);
  const auto dq = mutable_view4<T>(grad_query), dk = mutable_view4<T>(grad_key), dv = mutable_view4<T>(grad_value);
  const int64_t keys = window.keys();
  const A nowhere = -std::numeric_limits<A>::infinity();
  A scales[kStrip], ones[kStrip];
  std::fill(scales, scales + kStrip, static_cast<A>(scale));
  std::fill(ones, ones + kStrip, A(1));

  // Around each query. A key outside has no gradient in either mode: its logit is a constant.
  for_each_strip<A>(query, window, 2, [&](Strip<A>& strip, A* scratch) {
    A* p = scratch;                   // logits, then probabilities, then d logits
    A* dp = scratch + keys * kStrip;  // d probabilities
    A log_total[kStrip] = {};
    A sum[kStrip] = {};
    strip.products(q, k, static_cast<A>(scale), p);
    strip.products(g, v, A(1), dp);
    strip.set_outside(p, q.size[2], q.size[3], nowhere);
    load_row(lse, strip.n, 0, strip.y, strip.x, strip.width, log_total);
    for (int64_t i = 0; i < keys; ++i) {
      probabilities(p + i * kStrip, log_total);
      for (int64_t x = 0; x < kStrip; ++x) sum[x] += p[i * kStrip + x] * dp[i * kStrip + x];
    }
    for (int64_t i = 0; i < keys; ++i) {
      for (int64_t x = 0; x < kStrip; ++x) p[i * kStrip + x] *= dp[i * kStrip + x] - sum[x];
    }
    strip.weighted_sum(p, k, scales, dq);
    std::copy(sum, sum + strip.width, pixel_row<A>(delta, strip));
  });

  // Around each key: the same with the roles changed; logsumexp and delta belong to the query.
  for_each_strip<A>(query, window, 2, [&](Strip<A>& strip, A* scratch) {
    A* p = scratch;
    A* dp = scratch + keys * kStrip;
    A log_totals[kHalo] = {};
    A deltas[kHalo] = {};
    strip.products(k, q, static_cast<A>(scale), p);
    strip.products(v, g, A(1), dp);
    strip.set_outside(p, q.size[2], q.size[3], nowhere);
    for (int64_t dy = 0; dy < window.height; ++dy) {
      const int64_t row = strip.y + dy - window.y_radius();
      const int64_t column = strip.x - window.x_radius();
      load_row(lse, strip.n, 0, row, column, kStrip + window.width - 1, log_totals);
      load_row(delta_of, strip.n, 0, row, column, kStrip + window.width - 1, deltas);
      for (int64_t dx = 0; dx < window.width; ++dx) {
        A* p_row = p + (dy * window.width + dx) * kStrip;
        A* dp_row = dp + (dy * window.width + dx) * kStrip;
        probabilities(p_row, log_totals + dx);
        for (int64_t x = 0; x < kStrip; ++x) dp_row[x] = p_row[x] * (dp_row[x] - deltas[x + dx]);
      }
    }
    strip.weighted_sum(p, g, ones, dv);
    strip.weighted_sum(dp, q, scales, dk);
  });
}

Tensor pixel_map(const Tensor& query) {
  return torch::stable::new_empty(query, {query.size(0), query.size(2), query.size(3)},
                                  accumulator_dtype(query.scalar_type()));
}

std::tuple<Tensor, Tensor> local_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                           std::vector<int64_t> window, std::string outside, double scale) {
  constexpr const char* op = "local_attention";
  check_attention(op, query, key, value);
  const Window sides = parse_window(op, window);
  const Outside mode = parse_outside(op, outside);
  Tensor out = torch::stable::new_empty(query, value.sizes());
  Tensor logsumexp = pixel_map(query);
  dispatch_floating(query.scalar_type(), [&](auto tag) {
    attention_forward<decltype(tag)>(query, key, value, sides, mode, scale, out, logsumexp);
  });
  return {out, logsumexp};
}

std::tuple<Tensor, Tensor, Tensor> local_attention_backward(const Tensor& grad, const Tensor& query, const Tensor& key,
                                                            const Tensor& value, const Tensor& logsumexp,
                                                            std::vector<int64_t> window, std::string outside,
                                                            double scale) {
  constexpr const char* op = "_local_attention_backward";
  check_attention(op, query, key, value);
  check_same_dtype(op, "grad", grad, "query", query);
  check_shape(op, "grad", grad, {value.size(0), value.size(1), value.size(2), value.size(3)});
  check(logsumexp.scalar_type() == accumulator_dtype(query.scalar_type()), op, ": logsumexp must be ",
        dtype_name(accumulator_dtype(query.scalar_type())), ", got ", dtype_name(logsumexp.scalar_type()));
  check_shape(op, "logsumexp", logsumexp, {query.size(0), query.size(2), query.size(3)});
  const Window sides = parse_window(op, window);
  parse_outside(op, outside);  // the mode is already in logsumexp
  Tensor grad_query = torch::stable::new_empty(query, query.sizes());
  Tensor grad_key = torch::stable::new_empty(key, key.sizes());
  Tensor grad_value = torch::stable::new_empty(value, value.sizes());
  Tensor delta = pixel_map(query);
  dispatch_floating(query.scalar_type(), [&](auto tag) {
    attention_backward<decltype(tag)>(grad, query, key, value, logsumexp, sides, scale, delta, grad_query, grad_key,
                                      grad_value);
  });
  return {grad_query, grad_key, grad_value};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) {
  m.impl("_local_attention", TORCH_BOX(&local_attention));
  m.impl("_local_attention_backward", TORCH_BOX(&local_attention_backward));
}

}  // namespace arseg
