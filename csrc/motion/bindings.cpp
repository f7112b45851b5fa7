// Python face of the motion code: module arseg._motion, numpy in and numpy out. Everything is checked here, so that
// the functions behind it may trust shapes; bad input is a ValueError.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#include "chain.h"
#include "fill.h"
#include "raster.h"

namespace py = pybind11;
using namespace arseg::motion;

namespace {

static_assert(sizeof(bool) == 1, "numpy's bool and uint8_t share storage");

std::string shape_of(const py::array& array) {
  std::string text = "[";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    text += (i ? ", " : "") + std::to_string(array.shape(i));
  }
  return text + "]";
}

[[noreturn]] void refuse(const std::string& name, const std::string& expected, const std::string& came) {
  throw std::invalid_argument(name + ": expected " + expected + ", got " + came);
}

std::string describe(const py::array& array) {
  const py::dtype dtype = array.dtype();
  const std::string type = dtype.has_fields() ? std::to_string(dtype.itemsize()) + "-byte records"
                                              : std::string(py::str(static_cast<const py::object&>(dtype)));
  return type + " " + shape_of(array);
}

// A vectors/mask pair from Python, as contiguous arrays that this object keeps alive.
class FieldArgument {
 public:
  FieldArgument(const py::array& vectors, const py::array& valid, const std::string& prefix) {
    if (!py::isinstance<py::array_t<int16_t>>(vectors) || vectors.ndim() != 3 || vectors.shape(2) != 2 ||
        vectors.shape(0) < 1 || vectors.shape(1) < 1) {
      refuse(prefix + "vectors", "int16 [Hb, Wb, 2] with Hb, Wb >= 1", describe(vectors));
    }
    rows = vectors.shape(0);
    cols = vectors.shape(1);
    if (rows > kMaxSide || cols > kMaxSide) {
      refuse(prefix + "vectors", "at most " + std::to_string(kMaxSide) + " cells a side", describe(vectors));
    }
    if (!py::isinstance<py::array_t<bool>>(valid) || valid.ndim() != 2 || valid.shape(0) != rows ||
        valid.shape(1) != cols) {
      refuse(prefix + "valid", "bool [" + std::to_string(rows) + ", " + std::to_string(cols) + "]", describe(valid));
    }
    vectors_ = py::array_t<int16_t, py::array::c_style | py::array::forcecast>(vectors);
    valid_ = py::array_t<bool, py::array::c_style | py::array::forcecast>(valid);
  }

  ConstField view() const {
    return {reinterpret_cast<const Vec*>(vectors_.data()), reinterpret_cast<const uint8_t*>(valid_.data())};
  }

  int64_t rows = 0;
  int64_t cols = 0;

 private:
  py::array_t<int16_t> vectors_;
  py::array_t<bool> valid_;
};

struct FieldResult {
  FieldResult(int64_t rows, int64_t cols) : vectors({rows, cols, int64_t{2}}), valid({rows, cols}) {}

  Field view() {
    return {reinterpret_cast<Vec*>(vectors.mutable_data()), reinterpret_cast<uint8_t*>(valid.mutable_data())};
  }
  py::tuple tuple() { return py::make_tuple(vectors, valid); }

  py::array_t<int16_t> vectors;
  py::array_t<bool> valid;
};

// The layout FFmpeg and PyAV use; anything else would be read as garbage.
void check_records(const py::array& records) {
  struct Member {
    const char* name;
    size_t offset;
    char kind;
    size_t size;
  };
  static constexpr Member members[] = {
      {"source", offsetof(Record, source), 'i', 4},
      {"w", offsetof(Record, w), 'u', 1},
      {"h", offsetof(Record, h), 'u', 1},
      {"dst_x", offsetof(Record, dst_x), 'i', 2},
      {"dst_y", offsetof(Record, dst_y), 'i', 2},
      {"motion_x", offsetof(Record, motion_x), 'i', 4},
      {"motion_y", offsetof(Record, motion_y), 'i', 4},
      {"motion_scale", offsetof(Record, motion_scale), 'u', 2},
  };
  static const std::string expected = "a 1-D array of FFmpeg's 40-byte AVMotionVector records";
  const py::dtype dtype = records.dtype();
  if (records.ndim() != 1 || dtype.itemsize() != static_cast<py::ssize_t>(sizeof(Record)) || !dtype.has_fields()) {
    refuse("records", expected, describe(records));
  }
  const py::object fields = dtype.attr("fields");
  for (const Member& member : members) {
    const py::str name(member.name);
    if (!fields.contains(name)) {
      refuse("records", expected, "no member '" + std::string(member.name) + "'");
    }
    const py::tuple field = fields[name];
    const auto type = py::reinterpret_borrow<py::dtype>(field[0]);
    if (field[1].cast<size_t>() != member.offset || type.kind() != member.kind ||
        type.itemsize() != static_cast<py::ssize_t>(member.size) || type.byteorder() == '>') {
      refuse("records", expected, "member '" + std::string(member.name) + "' of another type or place");
    }
  }
}

