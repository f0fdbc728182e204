// NormalizedText: what the stages before the model work on, a text that remembers where each byte came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace caracal::tokenizers {

/// A span of bytes of a NormalizedText; `added_id` is the id of the added token it matched, or -1.
struct Split {
  uint32_t begin = 0;
  uint32_t end = 0;
  int32_t added_id = -1;
};

/// Text under normalisation. Every byte knows the original code point it came from, so a span of bytes maps back to
/// a span of the original text: [origin[begin], origin[end - 1] + 1). Reused from text to text without allocation.
struct NormalizedText {
  std::string text;              ///< well-formed UTF-8
  std::vector<uint32_t> origin;  ///< one per byte of text: index of a code point of the original text
  std::vector<Split> splits;     ///< parts of text, in order, never empty

  /// What was there before the rewrite that is going on.
  std::string old_text;
  std::vector<uint32_t> old_origin;
  std::vector<Split> old_splits;

  /// Starts over with `source` (well-formed UTF-8), whose first code point has index `first`; no splits.
  void assign(std::string_view source, uint32_t first);
  /// Moves text and origin to old_text and old_origin, and empties them.
  void rewrite_text() {
    text.swap(old_text);
    origin.swap(old_origin);
    text.clear();
    origin.clear();
  }
  /// Moves splits to old_splits, and empties them.
  void rewrite_splits() {
    splits.swap(old_splits);
    splits.clear();
  }
};

}  // namespace caracal::tokenizers
