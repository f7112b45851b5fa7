// The warps on the CPU: mv_warp reads a block field, flow_warp a dense flow; the sampling is the same. Forward is
// the kernel of warp_rows.h.
//
// Backward, the taps of a row of pixels are worked out once, in double, and serve all channels. The gradient of the
// flow runs in parallel over rows, the gradient of the feature over channels: each value is added up by one thread in
// one order, so the bits do not depend on the number of threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <type_traits>
#include <vector>

#include "../common/dispatch.h"
#include "../cpu/capability.h"
#include "../cpu/parallel.h"
#include "../cpu/tensors.h"
#include "checks.h"
#include "math.h"
#include "motion_params.h"

namespace arseg {
namespace {

struct Size {
  int64_t batch, channels, height, width;
};

Size size_of(const Tensor& map) { return {map.size(0), map.size(1), map.size(2), map.size(3)}; }

// Displacements of one row in feature pixels.
struct BlockSource {
  View4<const int16_t> field;  // [N, Hb, Wb, 2]
  BlockAxis vertical;
  BlockAxis horizontal;

  void row(int64_t n, int64_t y, double* dx, double* dy) const {
    const int64_t block_row = block_of(y, vertical);
    const double x_scale = quarter_pel<double>(horizontal);
    const double y_scale = quarter_pel<double>(vertical);
    for (int64_t x = 0; x < horizontal.size; ++x) {
      const int16_t* vector = field.at(n, block_row, block_of(x, horizontal), 0);
      dx[x] = vector[0] * x_scale;
      dy[x] = vector[field.stride[3]] * y_scale;
    }
  }
};

template <typename F>
struct FlowSource {
  View4<const F> flow;  // [N, H, W, 2]

  void row(int64_t n, int64_t y, double* dx, double* dy) const {
    const F* vector = flow.at(n, y, 0, 0);
    for (int64_t x = 0; x < flow.size[2]; ++x, vector += flow.stride[2]) {
      dx[x] = static_cast<double>(vector[0]);
      dy[x] = static_cast<double>(vector[flow.stride[3]]);
    }
  }
};

// The four taps of every pixel of a row: offsets into a plane (-1: contributes nothing) and weights.
template <typename A>
struct RowTaps {
  std::vector<double> dx, dy;
  std::vector<int64_t> offset[4];  // upper left, upper right, lower left, lower right
  std::vector<A> weight[4];
  std::vector<A> x_fraction, y_fraction;

  explicit RowTaps(int64_t width) : dx(width), dy(width), x_fraction(width), y_fraction(width) {
    for (int i = 0; i < 4; ++i) {
      offset[i].resize(width);
      weight[i].resize(width);
    }
  }

  template <typename Source>
  void fill(const Source& source, const Size& size, Grid grid, int64_t n, int64_t y, int64_t row_stride,
            int64_t column_stride) {
    source.row(n, y, dx.data(), dy.data());
    for (int64_t x = 0; x < size.width; ++x) {
      const auto h = sample_taps(x, sample_shift(x, dx[x], size.width, grid), size.width);
      const auto v = sample_taps(y, sample_shift(y, dy[x], size.height, grid), size.height);
      const int64_t rows[2] = {v.lower, v.upper};
      const int64_t columns[2] = {h.lower, h.upper};
      const double row_weights[2] = {1 - v.fraction, v.fraction};
      const double column_weights[2] = {1 - h.fraction, h.fraction};
      for (int i = 0; i < 4; ++i) {
        const int64_t row = rows[i / 2];
        const int64_t column = columns[i % 2];
        offset[i][x] = row < 0 || column < 0 ? -1 : row * row_stride + column * column_stride;
        weight[i][x] = static_cast<A>(row_weights[i / 2] * column_weights[i % 2]);
      }
      x_fraction[x] = static_cast<A>(h.fraction);
      y_fraction[x] = static_cast<A>(v.fraction);
    }
  }

  // A tap with weight 0 is left out, so that an Inf or NaN beside the position does not leak in and a
  // displacement of 0 copies exactly.
  void drop_zero_weights() {
    for (int i = 0; i < 4; ++i) {
      for (size_t x = 0; x < offset[i].size(); ++x) {
        if (weight[i][x] == A(0)) offset[i][x] = -1;
      }
    }
  }

  template <typename T>
  A value(const T* plane, int tap, int64_t x) const {
    const int64_t at = offset[tap][x];
    return at < 0 ? A(0) : static_cast<A>(plane[at]);
  }
};

int64_t rows_per_task(const Size& size) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, size.channels * size.width));
}

