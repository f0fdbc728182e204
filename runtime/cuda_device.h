// A CUDA device as the runtime sees it: the kernels' table, memory that frees itself, and errors that are Errors.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include <caracal/kernels/cuda/kernels.h>
#include <caracal/runtime/device.h>

namespace caracal {

/// Shared by everything that has memory on it. Safe to use from many threads.
class CudaDevice : public std::enable_shared_from_this<CudaDevice> {
 public:
  /// Throws not_built where caracal::cuda, or with `cublas` its part for cuBLASLt, was not linked; unsupported where
  /// there is no device of this number, or no cuBLASLt.
  static std::shared_ptr<const CudaDevice> open(int index, bool cublas = false);

  const kernels::cuda::Cuda& table() const noexcept { return table_; }
  Device device() const noexcept { return {DeviceType::cuda, index_}; }
  /// "NVIDIA H100 80GB HBM3".
  const std::string& name() const noexcept { return name_; }

  /// Makes it the calling thread's current device, as everything below and in the table needs. A call does so once.
  void use() const { check(table_.use_device(index_)); }
  /// Throws io with the driver's text for an error, which 0 is not.
  void check(int error) const {
    if (error != 0) fail(error);
  }

  /// Memory on the device, and memory of the CPU that the device can copy from and to while both go on.
  std::shared_ptr<void> allocate(size_t bytes) const;
  std::shared_ptr<void> allocate_pinned(size_t bytes) const;

  /// How often calls had their launches captured as a graph, and how often such a graph was launched; for tests.
  mutable std::atomic<int64_t> captures{0}, graph_launches{0};

 private:
  CudaDevice(const kernels::cuda::Cuda& table, int index);
  [[noreturn]] void fail(int error) const;

  const kernels::cuda::Cuda& table_;
  int index_;
  std::string name_;
};

}  // namespace caracal
