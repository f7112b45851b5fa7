// Parts of the Python module arseg._motion that have a file of their own.
#pragma once

#include <pybind11/pybind11.h>

// H264Headers, H264Picture
void bind_h264(pybind11::module_& m);
