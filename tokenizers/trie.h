// Trie: byte strings by their prefixes, as one flat hash of transitions.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace caracal::tokenizers {

/// Maps byte strings to values and is walked byte by byte. Built once, then read by any thread.
class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  /// Room for about so many bytes of text in all.
  void reserve(size_t bytes);
  /// Later values win. Throws bad_file beyond 2^24 nodes, and for texts made to collide.
  void insert(std::string_view text, int32_t value);
  /// Inserts text_at(i) with value i for all i below `count`, but empty texts: several at a time, as each step of one
  /// would wait for memory.
  template <class TextAt>
  void insert_all(size_t count, const TextAt& text_at);
  bool empty() const noexcept { return values_.size() <= 1; }

  /// The node behind `node` for this byte, or kNone.
  uint32_t next(uint32_t node, char byte) const noexcept {
    const uint32_t key = node << 8 | static_cast<unsigned char>(byte);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      const Edge& edge = edges_[slot];
      if (edge.node == kNone || edge.key == key) return edge.node;
    }
  }
  /// The value of the string that ends at a node, or -1.
  int32_t value(uint32_t node) const noexcept { return values_[node]; }

 private:
  struct Edge {
    uint32_t key = 0;
    uint32_t node = kNone;
  };
  size_t slot_of(uint32_t key) const noexcept { return size_t(key * 0x9E3779B97F4A7C15u >> shift_); }
  void rehash(size_t slots);
  // The node behind `node` for this byte, made when there is none.
  uint32_t reach(uint32_t node, char byte) {
    const uint32_t found = next(node, byte);
    return found != kNone ? found : add(node, byte);
  }
  uint32_t add(uint32_t node, char byte);

  std::vector<Edge> edges_ = std::vector<Edge>(16);
  std::vector<int32_t> values_ = std::vector<int32_t>(1, -1);
  size_t mask_ = 15;
  int shift_ = 60;
};

template <class TextAt>
void Trie::insert_all(size_t count, const TextAt& text_at) {
  struct Walk {
    std::string_view rest = {};  // of its text
    uint32_t node = kRoot;
    int32_t value = 0;
  };
  std::array<Walk, 24> walks;
  size_t next_text = 0;
  // Of equal texts the later one arrives later: it starts later, or behind the other in each round.
  for (bool any = true; any;) {
    any = false;
    for (Walk& walk : walks) {
      while (walk.rest.empty() && next_text < count) {
        walk = {text_at(next_text), kRoot, int32_t(next_text)};
        ++next_text;
      }
      if (walk.rest.empty()) continue;
      any = true;
      walk.node = reach(walk.node, walk.rest[0]);
      walk.rest.remove_prefix(1);
      if (walk.rest.empty()) {
        values_[walk.node] = walk.value;
      } else {
        __builtin_prefetch(&edges_[slot_of(walk.node << 8 | static_cast<unsigned char>(walk.rest[0]))]);
      }
    }
  }
}

}  // namespace caracal::tokenizers
