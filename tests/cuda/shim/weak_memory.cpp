#include <caracal/tests/cuda/shim/weak_memory.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include <caracal/tests/cuda/shim/block.h>
#include <caracal/tests/cuda/shim/shim.h>
#include <caracal/tests/cuda/shim/static_shared.h>

namespace caracal::shim {
namespace {

/// One allocation of the device.
struct Memory {
  Range seen;                  // the memory itself, as the running block sees it
  std::vector<char> start;     // when the grid began
  std::vector<char> last;      // as the running block saw it at its last fence
  std::vector<char> acquired;  // with what the running block may see after its next fence
  std::vector<char> all;       // with all writes
};

/// What a block that waits for its turn has seen, written and acquired, of each allocation.
struct View {
  struct Part {
    std::vector<char> seen, last, acquired;
  };
  std::vector<Part> parts;
  bool after_atomic;
};

bool wanted = std::getenv("CARACAL_SHIM_WEAK_MEMORY") != nullptr;
bool running_weak, after_atomic;
std::vector<Memory> memories;
std::map<size_t, View> suspended;  // by place
std::map<void*, std::vector<std::vector<char>>>
    released;  // at each counter: of each allocation, what was written before

void copy(std::vector<char>& to, const char* from) { std::memcpy(to.data(), from, to.size()); }

/// What `from` has that memory did not have when the grid began.
void merge(char* to, const std::vector<char>& from, const Memory& m) {
  if (from == m.start) return;
  for (size_t i = 0; i < from.size(); i++) {
    if (from[i] != m.start[i]) to[i] = from[i];
  }
}

/// What the block wrote since its last fence.
void note_writes() {
  for (Memory& m : memories) {
    if (std::memcmp(m.seen.begin, m.last.data(), m.seen.bytes) == 0) continue;
    for (size_t i = 0; i < m.seen.bytes; i++) {
      if (m.seen.begin[i] != m.last[i]) m.all[i] = m.seen.begin[i];
    }
  }
}

/// The one that p is in, while a grid runs.
Memory* memory_of(void* p) {
  for (Memory& m : memories) {
    const ptrdiff_t offset = static_cast<char*>(p) - m.seen.begin;
    if (offset >= 0 && size_t(offset) < m.seen.bytes) return &m;
  }
  return nullptr;
}

}  // namespace

void set_weak_memory(bool on) { wanted = on; }

namespace weak_memory {

void begin_grid() {
  running_weak = wanted;
  if (!running_weak) return;
  for (const Range& range : device_memory()) {
    const std::vector<char> now(range.begin, range.begin + range.bytes);
    memories.push_back({range, now, now, now, now});
  }
}

void begin_block() {
  after_atomic = false;
  for (Memory& m : memories) std::memcpy(m.seen.begin, m.start.data(), m.seen.bytes), m.last = m.acquired = m.start;
}

void suspend_block(size_t place) {
  View& view = suspended[place];
  view.after_atomic = after_atomic;
  view.parts.resize(memories.size());
  for (size_t i = 0; i < memories.size(); i++) {
    Memory& m = memories[i];
    view.parts[i].seen.assign(m.seen.begin, m.seen.begin + m.seen.bytes);
    view.parts[i].last = m.last, view.parts[i].acquired = m.acquired;
  }
}

void resume_block(size_t place) {
  View& view = suspended[place];
  after_atomic = view.after_atomic;
  for (size_t i = 0; i < memories.size(); i++) {
    std::memcpy(memories[i].seen.begin, view.parts[i].seen.data(), memories[i].seen.bytes);
    memories[i].last.swap(view.parts[i].last), memories[i].acquired.swap(view.parts[i].acquired);
  }
}

void end_block() { note_writes(); }

void end_grid() {
  for (Memory& m : memories) std::memcpy(m.seen.begin, m.all.data(), m.seen.bytes);
  memories.clear();
  released.clear();
  suspended.clear();
}

void fence() {
  note_writes();
  for (Memory& m : memories) {
    if (after_atomic) merge(m.seen.begin, m.acquired, m);
    copy(m.last, m.seen.begin);
  }
}

void begin_atomic(void* p, size_t bytes) {
  Memory* memory = memory_of(p);
  if (memory == nullptr) return;
  after_atomic = true;
  const auto found = released.find(p);
  for (size_t i = 0; found != released.end() && i < memories.size(); i++) {
    merge(memories[i].acquired.data(), found->second[i], memories[i]);
  }
  std::memcpy(p, &memory->all[size_t(static_cast<char*>(p) - memory->seen.begin)], bytes);
}

void end_atomic(void* p, size_t bytes, bool writes) {
  Memory* memory = memory_of(p);
  if (memory == nullptr) return;
  const auto offset = size_t(static_cast<char*>(p) - memory->seen.begin);
  for (std::vector<char>* copy : {&memory->last, &memory->acquired, &memory->all}) {
    std::memcpy(&(*copy)[offset], p, bytes);
  }
  if (!writes) return;
  std::vector<std::vector<char>>& here = released[p];
  for (size_t i = 0; i < memories.size(); i++) {
    if (here.size() == i) here.push_back(memories[i].start);
    merge(here[i].data(), memories[i].last, memories[i]);
  }
}

}  // namespace weak_memory
}  // namespace caracal::shim
