// BatchEncoding: what calling a tokenizer returns; a model's forward takes it as it is.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caracal/runtime/tensor.h>
#include <caracal/tokenizers/encoding.h>
#include <caracal/tokenizers/tokenizer.h>

namespace caracal {

/// Rows of tokens; rows may differ in length. One row for each text or pair, and with return_overflowing_tokens one for
/// each chunk that truncation cut off. All indices are checked: invalid_argument when out of range.
class BatchEncoding {
 public:
  BatchEncoding() = default;

  /// Number of rows.
  size_t size() const noexcept { return rows_.size(); }
  /// The tokens of a row, each with its id, type, offsets, word, sequence and masks.
  std::span<const tokenizers::Token> row(size_t i) const;

  /// The values of a key as a (B, S) I64 tensor; offset_mapping is (B, S, 2), length and overflow_to_sample_mapping
  /// are (B). Keys: input_ids, token_type_ids, attention_mask, special_tokens_mask, offset_mapping, length,
  /// overflow_to_sample_mapping. Throws invalid_argument when rows differ in length, not_found for another key.
  Tensor operator[](std::string_view key) const { return tensor(key, false); }
  /// The same with rows of different lengths padded on the right to the longest: with zeros, and 1 in
  /// special_tokens_mask.
  Tensor padded(std::string_view key) const { return tensor(key, true); }
  /// True for the model's input names: input_ids, token_type_ids unless the model takes none, attention_mask.
  bool contains(std::string_view key) const;
  /// The model's input names, in transformers' order.
  const std::vector<std::string>& keys() const noexcept { return names_; }

  /// A key that a tokenizer class adds to the usual ones, as `width` numbers for each token (LayoutLMv2's bbox,
  /// labels).
  struct Extra {
    std::string key;
    int64_t width = 1;
    std::vector<int64_t> padding = {};            ///< of one token, for padded()
    std::vector<std::vector<int64_t>> rows = {};  ///< width times the tokens of each row
  };
  /// Adds a key to keys() and operator[], which gives (B, S, width), or (B, S) for width 1.
  void add(Extra extra);
  /// The numbers of an added key for a row. Throws not_found for another key.
  std::span<const int64_t> extra(std::string_view key, size_t i) const;

  /// The values of a row, one for each token.
  std::vector<int32_t> input_ids(size_t i) const;
  std::vector<int32_t> token_type_ids(size_t i) const;
  std::vector<int32_t> attention_mask(size_t i) const;
  std::vector<int32_t> special_tokens_mask(size_t i) const;
  /// The texts of the tokens: the vocabulary's strings, but for unknown tokens of Unigram models and added tokens that
  /// took white space with them, which read as in the text.
  std::vector<std::string> tokens(size_t i) const;
  /// Begin and end in code points of the text (of the word, with is_split_into_words); (0, 0) for special tokens.
  std::vector<std::pair<uint32_t, uint32_t>> offsets(size_t i) const;
  /// What offsets count in.
  enum class Unit { code_points, bytes, utf16 };
  /// The same in bytes or UTF-16 units of the texts that row i was made of, which must be given again: as texts, or as
  /// the words of is_split_into_words. Throws invalid_argument for shorter ones.
  std::vector<std::pair<uint32_t, uint32_t>> offsets(size_t i, Unit unit, std::string_view text,
                                                     std::string_view text_pair = {}) const;
  std::vector<std::pair<uint32_t, uint32_t>> offsets(size_t i, Unit unit, std::span<const std::string> words,
                                                     std::span<const std::string> pair_words = {}) const;
  /// Index of the word in its text, or -1 for special tokens.
  std::vector<int32_t> word_ids(size_t i) const;
  /// 0 or 1 for the first or second text, or -1 for special tokens.
  std::vector<int32_t> sequence_ids(size_t i) const;
  /// The input each row came from.
  const std::vector<int64_t>& overflow_to_sample_mapping() const noexcept { return samples_; }

  using Span = std::pair<uint32_t, uint32_t>;
  /// The token of row i that covers code point `at` of text `sequence`; none in white space.
  std::optional<size_t> char_to_token(size_t i, uint32_t at, int sequence = 0) const;
  /// The code points of token `t` of row i; none for special tokens.
  std::optional<Span> token_to_chars(size_t i, size_t t) const;
  /// The tokens [first, last) of word `word` of text `sequence` in row i.
  std::optional<std::pair<size_t, size_t>> word_to_tokens(size_t i, int32_t word, int sequence = 0) const;

 private:
  friend class PreTrainedTokenizerBase;  // fills it

  // What the next call that fills this needs besides the rows. A copy starts without.
  struct Buffers {
    Buffers() = default;
    Buffers(const Buffers&) noexcept {}
    Buffers(Buffers&&) = default;
    Buffers& operator=(const Buffers&) noexcept { return *this; }
    Buffers& operator=(Buffers&&) = default;
    ~Buffers() = default;
    std::vector<tokenizers::Tokenizer::Workspace> workspaces = {};  // one for each task of a runtime
    std::vector<tokenizers::Encoding> rows = {};                    // of larger batches before
  };

  void resize(size_t rows);  // keeps the memory of rows it takes away, for those it adds later
  Tensor tensor(std::string_view key, bool pad) const;
  template <class UnitsOf>  // gives the units before each code point of a token's text
  std::vector<std::pair<uint32_t, uint32_t>> offsets_in(size_t i, const UnitsOf& units_of) const;
  void check_even(std::string_view key, bool pad) const;
  Tensor extra_tensor(const Extra& extra, bool pad) const;

  std::vector<tokenizers::Encoding> rows_;
  std::vector<int64_t> samples_;
  std::vector<std::string> names_;
  tokenizers::Surfaces surfaces_;
  std::vector<Extra> extras_;
  std::shared_ptr<const tokenizers::Tokenizer> tokenizer_;
  Buffers buffers_;
};

}  // namespace caracal
