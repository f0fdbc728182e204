// The workspace of one call: bump allocation that reaches a steady state without system calls.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace caracal {

/// Hands out 64-byte aligned memory by moving a pointer; everything is taken back at once by rewind() or reset().
/// Not thread-safe: one arena serves one call at a time.
class Arena {
 public:
  Arena() = default;
  /// Of memory that `allocate` gives, which the arena never touches: a device's, say.
  explicit Arena(std::function<std::shared_ptr<void>(size_t)> allocate) : allocate_(std::move(allocate)) {}

  /// Where the arena stood; see rewind().
  struct Mark {
    size_t block = 0, used = 0, total = 0;
  };

  /// Uninitialised memory, valid until the arena is rewound past it. Allocates a block when the last one is full.
  void* allocate(size_t bytes);
  Mark mark() const noexcept { return at_; }
  /// Takes back everything handed out since `mark`.
  void rewind(const Mark& mark) noexcept { at_ = mark; }
  /// Takes back everything; joins several blocks into one of the largest size ever needed.
  void reset();
  /// Takes back everything, makes sure that `bytes` fit one block, and touches its pages so that no call pays for page
  /// faults.
  void reserve(size_t bytes);
  /// The most bytes that were in use at one time.
  size_t high_water() const noexcept { return high_water_; }
  size_t blocks() const noexcept { return blocks_.size(); }
  /// The first block and its size; null and 0 before anything was allocated.
  void* base() const noexcept { return blocks_.empty() ? nullptr : blocks_[0].memory.get(); }
  size_t size() const noexcept { return blocks_.empty() ? 0 : blocks_[0].size; }

 private:
  struct Block {
    std::shared_ptr<void> memory;
    size_t size;
  };
  std::shared_ptr<void> new_block(size_t bytes) const;

  std::function<std::shared_ptr<void>(size_t)> allocate_;  // empty: allocate_memory
  std::vector<Block> blocks_;
  Mark at_;
  size_t high_water_ = 0;
};

/// The idle workspaces of a model: each call takes one and gives it back, without locks.
class ArenaPool {
 public:
  /// Owns one arena for the length of a call.
  class Lease {
   public:
    explicit Lease(ArenaPool& pool) : pool_(pool), arena_(pool.take()) {}
    ~Lease() { pool_.give(arena_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Arena& operator*() const noexcept { return *arena_; }

   private:
    ArenaPool& pool_;
    Arena* arena_;
  };

  ArenaPool() = default;
  ~ArenaPool();
  ArenaPool(const ArenaPool&) = delete;
  ArenaPool& operator=(const ArenaPool&) = delete;

 private:
  Arena* take();
  void give(Arena* arena) noexcept;

  static constexpr size_t kSlots = 64;  // more concurrent calls than this allocate their workspace anew
  std::array<std::atomic<Arena*>, kSlots> idle_{};
};

}  // namespace caracal