void check_size(int64_t width, int64_t height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    refuse("width, height", "1.." + std::to_string(kMaxSide), std::to_string(width) + ", " + std::to_string(height));
  }
}

py::tuple py_rasterize(const py::array& records, int64_t width, int64_t height) {
  check_size(width, height);
  check_records(records);
  const auto contiguous = py::array::ensure(records, py::array::c_style);
  FieldResult result(cells(height, kCell), cells(width, kCell));
  const Field out = result.view();
  const void* data = contiguous.data();
  const int64_t count = contiguous.shape(0);
  {
    py::gil_scoped_release release;
    rasterize(data, count, static_cast<int>(width), static_cast<int>(height), out.vectors, out.valid);
  }
  return result.tuple();
}

py::array_t<int16_t> py_fill_holes(const py::array& vectors, const py::array& valid) {
  const FieldArgument in(vectors, valid, "");
  py::array_t<int16_t> result({in.rows, in.cols, int64_t{2}});
  auto* out = reinterpret_cast<Vec*>(result.mutable_data());
  const ConstField view = in.view();
  {
    py::gil_scoped_release release;
    std::memcpy(out, view.vectors, static_cast<size_t>(in.rows * in.cols) * sizeof(Vec));
    fill_holes(out, view.valid, in.rows, in.cols);
  }
  return result;
}

py::tuple py_chain(const py::array& step_vectors, const py::array& step_valid, const py::array& reference_vectors,
                   const py::array& reference_valid) {
  const FieldArgument step(step_vectors, step_valid, "step_");
  const FieldArgument reference(reference_vectors, reference_valid, "reference_");
  if (step.rows != reference.rows || step.cols != reference.cols) {
    refuse("reference_vectors", "the shape of step_vectors, " + shape_of(step_vectors), shape_of(reference_vectors));
  }
  FieldResult result(step.rows, step.cols);
  const Field out = result.view();
  {
    py::gil_scoped_release release;
    chain(step.view(), reference.view(), step.rows, step.cols, out);
  }
  return result.tuple();
}

py::tuple py_pool(const py::array& vectors, const py::array& valid, int64_t factor) {
  const FieldArgument in(vectors, valid, "");
  if (factor != 1 && factor != 2 && factor != 4) {
    refuse("factor", "1, 2 or 4", std::to_string(factor));
  }
  FieldResult result(cells(in.rows, factor), cells(in.cols, factor));
  const Field out = result.view();
  {
    py::gil_scoped_release release;
    pool(in.view(), in.rows, in.cols, static_cast<int>(factor), out);
  }
  return result.tuple();
}

}  // namespace

PYBIND11_MODULE(_motion, m) {
  m.doc() = "Codec motion vectors to block fields. Use arseg.video.motion, which documents these functions.";
  m.attr("CELL") = kCell;
  m.attr("MAX_SIDE") = kMaxSide;
  m.def("rasterize", &py_rasterize, py::arg("records"), py::arg("width"), py::arg("height"));
  m.def("fill_holes", &py_fill_holes, py::arg("vectors"), py::arg("valid"));
  m.def("chain", &py_chain, py::arg("step_vectors"), py::arg("step_valid"), py::arg("reference_vectors"),
        py::arg("reference_valid"));
  m.def("pool", &py_pool, py::arg("vectors"), py::arg("valid"), py::arg("factor"));
}
