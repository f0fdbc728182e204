// Runs grids: the blocks in random order, and of a block, one warp after another up to a barrier, in random order too.
// Where several blocks run at once, one goes on until it pauses or comes to a barrier, then any other may.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include <caracal/tests/cuda/shim/block.h>
#include <caracal/tests/cuda/shim/fiber.h>
#include <caracal/tests/cuda/shim/shim.h>
#include <caracal/tests/cuda/shim/static_shared.h>
#include <caracal/tests/cuda/shim/weak_memory.h>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace caracal::shim {

namespace {

enum class State { ready, at_barrier, in_warp, done };

struct Copy {
  void* shared;
  const void* global;
  bool valid;
  int64_t group;
};

struct Thread {
  explicit Thread(void (*entry)()) : fiber(entry) {}

  Fiber fiber;
  State state = State::ready;
  uint3 index = {};
  bool waited = false;   // for the kernel before
  Barrier barrier = {};  // where it waits, and with what
  int value = 0;
  const char* together = "";  // the warp's operation that it waits in
  unsigned mask = 0;
  void* mine = nullptr;
  std::vector<Copy> copies;  // begun and not there yet, oldest first
  int64_t group = 0;         // of those begun now
};

struct SharedMemory {
  char* begin = nullptr;
  size_t bytes = 0;
  void resize(size_t size) {
    std::free(begin);
    begin = nullptr, bytes = size;
    void* memory = nullptr;
    if (size != 0 && posix_memalign(&memory, 128, size) != 0) throw std::bad_alloc();
    begin = static_cast<char*>(memory);
  }
};

// One grid runs at a time: a thread of the host takes the lock, and all that follows is its own.
std::mutex running;
struct Block {
  explicit Block(size_t number) : place(number) {}

  size_t place;
  uint3 index = {};
  bool begun = false;
  uint64_t asleep = 0;  // for so many turns of others
  std::vector<std::unique_ptr<Thread>> threads;
  SharedMemory dynamic;
  std::vector<char> statics;  // its static shared memory, while another block runs
};
std::vector<std::unique_ptr<Block>> places;  // as many as blocks run at once; kept for the next grid
size_t blocks_at_once = [] {
  const char* count = std::getenv("CARACAL_SHIM_BLOCKS");
  return count == nullptr ? size_t(1) : size_t(std::max(1, std::atoi(count)));
}();
Block* running_block;
bool paused;  // the thread that ran last
const std::function<void()>* body;
size_t block_size;
Thread* current;
cudaError_t error;
std::string failure;
uint64_t random_state = [] {
  const char* seed = std::getenv("CARACAL_SHIM_SEED");
  return seed == nullptr ? uint64_t(1) : uint64_t(std::atoll(seed));
}();

uint64_t random_below(uint64_t n) {
  random_state += 0x9e3779b97f4a7c15u;  // splitmix64
  uint64_t z = random_state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (z ^ z >> 31) % n;
}

template <class T>
void shuffle_order(std::vector<T>& order, size_t n) {
  order.resize(n);
  std::iota(order.begin(), order.end(), T(0));
  for (size_t i = n; i > 1; i--) std::swap(order[i - 1], order[random_below(i)]);
}

// Not instrumented: what is overwritten may be AddressSanitizer's own space around variables.
__attribute__((no_sanitize("address", "thread", "undefined"))) void poison(char* begin, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) static_cast<volatile char*>(begin)[i] = char(0xff);
}

// What is static of a block that others take turns with: kept, put back; how much of it is not as poison() left it.
__attribute__((no_sanitize("address", "thread", "undefined"))) void keep_statics(std::vector<char>& to) {
  to.clear();
  for (const Range& range : static_shared()) {
    for (size_t i = 0; i < range.bytes; i++) to.push_back(char(static_cast<volatile char*>(range.begin)[i]));
  }
}
__attribute__((no_sanitize("address", "thread", "undefined"))) void put_statics_back(const std::vector<char>& from) {
  size_t at = 0;
  for (const Range& range : static_shared()) {
    for (size_t i = 0; i < range.bytes; i++) static_cast<volatile char*>(range.begin)[i] = from[at++];
  }
}
__attribute__((no_sanitize("address", "thread", "undefined"))) size_t statics_used() {
  size_t used = 0;
  for (const Range& range : static_shared()) {
    for (size_t i = 0; i < range.bytes; i++) {
      if (static_cast<volatile char*>(range.begin)[i] == char(0xff)) continue;
      used += range.bytes;
      break;
    }
  }
  return used;
}

