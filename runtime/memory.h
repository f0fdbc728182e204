// Large aligned memory: activations, packed weights, outputs.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include <caracal/runtime/tensor.h>

struct CUstream_st;

namespace caracal {

class CudaDevice;

/// 64-byte aligned memory, released with the last owner. From 2 MiB on it is 2 MiB aligned and asks the kernel for
/// huge pages (fewer TLB misses while weights stream). Throws std::bad_alloc.
std::shared_ptr<void> allocate_memory(size_t bytes);

/// The matrix that was packed after another one, and is probably multiplied after it: what a thread will read first is
/// fetched while the one before is still at work. 0 panels: none. Nothing there is read, so it may be gone.
struct NextWeight {
  const char* packed = nullptr;
  int64_t panels = 0;
  size_t panel_bytes = 0;  // of all but the last, which may have fewer
};

/// Packs many long-lived blocks (a model's weights) into few huge-page regions, in the order of the calls, so that
/// matrices used one after the other lie one after the other. Blocks keep their region alive. With a device they are in
/// its memory.
class WeightStore {
 public:
  WeightStore() = default;
  /// `numbers`: of activations and matrices, F32, F16 or BF16.
  WeightStore(std::shared_ptr<const CudaDevice> device, DType numbers)
      : device_(std::move(device)), numbers_(numbers) {}

  /// `bytes` of 64-byte aligned memory. Safe to call from several threads.
  std::shared_ptr<void> allocate(size_t bytes);
  /// Says that `weight` has been packed; what will be packed next appears in the result, before anyone multiplies.
  std::shared_ptr<const NextWeight> packed(const NextWeight& weight);

  /// Null for the CPU.
  const CudaDevice* device() const noexcept { return device_.get(); }
  /// A parameter where ops read it: x itself on the CPU, on a device a copy in `dtype`, by default the store's numbers.
  Tensor place(const Tensor& x, DType dtype);
  Tensor place(const Tensor& x) { return place(x, numbers_); }
  /// On a device: several behind each other, in the store's numbers.
  std::shared_ptr<void> place_stack(const std::vector<Tensor>& parts);

 private:
  void upload(void* to, const Tensor& x, DType dtype);

  std::shared_ptr<const CudaDevice> device_;
  DType numbers_ = DType::F32;
  std::mutex mutex_;
  std::shared_ptr<void> region_;
  size_t size_ = 0, used_ = 0;
  std::shared_ptr<CUstream_st> stream_;  // of uploads
  std::shared_ptr<NextWeight> next_;  // of the weight packed last
};

}  // namespace caracal
