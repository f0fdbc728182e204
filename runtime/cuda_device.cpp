#include <caracal/runtime/cuda_device.h>

#include <algorithm>
#include <cstdio>

#include <caracal/runtime/error.h>

namespace caracal {

namespace {

const kernels::cuda::Cuda& with_cublas() {
  const char* about = nullptr;
  const kernels::cuda::Cuda* table = kernels::cuda::cublas_table(&about);
  if (table != nullptr) return *table;
  if (about != nullptr)
    throw Error(ErrorCode::unsupported, "backend", "expected cuBLASLt for 'cublas' but got: " + std::string(about));
  throw Error(ErrorCode::not_built, "backend",
              "expected native but got 'cublas': not built; configure with -DCARACAL_CUBLAS=ON and link caracal::cuda");
}

// "12.4" of 12040.
std::string cuda_version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace

std::shared_ptr<const CudaDevice> CudaDevice::open(int index, bool cublas) {
  const kernels::cuda::Cuda* table = kernels::cuda::cuda_table();
  if (table == nullptr)
    throw Error(ErrorCode::not_built, "device",
                "expected cpu but got 'cuda': not built; configure with -DCARACAL_CUDA=ON and link caracal::cuda");
  int count = 0;
  if (const int error = table->device_count(&count); error != 0) {
    int has = 0, needs = 0;
    if (table->driver_versions(&has, &needs) == 0 && has > 0 && has / 1000 < needs / 1000)
      throw Error(ErrorCode::unsupported, "device",
                  "expected an NVIDIA driver for CUDA " + cuda_version(needs / 1000 * 1000) +
                      " or later but got one for CUDA " + cuda_version(has) + ": update the driver");
    throw Error(ErrorCode::unsupported, "device",
                std::string("expected a CUDA device but got none: ") + table->error_text(error));
  }
  if (count == 0)
    throw Error(ErrorCode::unsupported, "device",
                "expected a CUDA device but got none: this machine has no NVIDIA driver or no GPU");
  if (index < 0 || index >= count)
    throw Error(ErrorCode::unsupported, "device",
                "expected cuda:0 to cuda:" + std::to_string(count - 1) + " but got cuda:" + std::to_string(index));
  std::shared_ptr<const CudaDevice> device(new CudaDevice(cublas ? with_cublas() : *table, index));
  if (cublas) const Use ready(*device);  // makes cuBLASLt ready for it
  return device;
}

CudaDevice::CudaDevice(const kernels::cuda::Cuda& table, int index) : table_(table), index_(index) {
  char name[256] = "";
  int major = 0, minor = 0;
  check(table_.device_name(index, name, sizeof name, &major, &minor, &memory_), "device_name");
  name_ = name;
  if (major * 10 + minor < 75)
    throw Error(ErrorCode::unsupported, "device",
                "expected a CUDA device of compute capability 7.5 or more but got " + name_ + " with " +
                    std::to_string(major) + "." + std::to_string(minor));
}

std::string CudaDevice::text_of(size_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " bytes";
  const char* units[] = {"kB", "MB", "GB"};
  double amount = double(bytes) / 1000;
  int unit = 0;
  for (; unit < 2 && amount >= 999.95; unit++) amount /= 1000;
  char text[40];
  std::snprintf(text, sizeof text, "%.1f %s", amount, units[unit]);
  return text;
}

void CudaDevice::fail(int error, const char* call, const std::string& expected) const {
  throw Error(ErrorCode::io, std::string("cuda.") + call,
              "expected " + expected + " on " + name_of(device()) + " (" + name_ + ", " + text_of(memory_) +
                  ") but got " + table_.error_text(error) + " (" + std::to_string(error) + ")");
}

void expect_cuda_stream(const CudaDevice* device, void* stream) {
  const char* op = "cuda_stream";
  if (device == nullptr)
    throw Error(ErrorCode::invalid_argument, op, "expected no stream, since the device is cpu, but got one");
  const CudaDevice::Use use(*device);
  kernels::cuda::StreamState state;
  device->check(device->table().stream_state(static_cast<kernels::cuda::Stream>(stream), &state), op);
  const bool elsewhere = state.device != device->device().index;
  if (state.capturing || elsewhere || !state.primary)
    throw Error(ErrorCode::invalid_argument, op,
                "expected a stream of " + name_of(device->device()) +
                    (state.capturing || elsewhere ? " that is not being captured" : "'s primary context") +
                    " but got " +
                    (state.capturing ? "one that is"
                     : elsewhere     ? "one of cuda:" + std::to_string(state.device)
                                     : "one of another context"));
}

std::shared_ptr<void> CudaDevice::allocate(size_t bytes) const {
  const Use use(*this);
  void* memory = nullptr;
  check(table_.allocate(&memory, std::max<size_t>(bytes, 1)), "allocate", bytes);
  return {memory, [self = shared_from_this()](void* p) { self->use_to_release([&] { self->table_.release(p); }); }};
}

std::shared_ptr<void> CudaDevice::allocate_pinned(size_t bytes) const {
  const Use use(*this);
  void* memory = nullptr;
  check(table_.allocate_host(&memory, std::max<size_t>(bytes, 1)), "allocate_host", bytes);
  return {memory,
          [self = shared_from_this()](void* p) { self->use_to_release([&] { self->table_.release_host(p); }); }};
}

std::shared_ptr<CUstream_st> CudaDevice::create_stream() const {
  const Use use(*this);
  kernels::cuda::Stream stream = nullptr;
  check(table_.create_stream(&stream), "create_stream");
  return {stream, [self = shared_from_this()](kernels::cuda::Stream s) {
            self->use_to_release([&] { self->table_.destroy_stream(s); });
          }};
}

}  // namespace caracal
