// Vocabulary: token <-> id, a flat hash over one buffer of characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <caracal/tokenizers/text_list.h>

namespace caracal::tokenizers {

/// A fixed set of tokens with their ids. Lookups by a prefix of a text reuse the hash of the shorter prefix, so all
/// prefixes of a word are hashed in one pass.
class Vocabulary {
 public:
  /// More tokens than any real vocabulary has.
  static constexpr size_t kMaxTokens = size_t(1) << 22;
  /// Later ones win when a token comes twice. Throws bad_file on more than kMaxTokens, on an id below 0 or at least
  /// 2^24 + 4 times the number of tokens, on an id of two tokens, and when the tokens were chosen to collide.
  explicit Vocabulary(const TokenList& tokens);

  /// Number of distinct tokens.
  size_t size() const noexcept { return size_; }
  /// One more than the largest id.
  int32_t id_end() const noexcept { return int32_t(by_id_.size()); }
  /// Bytes of the longest token.
  size_t longest() const noexcept { return longest_; }
  /// Id of `token`, or -1.
  int32_t find(std::string_view token) const noexcept { return find(hash(kSeed, token), {}, token); }
  /// The token of an id; null data() for an id that has none. Valid as long as the vocabulary.
  std::string_view token(int32_t id) const noexcept;

  static constexpr uint64_t kSeed = 0xCBF29CE484222325u;
  /// The hash of a text one byte longer.
  static constexpr uint64_t extend(uint64_t hash, char byte) noexcept {
    return (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  }
  static constexpr uint64_t hash(uint64_t seed, std::string_view text) noexcept {
    for (const char c : text) seed = extend(seed, c);
    return seed;
  }
  /// Id of the token `head` + `tail`, whose hash is given, or -1.
  int32_t find(uint64_t hash, std::string_view head, std::string_view tail) const noexcept;
  /// Fetches into the cache what find() looks at first for a token of this hash.
  void prefetch(uint64_t hash) const noexcept { __builtin_prefetch(&slots_[slot_of(mix(hash))]); }

 private:
  // A token in the table, or a free place (id -1).
  struct Slot {
    uint32_t fingerprint = 0;
    int32_t id = -1;
    uint32_t begin = 0, size = 0;  // in characters_
  };

  static uint64_t mix(uint64_t hash) noexcept { return (hash ^ hash >> 32) * 0x9E3779B97F4A7C15u; }
  size_t bit_of(uint64_t mixed) const noexcept { return size_t(mixed >> (shift_ - 3)); }
  size_t slot_of(uint64_t mixed) const noexcept { return size_t(mixed >> shift_); }
  std::string_view text_of(const Slot& s) const noexcept { return {characters_.data() + s.begin, s.size}; }

  std::string characters_;
  std::vector<Slot> slots_;        // a power of two, at most 10/13 full: every page of it costs time to load
  std::vector<uint64_t> present_;  // a bit for each eighth of a slot: most lookups of absent tokens end here
  std::vector<int32_t> by_id_;     // index into slots_, or -1
  int shift_ = 63;
  size_t size_ = 0;
  size_t longest_ = 0;
};

}  // namespace caracal::tokenizers
