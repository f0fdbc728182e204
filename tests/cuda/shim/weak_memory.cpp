#include <caracal/tests/cuda/shim/weak_memory.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include <caracal/tests/cuda/shim/block.h>
#include <caracal/tests/cuda/shim/shim.h>
#include <caracal/tests/cuda/shim/static_shared.h>

namespace caracal::shim {
namespace {

/// One allocation of the device.
struct Memory {
  Range seen;               // the memory itself, as the running block sees it
  std::vector<char> start;  // when the grid began
  std::vector<char> last;   // as the running block saw it at its last fence
  std::vector<char> shown;  // with all writes that passed a fence
  std::vector<char> all;    // with all writes
};

bool wanted = std::getenv("CARACAL_SHIM_WEAK_MEMORY") != nullptr;
bool running_weak, after_atomic;
std::vector<Memory> memories;

void copy(std::vector<char>& to, const char* from) { std::memcpy(to.data(), from, to.size()); }

/// What the block wrote since its last fence goes to all writes, and with `show` to those shown.
void note_writes(bool show) {
  for (Memory& m : memories) {
    const char* seen = m.seen.begin;
    if (std::memcmp(seen, m.last.data(), m.seen.bytes) == 0) continue;
    for (size_t i = 0; i < m.seen.bytes; i++) {
      if (seen[i] == m.last[i]) continue;
      m.all[i] = seen[i];
      if (show) m.shown[i] = seen[i];
    }
    copy(m.last, seen);
  }
}

/// Calls f(memory, offset) where p is in the device's memory and a grid runs.
template <class F>
void at(void* p, F f) {
  if (!running_weak) return;
  for (Memory& m : memories) {
    const ptrdiff_t offset = static_cast<char*>(p) - m.seen.begin;
    if (offset >= 0 && size_t(offset) < m.seen.bytes) f(m, size_t(offset));
  }
}

}  // namespace

void set_weak_memory(bool on) { wanted = on; }

namespace weak_memory {

void begin_grid() {
  running_weak = wanted;
  memories.clear();
  if (!running_weak) return;
  for (const Range& range : device_memory()) {
    const std::vector<char> now(range.begin, range.begin + range.bytes);
    memories.push_back({range, now, now, now, now});
  }
}

void begin_block() {
  after_atomic = false;
  for (Memory& m : memories) std::memcpy(m.seen.begin, m.start.data(), m.seen.bytes), m.last = m.start;
}

void end_block() {
  if (running_weak) note_writes(false);
}

void end_grid() {
  for (Memory& m : memories) std::memcpy(m.seen.begin, m.all.data(), m.seen.bytes);
  memories.clear();
  running_weak = false;
}

void fence() {
  if (!running_weak) return;
  note_writes(true);
  if (!after_atomic) return;
  for (Memory& m : memories) std::memcpy(m.seen.begin, m.shown.data(), m.seen.bytes), m.last = m.shown;
}

void begin_atomic(void* p, size_t bytes) {
  at(p, [&](Memory& m, size_t offset) {
    after_atomic = true;
    std::memcpy(p, &m.shown[offset], bytes);
  });
}

void end_atomic(void* p, size_t bytes) {
  at(p, [&](Memory& m, size_t offset) {
    for (std::vector<char>* copy : {&m.last, &m.shown, &m.all}) std::memcpy(&(*copy)[offset], p, bytes);
  });
}

}  // namespace weak_memory
}  // namespace caracal::shim
