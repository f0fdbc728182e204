// Large aligned memory: activations, packed weights, outputs.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace caracal {

/// 64-byte aligned memory, released with the last owner. From 2 MiB on it is 2 MiB aligned and asks the kernel for
/// huge pages (fewer TLB misses while weights stream). Throws std::bad_alloc.
std::shared_ptr<void> allocate_memory(size_t bytes);

/// Packs many long-lived blocks (a model's weights) into few huge-page regions, in the order of the calls, so that
/// matrices used one after the other lie one after the other. Blocks keep their region alive.
class WeightStore {
 public:
  /// `bytes` of 64-byte aligned memory. Safe to call from several threads.
  std::shared_ptr<void> allocate(size_t bytes);

 private:
  std::mutex mutex_;
  std::shared_ptr<void> region_;
  size_t size_ = 0, used_ = 0;
};

}  // namespace caracal
