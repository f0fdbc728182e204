#include <caracal/tokenizers/trie.h>

#include <algorithm>
#include <bit>

#include <caracal/runtime/error.h>

namespace caracal::tokenizers {
namespace {

constexpr size_t kMostNodes = size_t(1) << 24;
// A run of occupied slots this long does not happen by chance in a table that is a third empty.
constexpr size_t kLongestProbe = 1024;

[[noreturn]] void bad(const char* what) { throw Error(ErrorCode::bad_file, "vocabulary", what); }

}  // namespace

void Trie::reserve(size_t bytes) {
  bytes = std::min(bytes, kMostNodes);
  const size_t slots = std::bit_ceil(bytes + bytes / 2 + 16);
  if (slots > edges_.size()) rehash(slots);
  values_.reserve(bytes + 1);
}

void Trie::rehash(size_t slots) {
  std::vector<Edge> old(slots);
  old.swap(edges_);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  for (const Edge& edge : old) {
    if (edge.node == kNone) continue;
    size_t slot = slot_of(edge.key);
    while (edges_[slot].node != kNone) slot = (slot + 1) & mask_;
    edges_[slot] = edge;
  }
}

uint32_t Trie::add(uint32_t node, char byte) {
  if (values_.size() + values_.size() / 2 >= edges_.size()) rehash(edges_.size() * 2);
  const uint32_t key = node << 8 | static_cast<unsigned char>(byte);
  size_t slot = slot_of(key), probes = 0;
  for (; edges_[slot].node != kNone; slot = (slot + 1) & mask_) {
    if (++probes > kLongestProbe) bad("expected ordinary tokens but got beginnings that collide");
  }
  if (values_.size() >= kMostNodes) bad("expected fewer than 2^24 different beginnings of tokens");
  edges_[slot] = {key, uint32_t(values_.size())};
  values_.push_back(-1);
  return edges_[slot].node;
}

void Trie::insert(std::string_view text, int32_t value) {
  uint32_t node = kRoot;
  for (const char c : text) node = reach(node, c);
  values_[node] = value;
}

}  // namespace caracal::tokenizers