std::array<int64_t, 4> strides_of(const Tensor& map) {
  return {map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

// Adds `count` channels of a row of pixels to where its taps lie in `sums`, in whose pixels they lie together.
template <int Most, typename A, typename T>
void add_to_taps(const RowTaps<A>& taps, const T* row, int64_t channel_stride, int64_t pixel_stride, int64_t width,
                 int64_t count, A* sums) {
  const auto add = [&](auto channels) {
    for (int64_t x = 0; x < width; ++x, row += pixel_stride) {
      A value[Most];
      for (int64_t c = 0; c < channels; ++c) value[c] = static_cast<A>(row[c * channel_stride]);
      for (int i = 0; i < 4; ++i) {
        if (taps.offset[i][x] < 0) continue;
        A* sum = sums + taps.offset[i][x];
        const A weight = taps.weight[i][x];
        for (int64_t c = 0; c < channels; ++c) sum[c] += value[c] * weight;
      }
    }
  };
  count == Most ? add(std::integral_constant<int64_t, Most>{}) : add(count);
}

// grad_feature: [N, C, H, W], strides in elements. A task has some channels of an image, which share the taps of a row:
// those of a cache line, added up in the gradient itself, where its channels lie together in the type that adds up and
// there are such tasks for all threads; else a few, in scratch. The order of a sum, and so its bits, are the same.
template <typename T, typename Source>
void warp_backward_feature(const View4<const T>& grad, const Source& source, const Size& size, Grid grid,
                           T* grad_feature, const std::array<int64_t, 4>& stride) {
  using A = accumulator<T>;
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(A)), kFew = 4;
  const bool in_place = std::is_same_v<T, A> && stride[1] == 1 &&
                        size.batch * ceil_div(size.channels, kLine) >= torch::stable::get_num_threads();
  const int64_t group = in_place ? kLine : kFew;
  const int64_t groups = ceil_div(size.channels, group);
  torch::stable::parallel_for(0, size.batch * groups, 1, [&](int64_t begin, int64_t end) {
    RowTaps<A> taps(size.width);
    std::vector<A> scratch(in_place ? 0 : kFew * size.height * size.width);
    const int64_t row_step = in_place ? stride[2] : kFew * size.width, pixel_step = in_place ? stride[3] : kFew;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / groups;
      const int64_t first = task % groups * group;
      const int64_t count = std::min(group, size.channels - first);
      T* out = grad_feature + n * stride[0] + first * stride[1];
      A* sums = in_place ? reinterpret_cast<A*>(out) : scratch.data();
      for (int64_t y = 0; y < size.height; ++y) {
        for (int64_t x = 0; x < size.width; ++x) std::fill_n(sums + y * row_step + x * pixel_step, count, A(0));
      }
      for (int64_t y = 0; y < size.height; ++y) {
        taps.fill(source, size, grid, n, y, row_step, pixel_step);
        taps.drop_zero_weights();
        const T* row = grad.at(n, first, y, 0);
        if (in_place) {
          add_to_taps<kLine>(taps, row, grad.stride[1], grad.stride[3], size.width, count, sums);
        } else {
          add_to_taps<kFew>(taps, row, grad.stride[1], grad.stride[3], size.width, count, sums);
        }
      }
      for (int64_t y = 0; y < size.height && !in_place; ++y) {
        for (int64_t c = 0; c < count; ++c) {
          T* to = out + c * stride[1] + y * stride[2];
          const A* sum = sums + y * row_step + c;
          for (int64_t x = 0; x < size.width; ++x) to[x * stride[3]] = static_cast<T>(sum[x * pixel_step]);
        }
      }
    }
  });
}

// grad_flow: contiguous [N, H, W, 2]
template <typename T, typename F>
void warp_backward_flow(const View4<const T>& grad, const View4<const T>& feature, const FlowSource<F>& source,
                        const Size& size, Grid grid, F* grad_flow) {
  using A = accumulator<T>;
  const A x_slope = sample_slope<A>(size.width, grid);
  const A y_slope = sample_slope<A>(size.height, grid);
  torch::stable::parallel_for(0, size.batch * size.height, rows_per_task(size), [&](int64_t begin, int64_t end) {
    RowTaps<A> taps(size.width);
    std::vector<A> x_sum(size.width);
    std::vector<A> y_sum(size.width);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / size.height;
      const int64_t y = task % size.height;
      taps.fill(source, size, grid, n, y, feature.stride[2], feature.stride[3]);
      std::fill(x_sum.begin(), x_sum.end(), A(0));
      std::fill(y_sum.begin(), y_sum.end(), A(0));
      for (int64_t c = 0; c < size.channels; ++c) {
        const T* plane = feature.at(n, c, 0, 0);
        const T* row = grad.at(n, c, y, 0);
        for (int64_t x = 0; x < size.width; ++x) {
          const A value = static_cast<A>(row[x * grad.stride[3]]);
          const A v00 = taps.value(plane, 0, x), v01 = taps.value(plane, 1, x);
          const A v10 = taps.value(plane, 2, x), v11 = taps.value(plane, 3, x);
          const A fx = taps.x_fraction[x], fy = taps.y_fraction[x];
          x_sum[x] += value * ((v01 - v00) * (1 - fy) + (v11 - v10) * fy);
          y_sum[x] += value * ((v10 - v00) * (1 - fx) + (v11 - v01) * fx);
        }
      }
      F* out = grad_flow + (n * size.height + y) * size.width * 2;
      for (int64_t x = 0; x < size.width; ++x) {
        out[2 * x] = static_cast<F>(x_sum[x] * x_slope);
        out[2 * x + 1] = static_cast<F>(y_sum[x] * y_slope);
      }
    }
  });
}

