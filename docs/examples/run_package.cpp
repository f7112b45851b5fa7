// Runs an exported part in C++: run_package OPERATORS.so PART.pt2 INPUTS.pt OUTPUT.pt (docs/export.md).
//
// OPERATORS.so is arseg_ext's `_C…so`, which the fusion needs and the other parts do not ("" is none). INPUTS.pt holds
// the part's inputs in the manifest's order, as a list of tensors that `torch.save` wrote; OUTPUT.pt will hold the
// result, which `torch.load` reads.

#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::vector<char> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error(path + ": cannot be read");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(const std::string& operators, const std::string& part, const std::string& inputs, const std::string& output) {
  if (!operators.empty() && dlopen(operators.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    throw std::runtime_error(dlerror());
  }
  std::vector<at::Tensor> tensors;
  const c10::IValue list = torch::jit::pickle_load(read(inputs));
  for (const c10::IValue& one : list.toListRef()) {
    tensors.push_back(one.toTensor());
  }
  torch::inductor::AOTIModelPackageLoader package(part);
  const std::vector<at::Tensor> results = package.run(tensors);
  const auto bytes = torch::jit::pickle_save(c10::IValue(results.at(0)));
  std::ofstream(output, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "run_package OPERATORS.so PART.pt2 INPUTS.pt OUTPUT.pt\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const c10::Error& error) {
    std::cerr << "run_package: " << error.what_without_backtrace() << "\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "run_package: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
