// NormalizedText: what the stages before the model work on, a text that remembers where each byte came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caracal::tokenizers {

/// A span of bytes of a NormalizedText; `added_id` is the id of the added token it matched, or -1.
struct Split {
  uint32_t begin = 0;
  uint32_t end = 0;
  int32_t added_id = -1;
};

/// Part of a text, in bytes: a match of a pattern, or what lies between matches. Matches may be empty.
struct Piece {
  uint32_t begin, end;
  bool is_match;
};

/// A combining mark, or another character, that waits for its place in the canonical order.
struct Mark {
  char32_t code_point;
  int change;  ///< as Rewriter::transform takes it
  int combining_class;
  uint32_t order = 0;  ///< used by sort_marks
};
/// Sorts by combining class; marks of one class keep their order. Allocates nothing.
void sort_marks(std::vector<Mark>& marks);

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

  /// Buffers that a stage uses while it works.
  std::vector<Piece> pieces;
  std::vector<Mark> marks, more_marks;
  std::vector<uint32_t> mark_origins;
  std::string spaced;

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

/// Writes the new text of a NormalizedText while reading the old one. Call rewrite_text() before, finish() at the end.
class Rewriter {
 public:
  explicit Rewriter(NormalizedText& text) : text_(text) { grow(text.old_text.size() + text.old_text.size() / 8 + 64); }

  /// Writes a character that comes from original code point `from`.
  void put(char32_t cp, uint32_t from);
  /// Writes bytes that all come from original code point `from`.
  void put(std::string_view bytes, uint32_t from);
  /// Room to write up to `bytes` bytes and their origins oneself; then wrote() says how many they were.
  std::pair<char*, uint32_t*> room(size_t bytes) {
    make_room(bytes);
    return {text_.text.data() + size_, text_.origin.data() + size_};
  }
  void wrote(size_t bytes) { size_ += bytes; }
  /// Writes old bytes [begin, end) as they are.
  void copy(size_t begin, size_t end);
  /// The reference's bookkeeping, step by step, as its offsets follow from it: with `change` 0 the character stands for
  /// the next old one, below 0 also for -change more, above 0 it is an insertion that shares the origin of the old one
  /// before.
  void transform(char32_t cp, int change);
  /// Passes over old bytes that no character stands for.
  void skip(size_t bytes) { read_ += bytes; }
  /// Bytes of the old text that transform(), copy_next() and skip() have passed.
  size_t read() const noexcept { return read_; }
  /// Writes the next old bytes as they are.
  void copy_next(size_t bytes) {
    copy(read_, read_ + bytes);
    read_ += bytes;
  }
  /// Bytes written.
  size_t size() const noexcept { return size_; }
  void finish() {
    text_.text.resize(size_);
    text_.origin.resize(size_);
  }

 private:
  void grow(size_t size) {
    text_.text.resize(size);
    text_.origin.resize(size);
  }
  void make_room(size_t bytes) {
    if (text_.text.size() - size_ < bytes) grow(text_.text.size() * 2 + bytes);
  }

  NormalizedText& text_;
  size_t size_ = 0;  // bytes written
  size_t read_ = 0;  // bytes of the old text that are done
};

}  // namespace caracal::tokenizers
