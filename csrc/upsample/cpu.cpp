// The gradient of bilinear upsampling on the CPU: parallel over lines of the result, each added up in one order.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "../common/dispatch.h"
#include "checks.h"

namespace arseg {
namespace {

template <typename A, typename From, typename To>
void transpose_axis(const UpsampleAxis<A>& axis, const UpsampleShape& shape, const From* from, To* to) {
  const int64_t inner = shape.inner;
  const int64_t lines = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, inner));
  torch::stable::parallel_for(0, shape.outer * axis.in, lines, [&](int64_t begin, int64_t end) {
    std::vector<A> sums(inner);
    for (int64_t line = begin; line < end; ++line) {
      std::fill(sums.begin(), sums.end(), A(0));
      int64_t first, last;
      axis.reach(line % axis.in, first, last);
      for (int64_t o = first; o < last; ++o) {
        const A weight = axis.weight(line % axis.in, o);
        if (weight == A(0)) continue;
        const From* source = from + (line / axis.in * axis.out + o) * inner;
        for (int64_t k = 0; k < inner; ++k) sums[k] += weight * static_cast<A>(source[k]);
      }
      To* target = to + line * inner;
      for (int64_t k = 0; k < inner; ++k) target[k] = static_cast<To>(sums[k]);
    }
  });
}

Tensor upsample_backward(const Tensor& grad, std::vector<int64_t> size) {
  check_upsample_backward(grad, size);
  UpsampleBackward of(grad, size);
  dispatch_floating(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = accumulator<T>;
    A* rows = static_cast<A*>(of.rows.mutable_data_ptr());
    transpose_axis<A>({size[0], grad.size(2)}, of.along_y, static_cast<const T*>(of.grad.const_data_ptr()), rows);
    transpose_axis<A>({size[1], grad.size(3)}, of.along_x, rows, static_cast<T*>(of.out.mutable_data_ptr()));
  });
  return of.out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(arseg, CPU, m) { m.impl("_upsample_backward", TORCH_BOX(&upsample_backward)); }

}  // namespace arseg
