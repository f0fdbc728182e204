#include <caracal/runtime/memory.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace caracal {
namespace {

constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kAlignment = 64;

size_t round_up(size_t n, size_t to) {
  if (n > SIZE_MAX - to) throw std::bad_alloc();
  return (n + to - 1) / to * to;
}

// mmap gives page alignment only: map one huge page more and give the ends back.
std::shared_ptr<void> map_huge(size_t bytes) {
  const size_t size = round_up(bytes, kHugePage);
  if (size > SIZE_MAX - kHugePage) throw std::bad_alloc();
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  char* begin = static_cast<char*>(raw);
  char* aligned = begin + (kHugePage - uintptr_t(begin) % kHugePage) % kHugePage;
  if (aligned != begin) munmap(begin, size_t(aligned - begin));
  if (aligned != begin + kHugePage) munmap(aligned + size, size_t(begin + kHugePage - aligned));
#ifdef MADV_HUGEPAGE
  madvise(aligned, size, MADV_HUGEPAGE);  // advice only: ordinary pages serve as well
#endif
  return {aligned, [size](void* p) { munmap(p, size); }};
}

}  // namespace

std::shared_ptr<void> allocate_memory(size_t bytes) {
  if (bytes >= kHugePage) return map_huge(bytes);
  void* p = std::aligned_alloc(kAlignment, round_up(std::max<size_t>(bytes, 1), kAlignment));
  if (p == nullptr) throw std::bad_alloc();
  return {p, std::free};
}

std::shared_ptr<void> WeightStore::allocate(size_t bytes) {
  constexpr size_t kRegion = size_t(64) << 20;
  bytes = round_up(std::max<size_t>(bytes, 1), kAlignment);
  std::lock_guard lock(mutex_);
  if (region_ == nullptr || size_ - used_ < bytes) {
    size_ = std::max(bytes, kRegion);
    region_ = allocate_memory(size_);
    used_ = 0;
  }
  std::shared_ptr<void> block(region_, static_cast<char*>(region_.get()) + used_);
  used_ += bytes;
  return block;
}

}  // namespace caracal
