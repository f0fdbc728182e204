// TextList: many short strings in one buffer, as a string for each would take longer to make than a tokenizer; and what
// a model is made of, lists of tokens and of merges.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace caracal::tokenizers {

/// Strings one behind the other, less than 4 GiB in all. At least kPadding bytes follow them that may be read.
class TextList {
 public:
  static constexpr size_t kPadding = 8;

  size_t size() const noexcept { return begins_.size() - 1; }
  bool empty() const noexcept { return size() == 0; }
  /// Valid until the list changes.
  std::string_view operator[](size_t i) const noexcept {
    return {bytes_.get() + begins_[i], begins_[i + 1] - begins_[i]};
  }
  /// Where a string begins in all(); that of size() is the end.
  uint32_t begin(size_t i) const noexcept { return begins_[i]; }
  /// All of them, one behind the other.
  std::string_view all() const noexcept { return {bytes_.get(), begins_.back()}; }

  void reserve(size_t strings, size_t bytes);
  void push_back(std::string_view text);
  void pop_back() { begins_.pop_back(); }

  /// To write a string in place: where it goes on behind its first `size` bytes, with room for `more` bytes and
  /// kPadding. Then close() adds it. Throws bad_file at 4 GiB.
  char* open(size_t size, size_t more) {
    const size_t used = begins_.back() + size;
    if (used + more + kPadding > capacity_) grow(used, used + more + kPadding);
    return bytes_.get() + used;
  }
  void close(size_t size) { begins_.push_back(begins_.back() + uint32_t(size)); }

 private:
  void grow(size_t used, size_t capacity);

  std::unique_ptr<char[]> bytes_;
  size_t capacity_ = 0;
  std::vector<uint32_t> begins_ = {0};  // of each, and the end
};

/// Tokens with their ids.
struct TokenList {
  TokenList() = default;
  TokenList(std::initializer_list<std::pair<std::string_view, int32_t>> tokens) {
    for (const auto& [token, id] : tokens) add(token, id);
  }
  size_t size() const noexcept { return ids.size(); }
  void add(std::string_view token, int32_t id) {
    texts.push_back(token);
    ids.push_back(id);
  }

  TextList texts;
  std::vector<int32_t> ids;
};

/// Merges of two tokens, the one that is made first in front.
struct MergeList {
  size_t size() const noexcept { return middles.size(); }
  std::string_view left(size_t i) const noexcept { return texts[i].substr(0, middles[i]); }
  std::string_view right(size_t i) const noexcept { return texts[i].substr(middles[i] + size_t(1)); }
  void add(std::string_view left, std::string_view right);
  /// Makes a merge of the last of `texts`, "left right". Throws bad_file naming `where` when it is not two tokens with
  /// a space between.
  void split_last(std::string_view where);

  TextList texts;                 // left, a space, right
  std::vector<uint32_t> middles;  // bytes of left
};

}  // namespace caracal::tokenizers
