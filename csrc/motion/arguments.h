// What Python hands over, checked, so that the functions behind may trust shapes; bad input is a ValueError.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <stdexcept>
#include <string>

#include "field.h"

namespace arseg::motion {

namespace py = pybind11;

static_assert(sizeof(bool) == 1, "numpy's bool and uint8_t share storage");

inline std::string shape_of(const py::array& array) {
  std::string text = "[";
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    text += (i ? ", " : "") + std::to_string(array.shape(i));
  }
  return text + "]";
}

[[noreturn]] inline void refuse(const std::string& name, const std::string& expected, const std::string& came) {
  throw std::invalid_argument(name + ": expected " + expected + ", got " + came);
}

inline std::string describe(const py::array& array) {
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
inline void check_records(const py::array& records) {
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

inline void check_size(int64_t width, int64_t height) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    refuse("width, height", "1.." + std::to_string(kMaxSide), std::to_string(width) + ", " + std::to_string(height));
  }
}

}  // namespace arseg::motion