BlockSource block_source(const Tensor& motion, const Tensor& map, int64_t block, const std::vector<int64_t>& frame) {
  return {view4<int16_t>(motion),
          {map.size(2), frame[0], block, motion.size(1)},
          {map.size(3), frame[1], block, motion.size(2)}};
}

Tensor warp(const Tensor& feature, const MotionParams& motion) {
  const Tensor source = contiguous_channels_last(feature);
  Tensor out = empty_like_map(feature);
  WarpParams params{map_of(source), map_of(out), motion};
  params.streaming = can_stream(params.out);
  const int64_t rows = feature.size(0) * feature.size(2);
  if (rows * feature.size(3) == 0) return out;
  const CpuKernels& kernels = cpu_kernels();
  // Pieces of some rows, so that threads that finish early find more; a strip of many rows reads few of them twice.
  const int64_t threads = static_cast<int64_t>(torch::stable::get_num_threads());
  const int64_t piece = std::clamp<int64_t>(rows / (4 * threads), 1, 96);
  for_each_task(ceil_div(rows, piece), kernels.warp_scratch(params), [&](int64_t index, void* scratch) {
    kernels.warp(params, index * piece, std::min(rows, (index + 1) * piece), scratch);
  });
  return out;
}

Tensor mv_warp(const Tensor& feature, const Tensor& motion, int64_t block, std::vector<int64_t> frame_size,
               std::string grid) {
  check_map("mv_warp", "feature", feature);
  check_motion("mv_warp", "feature", feature, motion, block, frame_size);
  const OwnedMotionParams of(feature, motion, block, frame_size, parse_grid("mv_warp", grid));
  return warp(feature, of.params());
}

Tensor mv_warp_backward(const Tensor& grad, const Tensor& motion, int64_t block, std::vector<int64_t> frame_size,
                        std::string grid) {
  check_map("_mv_warp_backward", "grad", grad);
  check_motion("_mv_warp_backward", "grad", grad, motion, block, frame_size);
  const Grid kind = parse_grid("_mv_warp_backward", grid);
  Tensor out = empty_like_map(grad);
  const BlockSource source = block_source(motion, grad, block, frame_size);
  dispatch_floating(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    warp_backward_feature(view4<T>(grad), source, size_of(grad), kind, static_cast<T*>(out.mutable_data_ptr()),
                          strides_of(out));
  });
  return out;
}

Tensor flow_warp(const Tensor& feature, const Tensor& flow, std::string grid) {
  check_map("flow_warp", "feature", feature);
  check_flow("flow_warp", "feature", feature, flow);
  const OwnedMotionParams of(flow, parse_grid("flow_warp", grid));
  return warp(feature, of.params());
}

Tensor flow_warp_backward_feature(const Tensor& grad, const Tensor& flow, std::string grid) {
  check_map("_flow_warp_backward_feature", "grad", grad);
  check_flow("_flow_warp_backward_feature", "grad", grad, flow);
  const Grid kind = parse_grid("_flow_warp_backward_feature", grid);
  Tensor out = empty_like_map(grad);
  dispatch_floating(grad.scalar_type(), [&](auto tag) {
    dispatch_floating(flow.scalar_type(), [&](auto flow_tag) {
      using T = decltype(tag);
      const FlowSource<decltype(flow_tag)> source{view4<decltype(flow_tag)>(flow)};
      warp_backward_feature(view4<T>(grad), source, size_of(grad), kind, static_cast<T*>(out.mutable_data_ptr()),
                            strides_of(out));
    });
  });
  return out;
}

Tensor flow_warp_backward_flow(const Tensor& grad, const Tensor& feature, const Tensor& flow, std::string grid) {
  constexpr const char* op = "_flow_warp_backward_flow";
  check_map(op, "feature", feature);
  check_flow(op, "feature", feature, flow);
  check_same_dtype(op, "grad", grad, "feature", feature);
  check_shape(op, "grad", grad, {feature.size(0), feature.size(1), feature.size(2), feature.size(3)});
  const Grid kind = parse_grid(op, grid);
  Tensor out = empty(flow, {flow.size(0), flow.size(1), flow.size(2), 2}, flow.scalar_type());
  dispatch_floating(feature.scalar_type(), [&](auto tag) {
    dispatch_floating(flow.scalar_type(), [&](auto flow_tag) {
      using T = decltype(tag);
      using F = decltype(flow_tag);
      const FlowSource<F> source{view4<F>(flow)};
      warp_backward_flow(view4<T>(grad), view4<T>(feature), source, size_of(feature), kind,
                         static_cast<F*>(out.mutable_data_ptr()));
    });
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) {
  m.impl("mv_warp", TORCH_BOX(&mv_warp));
  m.impl("_mv_warp_backward", TORCH_BOX(&mv_warp_backward));
  m.impl("flow_warp", TORCH_BOX(&flow_warp));
  m.impl("_flow_warp_backward_feature", TORCH_BOX(&flow_warp_backward_feature));
  m.impl("_flow_warp_backward_flow", TORCH_BOX(&flow_warp_backward_flow));
}

}  // namespace arseg
