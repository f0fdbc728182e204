#include <caracal/runtime/cuda_device.h>

#include <algorithm>

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

}  // namespace

std::shared_ptr<const CudaDevice> CudaDevice::open(int index, bool cublas) {
  const kernels::cuda::Cuda* table = kernels::cuda::cuda_table();
  if (table == nullptr)
    throw Error(ErrorCode::not_built, "device",
                "expected cpu but got 'cuda': not built; configure with -DCARACAL_CUDA=ON and link caracal::cuda");
  int count = 0;
  if (const int error = table->device_count(&count); error != 0)
    throw Error(ErrorCode::unsupported, "device",
                std::string("expected a CUDA device but got none: ") + table->error_text(error));
  if (count == 0)
    throw Error(ErrorCode::unsupported, "device",
                "expected a CUDA device but got none: this machine has no NVIDIA driver or no GPU");
  if (index < 0 || index >= count)
    throw Error(ErrorCode::unsupported, "device",
                "expected cuda:0 to cuda:" + std::to_string(count - 1) + " but got cuda:" + std::to_string(index));
  std::shared_ptr<const CudaDevice> device(new CudaDevice(cublas ? with_cublas() : *table, index));
  if (cublas) device->use();  // cuBLASLt is made ready for it
  return device;
}

CudaDevice::CudaDevice(const kernels::cuda::Cuda& table, int index) : table_(table), index_(index) {
  char name[256] = "";
  int major = 0, minor = 0;
  size_t memory = 0;
  check(table_.device_name(index, name, sizeof name, &major, &minor, &memory));
  name_ = name;
  if (major * 10 + minor < 75)
    throw Error(ErrorCode::unsupported, "device",
                "expected a CUDA device of compute capability 7.5 or more but got " + name_ + " with " +
                    std::to_string(major) + "." + std::to_string(minor));
}

void CudaDevice::fail(int error) const {
  throw Error(ErrorCode::io, "CUDA", "expected success but got: " + std::string(table_.error_text(error)));
}

std::shared_ptr<void> CudaDevice::allocate(size_t bytes) const {
  use();
  void* memory = nullptr;
  check(table_.allocate(&memory, std::max<size_t>(bytes, 1)));
  return {memory, [self = shared_from_this()](void* p) {
            self->table_.use_device(self->index_);
            self->table_.release(p);
          }};
}

std::shared_ptr<void> CudaDevice::allocate_pinned(size_t bytes) const {
  use();
  void* memory = nullptr;
  check(table_.allocate_host(&memory, std::max<size_t>(bytes, 1)));
  return {memory, [self = shared_from_this()](void* p) {
            self->table_.use_device(self->index_);
            self->table_.release_host(p);
          }};
}

}  // namespace caracal
