// Wav2Vec2CTCTokenizer: characters to ids, and the frames of a CTC model to text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <caracal/tokenizers/tokenization_utils.h>

namespace caracal {

/// A character or word of decoded text, and the frames [start_offset, end_offset) it came from.
struct CtcOffset {
  std::string text;
  int64_t start_offset = 0;
  int64_t end_offset = 0;
  friend bool operator==(const CtcOffset&, const CtcOffset&) = default;
};

/// transformers' Wav2Vec2CTCTokenizerOutput; offsets are empty unless they were asked for.
struct Wav2Vec2CTCTokenizerOutput {
  std::string text;
  std::vector<CtcOffset> char_offsets;
  std::vector<CtcOffset> word_offsets;
};

/// The keyword arguments of decode.
struct Wav2Vec2DecodeOptions {
  bool skip_special_tokens = false;
  std::optional<bool> clean_up_tokenization_spaces = std::nullopt;  ///< default: the tokenizer's setting
  bool group_tokens = true;                                         ///< repeated tokens are one
  bool spaces_between_special_tokens = false;                       ///< join all characters with spaces
  bool output_char_offsets = false;
  bool output_word_offsets = false;
  /// As transformers does it, skip_special_tokens takes the padding out before repeats are grouped, and "HEL<pad>LO"
  /// reads "HELO". By default padding keeps repeats apart here.
  bool skip_before_grouping = false;
};

/// transformers' Wav2Vec2CTCTokenizer, from a vocab.json of characters. A text becomes its characters, spaces become
/// the word delimiter; with do_lower_case texts are upper-cased on the way in and lower-cased on the way out.
class Wav2Vec2CTCTokenizer : public PreTrainedTokenizer {
 public:
  /// From arguments of __init__: {{"vocab_file", "vocab.json"}, {"do_lower_case", true}, {"target_lang", "deu"}}.
  /// Throws invalid_argument without "vocab_file", bad_file for a nested vocabulary without the target_lang.
  explicit Wav2Vec2CTCTokenizer(const Json& arguments);
  /// `path` is a directory with a vocab.json, or the file itself.
  static Wav2Vec2CTCTokenizer from_pretrained(const std::string& path, const Json& overrides = {});

  /// Ids of the most likely token of each frame to text: repeats grouped, padding (the CTC blank) dropped, word
  /// delimiters turned to spaces. Ids without token read as the unknown token.
  Wav2Vec2CTCTokenizerOutput decode(std::span<const int32_t> ids, const Wav2Vec2DecodeOptions& options) const;
  std::vector<Wav2Vec2CTCTokenizerOutput> batch_decode(const std::vector<std::vector<int32_t>>& ids,
                                                       const Wav2Vec2DecodeOptions& options) const;
  using PreTrainedTokenizer::batch_decode;
  using PreTrainedTokenizer::decode;

  std::string word_delimiter_token() const { return special_token("word_delimiter_token").value_or("|"); }

 private:
  explicit Wav2Vec2CTCTokenizer(const TokenizerFiles& files);
};

}  // namespace caracal