size_t index_of(const Thread& thread) {
  return thread.index.x + size_t(blockDim.x) * (thread.index.y + size_t(blockDim.y) * thread.index.z);
}

bool same(const char* a, const char* b) { return std::strcmp(a, b) == 0; }

std::string place(const Thread& thread) {
  auto three = [](uint3 i) {
    return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  return "thread " + three(thread.index) + " of block " + three(blockIdx);
}

void record(cudaError_t code, const std::string& text) {
  if (error == cudaSuccess) error = code, failure = text;
}

void run_thread() {
  for (;;) {
    (*body)();
    if (!current->waited) fail(cudaErrorLaunchFailure, "ends without wait_for_previous()");
    current->state = State::done;
    current->fiber.leave();
  }
}

void run(Thread& thread) {
  current = &thread;
  threadIdx = thread.index;
  thread.fiber.enter();
}

/// Until all its lanes are at a barrier or done; false: they wait for each other, one failed, or one paused.
bool run_warp(size_t first) {
  const std::vector<std::unique_ptr<Thread>>& threads = running_block->threads;
  const size_t lanes = std::min<size_t>(32, block_size - first);
  for (;;) {
    bool ran = false;
    const size_t start = random_below(lanes), step = random_below(2) == 0 ? 1 : lanes - 1;
    for (size_t i = 0; i < lanes; i++) {
      Thread& thread = *threads[first + (start + i * step) % lanes];
      if (thread.state != State::ready) continue;
      run(thread);
      if (error != cudaSuccess || paused) return false;
      ran = true;
    }
    if (!ran) break;
  }
  for (size_t i = first; i < first + lanes; i++) {
    if (threads[i]->state != State::in_warp) continue;
    char text[64];
    std::snprintf(text, sizeof text, " waits in %s, mask 0x%08x", threads[i]->together, threads[i]->mask);
    std::string others;
    for (size_t j = first; j < first + lanes; j++) {
      if ((threads[i]->mask >> (j - first) & 1) == 0) continue;
      const Thread& other = *threads[j];
      if (other.state == State::done) others = "; " + place(other) + " is done";
      if (other.state == State::at_barrier) others = "; " + place(other) + " is at __syncthreads";
      if (other.state == State::in_warp &&
          (!same(other.together, threads[i]->together) || other.mask != threads[i]->mask)) {
        others = "; " + place(other) + " is in " + other.together;
      }
    }
    record(cudaErrorLaunchTimeout, place(*threads[i]) + text + others);
    return false;
  }
  return true;
}

/// Lets all threads go on that are at the barrier; false if none is.
bool release_barrier() {
  const std::vector<std::unique_ptr<Thread>>& threads = running_block->threads;
  size_t waiting = 0;
  const Thread *at = nullptr, *done = nullptr;
  int64_t nonzero = 0;
  for (size_t i = 0; i < block_size; i++) {
    if (threads[i]->state == State::done) {
      done = threads[i].get();
    } else {
      at = threads[i].get(), waiting++, nonzero += at->value != 0;
    }
  }
  if (waiting == 0) return false;
  if (done != nullptr) {
    record(cudaErrorLaunchTimeout, place(*at) + " waits at __syncthreads; " + place(*done) + " is done");
    return false;
  }
  for (size_t i = 0; i < block_size; i++) {
    Thread& thread = *threads[i];
    if (thread.barrier == Barrier::count) thread.value = int(nonzero);
    if (thread.barrier == Barrier::all) thread.value = nonzero == int64_t(waiting);
    if (thread.barrier == Barrier::any) thread.value = nonzero != 0;
    thread.state = State::ready;
  }
  return true;
}

void begin_block() {
  Block& block = *running_block;
  block.begun = true;
  poison(block.dynamic.begin, block.dynamic.bytes);
  for (const Range& range : static_shared()) poison(range.begin, range.bytes);
  for (size_t i = 0; i < block_size; i++) {
    Thread& thread = *block.threads[i];
    thread.state = State::ready, thread.waited = false;
    thread.copies.clear(), thread.group = 0;
    const unsigned x = blockDim.x, y = blockDim.y;
    thread.index = {unsigned(i % x), unsigned(i / x % y), unsigned(i / x / y)};
  }
  weak_memory::begin_block();
}

/// Makes it the one that goes on. The one before is done, or will go on later (`later`).
void switch_to(Block& block, bool later) {
  if (&block == running_block && block.begun) return;
  if (later) {
    keep_statics(running_block->statics);
    weak_memory::suspend_block(running_block->place);
  }
  running_block = &block;
  blockIdx = block.index;
  if (!block.begun) return begin_block();
  put_statics_back(block.statics);
  weak_memory::resume_block(block.place);
}

/// Whose turn it is. Some sleep for long now and then, so that others get far ahead.
size_t next_turn(const std::vector<Block*>& present) {
  if (present.size() == 1) return 0;
  if (random_below(16) == 0) present[random_below(present.size())]->asleep = random_below(200);
  std::vector<size_t> awake;
  for (size_t i = 0; i < present.size(); i++) {
    if (present[i]->asleep == 0)
      awake.push_back(i);
    else
      present[i]->asleep--;
  }
  return awake.empty() ? random_below(present.size()) : awake[random_below(awake.size())];
}

/// Until it is done, or failed; false: it goes on later, if it is its turn again.
bool run_block() {
  constexpr uint64_t kBarriers = 4;  // for each at which others may go on
  static std::vector<uint32_t> warps;
  const bool alone = blocks_at_once == 1;
  do {
    shuffle_order(warps, (block_size + 31) / 32);
    for (uint32_t warp : warps) {
      paused = false;
      if (!run_warp(32 * size_t(warp))) return error != cudaSuccess;
    }
    if (!release_barrier()) return true;
  } while (alone || random_below(kBarriers) != 0);
  return false;
}

}  // namespace

