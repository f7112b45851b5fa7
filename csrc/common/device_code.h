// Whether a library has code for a card, from the list of architectures that it was compiled for.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

namespace arseg {

// `architectures`: "8.0 9.0a 12.0+PTX". Code for X.Y runs on X.Z with Z >= Y, with the suffix "a" on X.Y alone; PTX of
// X.Y is compiled on every later card.
inline bool has_code(const std::string& architectures, int major, int minor) {
  for (size_t begin = 0; begin < architectures.size();) {
    const size_t end = std::min(architectures.find(' ', begin), architectures.size());
    const std::string entry = architectures.substr(begin, end - begin);
    begin = end + 1;
    const size_t dot = entry.find('.');
    if (dot == std::string::npos || dot + 1 >= entry.size()) continue;
    const int x = std::atoi(entry.c_str()), y = entry[dot + 1] - '0';
    const std::string rest = entry.substr(dot + 2);
    const bool exact = !rest.empty() && rest[0] == 'a', ptx = rest.find("+PTX") != std::string::npos;
    if (x == major && (exact ? y == minor : y <= minor)) return true;
    if (ptx && !exact && (x < major || (x == major && y <= minor))) return true;
  }
  return false;
}

// What to say where there is none; "" where there is.
inline std::string no_code(const std::string& architectures, int major, int minor) {
  if (architectures.empty() || has_code(architectures, major, minor)) return "";
  const std::string card = std::to_string(major) + "." + std::to_string(minor);
  const std::string both =
      "arseg: this GPU has compute capability " + card + ", and the library has code for " + architectures + " alone. ";
  if (major < 8) return both + "The kernels need 8.0 or newer: move the tensors to the CPU.";
  return both + "Build it for this GPU: TORCH_CUDA_ARCH_LIST=" + card +
         " pip install --no-build-isolation --force-reinstall --no-deps, of the source archive or a checkout.";
}

}  // namespace arseg
