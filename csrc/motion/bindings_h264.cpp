// Python face of the H.264 header reader: H264Headers and what its push() returns.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bindings.h"
#include "h264_reader.h"

namespace py = pybind11;
using namespace arseg::motion::h264;

namespace {

// The bytes of a buffer object, without a copy, for as long as this lives.
class Bytes {
 public:
  explicit Bytes(const py::handle& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) {
      PyErr_Clear();
      throw py::type_error("expected bytes or another contiguous buffer, got " +
                           std::string(py::str(py::type::handle_of(object).attr("__name__"))));
    }
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_;
};

py::tuple to_tuple(const std::vector<int64_t>& numbers) {
  py::tuple tuple(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    tuple[i] = py::int_(numbers[i]);
  }
  return tuple;
}

std::string describe(const Picture& p) {
  std::string text = "<H264Picture " + std::to_string(p.index) + ":";
  if (!p.kind.empty()) {
    text += std::string(p.idr ? " IDR" : "") + " " + p.kind + " " + std::to_string(p.width) + "x" +
            std::to_string(p.height) + " frame_num " + std::to_string(p.frame_num) + " sequence " +
            std::to_string(p.sequence) + " poc " + std::to_string(p.poc) + " past " +
            std::string(py::repr(to_tuple(p.past))) + " future " + std::string(py::repr(to_tuple(p.future)));
    text += p.gap > 0 ? " gap " + std::to_string(p.gap) : "";
  } else {
    text += " no picture";
  }
  return text + (p.error.empty() ? "" : ", " + p.error) + ">";
}

}  // namespace

void bind_h264(py::module_& m) {
  py::class_<Picture>(m, "H264Picture", "What the headers of one packet say. Made by H264Headers.push.")
      .def_readonly("index", &Picture::index)
      .def_readonly("kind", &Picture::kind)
      .def_readonly("idr", &Picture::idr)
      .def_readonly("recovery", &Picture::recovery)
      .def_readonly("reference", &Picture::reference)
      .def_readonly("frame_num", &Picture::frame_num)
      .def_readonly("poc", &Picture::poc)
      .def_readonly("sequence", &Picture::sequence)
      .def_property_readonly("past", [](const Picture& p) { return to_tuple(p.past); })
      .def_property_readonly("future", [](const Picture& p) { return to_tuple(p.future); })
      .def_readonly("entries", &Picture::entries)
      .def_readonly("weighted", &Picture::weighted)
      .def_readonly("gap", &Picture::gap)
      .def_readonly("started", &Picture::started)
      .def_readonly("interlaced", &Picture::interlaced)
      .def_readonly("changed", &Picture::changed)
      .def_readonly("reorders", &Picture::reorders)
      .def_property_readonly(
          "crop", [](const Picture& p) { return py::make_tuple(p.crop_left, p.crop_top, p.crop_right, p.crop_bottom); })
      .def_property_readonly("size", [](const Picture& p) { return py::make_tuple(p.width, p.height); })
      .def_readonly("references", &Picture::references)
      .def_readonly("slices", &Picture::slices)
      .def_readonly("error", &Picture::error)
      .def("__repr__", &describe);

  py::class_<Reader>(m, "H264Headers", "Reads the headers of H.264 packets, in decoding order.")
      .def(py::init([](const py::object& extradata) {
             const Bytes bytes(extradata);
             return Reader(bytes.data(), bytes.size());
           }),
           py::arg("extradata") = py::bytes())
      .def(
          "push",
          [](Reader& reader, const py::object& packet) {
            const Bytes bytes(packet);
            return reader.push(bytes.data(), bytes.size());
          },
          py::arg("packet"))
      .def(
          "set_extradata",
          [](Reader& reader, const py::object& extradata) {
            const Bytes bytes(extradata);
            reader.set_extradata(bytes.data(), bytes.size());
          },
          py::arg("extradata"), "Parameter sets and length size from the next packet on; sets that it lacks stay.")
      .def_property_readonly("extradata_error", &Reader::extradata_error);
}