cudaError_t run_grid(dim3 grid, dim3 block, size_t shared, size_t most_shared, const std::function<void()>& kernel) {
  const std::lock_guard lock(running);
  static std::vector<uint64_t> blocks;
  static std::vector<Block*> present, idle;
  body = &kernel;
  error = cudaSuccess;
  blockDim = block, gridDim = grid;
  block_size = size_t(block.x) * block.y * block.z;
  shuffle_order(blocks, size_t(grid.x) * grid.y * grid.z);
  const size_t count = std::min(blocks_at_once, blocks.size());
  present.clear(), idle.clear();
  while (places.size() < count) places.push_back(std::make_unique<Block>(places.size()));
  for (size_t i = 0; i < count; i++) {
    Block& one = *places[i];
    one.dynamic.resize(shared);
    while (one.threads.size() < block_size) one.threads.push_back(std::make_unique<Thread>(run_thread));
    idle.push_back(&one);
  }
  running_block = nullptr;
  weak_memory::begin_grid();
  for (size_t next = 0; error == cudaSuccess;) {
    for (; !idle.empty() && next < blocks.size(); next++) {
      const uint64_t i = blocks[next];
      idle.back()->index = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)};
      idle.back()->begun = false, idle.back()->asleep = 0;
      present.push_back(idle.back());
      idle.pop_back();
    }
    if (present.empty()) break;
    const size_t turn = next_turn(present);
    const bool later = running_block != nullptr && running_block->begun && present[turn] != running_block;
    switch_to(*present[turn], later);
    if (!run_block() || error != cudaSuccess) continue;
    weak_memory::end_block();
    if (const size_t used = statics_used(); shared + used > most_shared) {
      record(cudaErrorInvalidValue, "a block has " + std::to_string(shared) + " bytes of shared memory and " +
                                        std::to_string(used) + " static ones; it may have " +
                                        std::to_string(most_shared));
    }
    running_block->begun = false;
    idle.push_back(running_block);
    present.erase(present.begin() + std::ptrdiff_t(turn));
  }
  weak_memory::end_grid();
  for (size_t i = 0; i < count; i++) {
    if (error != cudaSuccess) {  // whoever waits will never be run again
      for (auto& thread : places[i]->threads) thread->fiber.restart();
    }
    places[i]->dynamic.resize(0);
  }
  return error;
}

