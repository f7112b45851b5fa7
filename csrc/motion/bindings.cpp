// Python face of the motion code: module arseg._motion, numpy in and numpy out.
#include "bindings.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <string>
#include <vector>

#include "arguments.h"
#include "chain.h"
#include "hole_filling.h"
#include "pool.h"
#include "raster.h"
#include "step.h"

namespace py = pybind11;
using namespace arseg::motion;

namespace {

// The samples of a decoded frame's first plane: None, or (buffer, bytes from row to row, bytes a sample).
class LumaArgument {
 public:
  LumaArgument(const py::object& given, int64_t width, int64_t height) {
    if (given.is_none()) {
      return;
    }
    const auto parts = given.cast<py::tuple>();
    info_ = parts[0].cast<py::buffer>().request();
    luma_ = {static_cast<const uint8_t*>(info_.ptr), parts[1].cast<int64_t>(), parts[2].cast<int>()};
    const int64_t size = info_.size * info_.itemsize;
    if ((luma_.sample_bytes != 1 && luma_.sample_bytes != 2) || luma_.pitch < width * luma_.sample_bytes ||
        luma_.pitch % luma_.sample_bytes != 0 || luma_.pitch > size ||
        (height - 1) * luma_.pitch + width * luma_.sample_bytes > size) {
      refuse("luma", std::to_string(height) + " rows of " + std::to_string(width) + " samples of 1 or 2 bytes",
             std::to_string(size) + " bytes, " + std::to_string(luma_.pitch) + " a row, " +
                 std::to_string(luma_.sample_bytes) + " a sample");
    }
  }

  const Luma& view() const { return luma_; }

 private:
  py::buffer_info info_;
  Luma luma_;
};

// References from Python and what keeps their memory alive.
class ReferencesArgument {
 public:
  // Tuples (way to the keyframe, luma, time): the way is True for the keyframe itself, None where there is none, or
  // (vectors, valid).
  void add(const py::sequence& given, int64_t width, int64_t height, std::vector<Reference>& list) {
    for (const py::handle item : given) {
      const auto parts = item.cast<py::tuple>();
      if (parts.size() != 3) {
        refuse("references", "(field, luma, time)", std::to_string(parts.size()) + " items");
      }
      Reference reference;
      const py::object way = parts[0];
      if (way.is_none()) {
        reference.reach = Reference::Reach::Nothing;
      } else if (py::isinstance<py::bool_>(way)) {
        reference.reach = Reference::Reach::Key;
      } else {
        const auto field = way.cast<py::tuple>();
        fields_.emplace_back(field[0].cast<py::array>(), field[1].cast<py::array>(), "reference_");
        if (fields_.back().rows != cells(height, kCell) || fields_.back().cols != cells(width, kCell)) {
          refuse("reference_vectors",
                 "[" + std::to_string(cells(height, kCell)) + ", " + std::to_string(cells(width, kCell)) + ", 2]",
                 shape_of(field[0].cast<py::array>()));
        }
        reference.reach = Reference::Reach::Field;
        reference.to_key = fields_.back().view();
      }
      lumas_.emplace_back(parts[1], width, height);
      reference.luma = lumas_.back().view();
      reference.time = parts[2].cast<int>();
      list.push_back(reference);
    }
  }

 private:
  std::vector<FieldArgument> fields_;
  std::vector<LumaArgument> lumas_;
};

struct RecordsArgument {
  explicit RecordsArgument(const py::array& records) {
    check_records(records);
    contiguous = py::array::ensure(records, py::array::c_style);
  }
  const void* data() const { return contiguous.data(); }
  int64_t count() const { return contiguous.shape(0); }

  py::array contiguous;
};

py::tuple py_rasterize(const py::array& records, int64_t width, int64_t height) {
  check_size(width, height);
  const RecordsArgument given(records);
  FieldResult result(cells(height, kCell), cells(width, kCell));
  const Field out = result.view();
  References references;
  references.past.resize(1);
  references.past[0].reach = Reference::Reach::Key;
  Frame frame;
  frame.width = static_cast<int>(width);
  frame.height = static_cast<int>(height);
  const void* data = given.data();
  const int64_t count = given.count();
  {
    py::gil_scoped_release release;
    draw(data, count, frame, references, 2, {out.vectors, out.valid});
  }
  return result.tuple();
}

py::tuple py_step(const py::array& records, int64_t width, int64_t height, int64_t crop_left, int64_t crop_top,
                  const py::object& luma, const py::object& key, const py::sequence& past, const py::sequence& future) {
  check_size(width, height);
  if (crop_left < 0 || crop_top < 0 || crop_left > kMaxSide || crop_top > kMaxSide) {
    refuse("crop_left, crop_top", "0.." + std::to_string(kMaxSide),
           std::to_string(crop_left) + ", " + std::to_string(crop_top));
  }
  const RecordsArgument given(records);
  const LumaArgument own(luma, width, height);
  const LumaArgument key_luma(key, width, height);
  References references;
  references.key = key_luma.view();
  ReferencesArgument kept;
  kept.add(past, width, height, references.past);
  kept.add(future, width, height, references.future);
  if (references.size() > kMaxReferences) {
    refuse("past, future", "at most " + std::to_string(kMaxReferences) + " frames", std::to_string(references.size()));
  }
  const Frame frame{static_cast<int>(width), static_cast<int>(height), static_cast<int>(crop_left),
                    static_cast<int>(crop_top), own.view()};
  FieldResult result(cells(height, kCell), cells(width, kCell));
  const Field out = result.view();
  const void* data = given.data();
  const int64_t count = given.count();
  int64_t holes = 0;
  {
    py::gil_scoped_release release;
    holes = step(data, count, frame, references, out);
  }
  return py::make_tuple(result.vectors, result.valid, holes);
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
  Reference one_back;
  one_back.reach = Reference::Reach::Field;
  one_back.to_key = reference.view();
  const ConstField hop = step.view();
  const ChainTarget target{step.rows, step.cols, out};
  {
    py::gil_scoped_release release;
    for (int64_t y = 0; y < step.rows; ++y) {
      for (int64_t x = 0; x < step.cols; ++x) {
        const int64_t i = y * step.cols + x;
        chain_cell(target, y, x, hop.vectors[i], hop.valid[i] != 0, one_back);
      }
    }
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
  bind_h264(m);
  m.attr("CELL") = kCell;
  m.attr("MAX_SIDE") = kMaxSide;
  m.def("rasterize", &py_rasterize, py::arg("records"), py::arg("width"), py::arg("height"));
  m.def("step", &py_step, py::arg("records"), py::arg("width"), py::arg("height"), py::arg("crop_left"),
        py::arg("crop_top"), py::arg("luma"), py::arg("key"), py::arg("past"), py::arg("future"));
  m.def("fill_holes", &py_fill_holes, py::arg("vectors"), py::arg("valid"));
  m.def("chain", &py_chain, py::arg("step_vectors"), py::arg("step_valid"), py::arg("reference_vectors"),
        py::arg("reference_valid"));
  m.def("pool", &py_pool, py::arg("vectors"), py::arg("valid"), py::arg("factor"));
}
