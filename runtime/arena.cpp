#include <caracal/runtime/arena.h>

#include <algorithm>
#include <cstring>
#include <new>

#include <caracal/runtime/memory.h>

namespace caracal {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstBlock = size_t(1) << 20;

}  // namespace

void* Arena::allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (at_.block < blocks_.size() && blocks_[at_.block].size - at_.used < bytes) {
    at_.total += blocks_[at_.block].size - at_.used;  // the tail of a block left behind counts as used
    at_.block++;
    at_.used = 0;
  }
  if (at_.block == blocks_.size()) {
    const size_t size = std::max({bytes, kFirstBlock, high_water_ / 2});
    blocks_.push_back({new_block(size), size});
  }
  void* result = static_cast<char*>(blocks_[at_.block].memory.get()) + at_.used;
  at_.used += bytes;
  at_.total += bytes;
  high_water_ = std::max(high_water_, at_.total);
  return result;
}

void Arena::reset() {
  at_ = {};
  if (blocks_.size() > 1) reserve(high_water_);
}

void Arena::reserve(size_t bytes) {
  high_water_ = std::max(high_water_, bytes);
  if (blocks_.size() != 1 || blocks_[0].size < bytes) {
    blocks_.clear();
    blocks_.push_back({new_block(bytes), bytes});
  }
  at_ = {};
  if (!allocate_) std::memset(blocks_[0].memory.get(), 0, bytes);
}

std::shared_ptr<void> Arena::new_block(size_t bytes) const {
  return allocate_ ? allocate_(bytes) : allocate_memory(bytes);
}

ArenaPool::~ArenaPool() {
  for (auto& slot : idle_) delete slot.load();
}

Arena* ArenaPool::take() {
  for (auto& slot : idle_) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (Arena* arena = slot.exchange(nullptr, std::memory_order_acquire)) return arena;
  }
  return new Arena;
}

void ArenaPool::give(Arena* arena) noexcept {
  for (auto& slot : idle_) {
    Arena* expected = nullptr;
    if (slot.compare_exchange_strong(expected, arena, std::memory_order_release, std::memory_order_relaxed)) return;
  }
  delete arena;
}

}  // namespace caracal