std::string last_failure() {
  const std::lock_guard lock(running);
  return failure;
}

void seed(uint64_t value) {
  const std::lock_guard lock(running);
  random_state = value;
}

void set_blocks_at_once(int count) {
  const std::lock_guard lock(running);
  blocks_at_once = size_t(std::max(1, count));
}

void pause() {
  if (blocks_at_once == 1) return;
  paused = true;
  current->fiber.leave();
}

void fail(cudaError_t code, const char* who, const char* what) {
  record(code, place(*current) + " " + who + what);
  current->fiber.leave();  // and with it all that is on the fiber's stack, so nothing there may own memory
  std::abort();            // it is not entered again
}

void* dynamic_shared() { return running_block->dynamic.begin; }

int lane() { return int(index_of(*current) % 32); }

int block_barrier(Barrier kind, int value) {
  Thread& thread = *current;
  thread.barrier = kind, thread.value = value;
  thread.state = State::at_barrier;
  thread.fiber.leave();
  return thread.value;
}

void warp_together(const char* name, unsigned mask, void* mine, Act act) {
  Thread& thread = *current;
  const std::vector<std::unique_ptr<Thread>>& threads = running_block->threads;
  const size_t index = index_of(thread), first = index - index % 32;
  if ((mask >> index % 32 & 1) == 0) fail(cudaErrorLaunchFailure, "is not in the mask that it gives");
  thread.together = name, thread.mask = mask, thread.mine = mine;
  thread.state = State::in_warp;
  void* operands[32] = {};
  bool all = true;
  for (size_t i = 0; i < 32 && all; i++) {
    if ((mask >> i & 1) == 0) continue;
    if (first + i >= block_size) fail(cudaErrorLaunchFailure, "names lanes that its warp does not have");
    const Thread& other = *threads[first + i];
    all = other.state == State::in_warp && same(other.together, name) && other.mask == mask;
    operands[i] = other.mine;
  }
  if (!all) {
    thread.fiber.leave();
    return;
  }
  act(operands, mask);
  for (size_t i = 0; i < 32; i++) {
    if ((mask >> i & 1) != 0) threads[first + i]->state = State::ready;
  }
  thread.fiber.leave();  // who goes on first is left to chance
}

void waited_for_previous() { current->waited = true; }

void check_shared(const void* p, size_t bytes, const char* what) {
  const char* begin = static_cast<const char*>(p);
  auto within = [&](const char* from, size_t size) { return begin >= from && begin + bytes <= from + size; };
  bool found = within(running_block->dynamic.begin, running_block->dynamic.bytes);
  for (const Range& range : static_shared()) found = found || within(range.begin, range.bytes);
  if (!found) fail(cudaErrorIllegalAddress, what, ": not in shared memory");
  if (reinterpret_cast<uintptr_t>(p) % bytes != 0) fail(cudaErrorMisalignedAddress, what, ": address not aligned");
}

void begin_copy(void* shared, const void* global, bool valid) {
  check_shared(shared, 16, "cp_async_16");
  if (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    fail(cudaErrorMisalignedAddress, "cp_async_16: global address not aligned");
  }
  std::memset(shared, 0xff, 16);
  current->copies.push_back({shared, global, valid, current->group});
}

void commit_copies() { current->group++; }

void finish_copies(int groups_left) {
  auto& copies = current->copies;
  auto end = copies.begin();
  for (; end != copies.end() && end->group < current->group - groups_left; ++end) {
    if (end->valid) {
      std::memcpy(end->shared, end->global, 16);
    } else {
      std::memset(end->shared, 0, 16);
    }
  }
  copies.erase(copies.begin(), end);
}

}  // namespace caracal::shim
