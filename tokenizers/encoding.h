// Encoding: the tokens of one row, and how rows are cut and padded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace caracal::tokenizers {

/// One token of a row.
struct Token {
  int32_t id = 0;
  int32_t type_id = 0;
  uint32_t begin = 0;     ///< first code point of the original text; 0 for tokens that are not in it
  uint32_t end = 0;       ///< behind the last code point of the original text
  int32_t word = -1;      ///< index of the word it belongs to, or -1
  int8_t sequence = -1;   ///< 0 for the first text, 1 for the second, -1 for special tokens and padding
  bool attention = true;  ///< false for padding
  bool special = false;   ///< true for tokens the post-processor or padding put there
  uint32_t surface = 0;   ///< where its text is that differs from the vocabulary's: an index plus 1, or 0
};

enum class Side { right, left };
enum class TruncationStrategy { do_not_truncate, longest_first, only_first, only_second };

/// The tokens of one row, and of the rows that truncation cut off it.
struct Encoding {
  std::vector<Token> tokens;
  std::vector<Encoding> overflow;

  size_t size() const noexcept { return tokens.size(); }
  /// Cuts to `max_length` tokens; what is cut goes to `overflow` in chunks that overlap by `stride` tokens, or with
  /// `keep` false nowhere. Throws invalid_argument when stride is not below max_length.
  void truncate(size_t max_length, size_t stride, Side side, bool keep = true);
  /// Appends `other`; overflow parts are combined each with each, as the reference does.
  void append(const Encoding& other);
  /// Appends one token, to the overflow parts too.
  void append(const Token& token);
};

/// Cuts one text or a pair to `max_length` tokens together. Throws invalid_argument "Truncation error: …" when the
/// sequence to cut is too short, or when only_second is asked without a second text.
void truncate(Encoding& first, Encoding* second, size_t max_length, size_t stride, TruncationStrategy strategy,
              Side side, bool keep = true);

/// The one or two texts of a row until they are joined. Reused from row to row without allocation.
struct RowParts {
  Encoding texts[2];
  size_t count = 1;  ///< of texts
  Encoding joined;   ///< where TemplateProcessing joins them, before it swaps

  std::span<Encoding> all() { return {texts, count}; }
};

/// Texts of tokens that read otherwise than in the vocabulary, one after another in one buffer.
class Surfaces {
 public:
  /// Returns the Token::surface of a text: its index plus 1.
  uint32_t add(std::string_view text) {
    bytes_ += text;
    ends_.push_back(bytes_.size());
    return uint32_t(ends_.size());
  }
  void append(const Surfaces& other) {
    for (size_t i = 1; i <= other.size(); ++i) add(other[i]);
  }
  void clear() {
    bytes_.clear();
    ends_.clear();
  }
  size_t size() const noexcept { return ends_.size(); }
  /// The text of a Token::surface of at least 1.
  std::string_view operator[](size_t surface) const {
    const size_t begin = surface == 1 ? 0 : ends_[surface - 2];
    return std::string_view(bytes_).substr(begin, ends_[surface - 1] - begin);
  }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

/// The token that pads, and where.
struct PaddingToken {
  int32_t id = 0;
  int32_t type_id = 0;
  Side side = Side::right;
};
/// Pads a row and its overflow to `length` tokens; longer rows stay as they are.
void pad(Encoding& encoding, size_t length, const PaddingToken& token);

}  // namespace caracal::tokenizers
