// Any bytes as a safetensors file: an Error, or tensors whose every byte can be read.
#include <caracal/loaders/safetensors.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caracal;
  try {
    const SafetensorsFile file = SafetensorsFile::parse({.span = {data, size}}, "fuzz");
    uint64_t bytes = 0;
    for (const TensorInfo& info : file.tensors()) {
      if (file.find(info.name) == nullptr || info.begin > info.end || info.end > size) __builtin_trap();
      bytes += info.end - info.begin;
      try {
        if (file.tensor(info).clone().nbytes() != info.end - info.begin) __builtin_trap();
      } catch (const Error& error) {
        if (error.code() != ErrorCode::unsupported) __builtin_trap();
      }
    }
    if (bytes + 8 > size) __builtin_trap();  // no two tensors share a byte
  } catch (const Error&) {
  }
  return 0;
}
