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
  /// there is no device of this number, a driver that is too old, or no cuBLASLt.
  static std::shared_ptr<const CudaDevice> open(int index, bool cublas = false);

  const kernels::cuda::Cuda& table() const noexcept { return table_; }
  Device device() const noexcept { return {DeviceType::cuda, index_}; }
  /// "NVIDIA H100 80GB HBM3".
  const std::string& name() const noexcept { return name_; }

  /// While it lives the device is the calling thread's current one, as the table needs it, and the thread may do what
  /// a stream capture elsewhere in the process would forbid, such as to allocate (cudaThreadExchangeStreamCaptureMode:
  /// nothing that the library does can be a part of such a capture). Then both are again what they were. One within
  /// another costs nothing to speak of.
  class Use {
   public:
    explicit Use(const CudaDevice& device) : Use(device, 0) { device.check(error_, "use_device"); }
    ~Use() {
      if (error_ != 0) return;
      table_.exchange_capture_mode(&mode_);
      table_.restore(before_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    friend CudaDevice;
    Use(const CudaDevice& device, int) noexcept
        : table_(device.table_), error_(table_.use_device(device.index_, &before_)) {
      if (error_ != 0) return;
      error_ = table_.exchange_capture_mode(&mode_);
      if (error_ != 0) table_.restore(before_);
    }

    const kernels::cuda::Cuda& table_;
    kernels::cuda::Context before_ = nullptr;
    int error_, mode_ = kernels::cuda::kRelaxedCapture;
  };
  /// For destructors: f() with the device current, or nothing where that fails.
  template <class F>
  void use_to_release(F f) const noexcept {
    if (const Use use(*this, 0); use.error_ == 0) f();
  }

  /// Throws io for an error of the driver, which 0 is not: "[cuda.<call>] expected success on cuda:0 (NVIDIA H200,
  /// 150.1 GB) but got out of memory (2)".
  void check(int error, const char* call) const {
    if (error != 0) fail(error, call, "success");
  }
  /// The same with what the call was to do: "expected 1.2 GB on …".
  void check(int error, const char* call, size_t bytes) const {
    if (error != 0) fail(error, call, text_of(bytes));
  }
  [[noreturn]] void fail(int error, const char* call, const std::string& expected) const;

  /// Memory on the device, and memory of the CPU that the device can copy from and to while both go on.
  std::shared_ptr<void> allocate(size_t bytes) const;
  std::shared_ptr<void> allocate_pinned(size_t bytes) const;
  /// A stream that neither waits for the legacy stream nor has it wait.
  std::shared_ptr<CUstream_st> create_stream() const;

  /// How often calls had their launches captured as a graph, and how often such a graph was launched; for tests.
  mutable std::atomic<int64_t> captures{0}, graph_launches{0};

 private:
  CudaDevice(const kernels::cuda::Cuda& table, int index);
  static std::string text_of(size_t bytes);

  const kernels::cuda::Cuda& table_;
  int index_;
  std::string name_;
  size_t memory_ = 0;  // bytes in all
};

/// Throws invalid_argument for a stream (cudaStream_t) that no call can use: one without a device (null), of another
/// device or of a context that is not its primary one, where graphs and weights are; or one that is being captured,
/// which nobody may wait for.
void expect_cuda_stream(const CudaDevice* device, void* stream);

}  // namespace caracal
