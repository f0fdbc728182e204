#include <caracal/runtime/arena.h>

#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include <caracal/runtime/memory.h>

namespace caracal {
namespace {

TEST(Arena, AlignsAndDoesNotOverlap) {
  Arena arena;
  std::vector<std::pair<char*, size_t>> blocks;
  for (size_t size :
       {size_t(0), size_t(1), size_t(63), size_t(64), size_t(65), size_t(1) << 20, size_t(3) << 20, size_t(100)}) {
    char* p = static_cast<char*>(arena.allocate(size));
    EXPECT_EQ(uintptr_t(p) % 64, 0u);
    std::memset(p, int(blocks.size() + 1), size);
    blocks.emplace_back(p, size);
  }
  for (size_t i = 0; i < blocks.size(); i++)
    for (size_t j = 0; j < blocks[i].second; j++) ASSERT_EQ(blocks[i].first[j], char(i + 1));
}

TEST(Arena, RewindGivesTheSameMemoryAgain) {
  Arena arena;
  arena.allocate(1000);
  const Arena::Mark mark = arena.mark();
  void* first = arena.allocate(5000);
  arena.allocate(size_t(4) << 20);
  arena.rewind(mark);
  EXPECT_EQ(arena.allocate(5000), first);
}

TEST(Arena, ResetJoinsBlocks) {
  Arena arena;
  auto fill = [&] {
    char* first = static_cast<char*>(arena.allocate(900'000));
    char* second = static_cast<char*>(arena.allocate(3'000'000));
    return second - first;
  };
  fill();
  arena.reset();
  EXPECT_EQ(fill(), 900'032);  // one block: the second lies right behind the first
  EXPECT_GE(arena.high_water(), 3'900'000u);
}

TEST(Arena, RefusesAbsurdSizes) { EXPECT_THROW(Arena().allocate(SIZE_MAX - 10), std::bad_alloc); }

TEST(ArenaPool, HandsTheSameArenaToCallsInARow) {
  ArenaPool pool;
  Arena* first;
  {
    ArenaPool::Lease lease(pool);
    first = &*lease;
    ArenaPool::Lease other(pool);
    EXPECT_NE(&*other, first);
  }
  ArenaPool::Lease a(pool), b(pool);
  EXPECT_TRUE(&*a == first || &*b == first);
}

TEST(Memory, LargeBlocksAreHugePageAligned) {
  EXPECT_EQ(uintptr_t(allocate_memory(size_t(5) << 20).get()) % (size_t(2) << 20), 0u);
  EXPECT_EQ(uintptr_t(allocate_memory(1).get()) % 64, 0u);
}

TEST(WeightStore, BlocksFollowEachOtherAndOutliveTheStore) {
  std::shared_ptr<void> a, b, large;
  {
    WeightStore store;
    a = store.allocate(100);
    b = store.allocate(100);
    large = store.allocate(size_t(100) << 20);
  }
  EXPECT_EQ(static_cast<char*>(b.get()) - static_cast<char*>(a.get()), 128);
  std::memset(a.get(), 1, 100);
  std::memset(b.get(), 2, 100);
  EXPECT_EQ(static_cast<char*>(a.get())[99], 1);
}

TEST(WeightStore, EachMatrixLearnsWhichCameNext) {
  const char memory[3] = {};
  std::shared_ptr<const NextWeight> next[3];
  {
    WeightStore store, other;
    for (int i = 0; i < 3; i++) {
      next[i] = store.packed({memory + i, i + 1, size_t(i + 10)});
      other.packed({memory, 99, 99});
    }
  }
  for (int i = 0; i < 2; i++) {
    EXPECT_EQ(next[i]->packed, memory + i + 1);
    EXPECT_EQ(next[i]->panels, i + 2);
    EXPECT_EQ(next[i]->panel_bytes, size_t(i + 11));
  }
  EXPECT_EQ(next[2]->panels, 0);
}

}  // namespace
}  // namespace caracal
