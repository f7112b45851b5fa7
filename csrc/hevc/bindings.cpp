// Python face of the HEVC vectors: module arseg._hevc.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "vectors.h"

namespace py = pybind11;
using namespace arseg::hevc;
using arseg::motion::Record;

namespace {

// A view of any object's bytes, without a copy; None has none.
class Buffer {
 public:
  explicit Buffer(const py::object& object) {
    if (object.is_none()) {
      return;
    }
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) {
      throw py::error_already_set();
    }
  }
  ~Buffer() {
    if (view_.obj != nullptr) {
      PyBuffer_Release(&view_);
    }
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Bytes bytes() const { return {static_cast<const uint8_t*>(view_.buf), static_cast<size_t>(view_.len)}; }

 private:
  Py_buffer view_{};
};

// The GIL is released while it decodes, so another Python thread may come.
class HevcVectors {
 public:
  HevcVectors(const py::object& extradata, int threads, bool luma) {
    if (threads < 0 || threads > kMaxThreads) {
      throw std::invalid_argument("threads: expected 0.." + std::to_string(kMaxThreads) + ", got " +
                                  std::to_string(threads));
    }
    const Buffer buffer(extradata);
    vectors_ = std::make_unique<Vectors>(buffer.bytes(), threads, luma);
  }

  void push(const py::object& packet, int64_t index) {
    const Buffer buffer(packet);
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    vectors_->push(buffer.bytes(), index);
  }

  void set_extradata(const py::object& extradata) {
    const Buffer buffer(extradata);
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    vectors_->set_extradata(buffer.bytes());
  }

  void flush() {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    vectors_->flush();
  }

  py::list pull() {
    std::vector<Picture> pictures;
    {
      const py::gil_scoped_release release;
      const std::lock_guard<std::mutex> lock(mutex_);
      pictures = vectors_->pull();
    }
    py::list list;
    for (Picture& picture : pictures) {
      list.append(std::move(picture));
    }
    return list;
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<Vectors> vectors_;
};

// arseg.video.motion.RECORD
py::dtype record_type() {
  py::list names, formats, offsets;
  const auto member = [&](const char* name, const char* format, size_t offset) {
    names.append(name);
    formats.append(format);
    offsets.append(offset);
  };
  member("source", "<i4", offsetof(Record, source));
  member("w", "u1", offsetof(Record, w));
  member("h", "u1", offsetof(Record, h));
  member("src_x", "<i2", offsetof(Record, src_x));
  member("src_y", "<i2", offsetof(Record, src_y));
  member("dst_x", "<i2", offsetof(Record, dst_x));
  member("dst_y", "<i2", offsetof(Record, dst_y));
  member("flags", "<u8", offsetof(Record, flags));
  member("motion_x", "<i4", offsetof(Record, motion_x));
  member("motion_y", "<i4", offsetof(Record, motion_y));
  member("motion_scale", "<u2", offsetof(Record, motion_scale));
  return py::dtype(std::move(names), std::move(formats), std::move(offsets), sizeof(Record));
}

// A read-only array over memory of the picture, which it keeps alive.
py::array view(const py::dtype& type, py::array::ShapeContainer shape, const void* data, const py::object& owner) {
  py::array array(type, std::move(shape), py::array::StridesContainer{}, data, owner);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

py::array records(const py::object& self) {
  const auto& picture = self.cast<const Picture&>();
  const py::dtype type = py::module_::import("arseg._hevc").attr("RECORD");
  return view(type, {static_cast<py::ssize_t>(picture.records.size())}, picture.records.data(), self);
}

py::array luma(const py::object& self) {
  const auto& picture = self.cast<const Picture&>();
  if (picture.luma.empty()) {
    throw std::invalid_argument("luma: it was not asked for, make HevcVectors(..., luma=True)");
  }
  return view(picture.luma_bytes == 2 ? py::dtype::of<uint16_t>() : py::dtype::of<uint8_t>(),
              {picture.height, picture.width}, picture.luma.data(), self);
}

py::tuple indices(const Picture& picture, size_t list) {
  const std::vector<int64_t>& references = picture.references[list];
  py::tuple tuple(references.size());
  for (size_t i = 0; i < references.size(); ++i) {
    tuple[i] = references[i];
  }
  return tuple;
}

}  // namespace

PYBIND11_MODULE(_hevc, m) {
  m.doc() = "Motion vectors of HEVC, out of libde265 (LGPL-3). See docs/hevc.md.";
  m.attr("RECORD") = record_type();

  py::class_<Picture>(m, "HevcPicture", "What one picture of a stream predicts from, in coded pixels.")
      .def_readonly("index", &Picture::index, "number that `push` gave its packet")
      .def_readonly("poc", &Picture::poc, "picture order count")
      .def_property_readonly(
          "kind", [](const Picture& p) { return std::string(1, p.kind); },
          "the strongest slice type present: 'I', 'P' or 'B'")
      .def_readonly("irap", &Picture::irap, "random access point")
      .def_readonly("idr", &Picture::idr)
      .def_property_readonly(
          "past", [](const Picture& p) { return indices(p, 0); },
          "packets of the pictures in list 0, each once; those that never came are left out")
      .def_property_readonly(
          "future", [](const Picture& p) { return indices(p, 1); }, "the same for list 1")
      .def_property_readonly("records", &records,
                             "array of RECORD, one for each prediction block and list; flags is 1 + position in "
                             "`past` (source -1) or `future` (source +1)")
      .def_property_readonly(
          "crop", [](const Picture& p) { return py::make_tuple(p.crop[0], p.crop[1], p.crop[2], p.crop[3]); },
          "left, top, right, bottom of the conformance window")
      .def_property_readonly(
          "size", [](const Picture& p) { return py::make_tuple(p.width, p.height); }, "width, height after the crop")
      .def_readonly("error", &Picture::error, "why the picture is not to be trusted, or ''")
      .def("luma", &luma, "decoded luma after the crop, uint8 or uint16 [height, width]")
      .def("__repr__", [](const Picture& p) {
        return "<HevcPicture " + std::to_string(p.index) + ": " + p.kind + ", " + std::to_string(p.width) + "x" +
               std::to_string(p.height) + ", " + std::to_string(p.records.size()) + " records>";
      });

  py::class_<HevcVectors>(m, "HevcVectors", "The motion vectors of one HEVC stream.")
      .def(py::init<const py::object&, int, bool>(), py::arg("extradata") = py::bytes(), py::arg("threads") = 0,
           py::arg("luma") = false)
      .def("push", &HevcVectors::push, py::arg("packet"), py::arg("index"),
           "Take one demuxed packet; ValueError where it cannot be decoded, the next may follow all the same.")
      .def("set_extradata", &HevcVectors::set_extradata, py::arg("extradata"),
           "Extradata in place of the former, from the next packet on; ValueError where it cannot be read.")
      .def("flush", &HevcVectors::flush, "End of the stream: finish the pictures under way.")
      .def("pull", &HevcVectors::pull, "The pictures finished since the last call, in decode order.");
}
